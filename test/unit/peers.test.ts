import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import {
  type AnyActorRef,
  assign,
  type EventObject,
  fromCallback,
  sendParent,
  sendTo,
  setup,
} from 'xstate';
import { parse } from '../../src/actors/codec.ts';
import { createStepScope } from '../../src/actors/scope.ts';
import { type Asked, actorAddress, defineActor, fromAsk } from '../../src/index.ts';
import { forEachCrash, testCluster } from '../../src/testing/index.ts';

// Actors that tell and ask each other, across families; a node dies at every point.

type Price = { type: 'PRICE'; value: number };

const shop = defineActor('shop', {
  machine: setup({
    types: {
      context: {} as { asked: number; waiting: AnyActorRef[] },
      events: {} as Asked<{ type: 'PRICE?'; sku: string }> | { type: 'OPEN' } | { type: 'CLOSE' },
    },
  }).createMachine({
    context: { asked: 0, waiting: [] },
    initial: 'closed',
    on: { CLOSE: '.gone' },
    states: {
      closed: {
        on: {
          'PRICE?': {
            actions: assign({
              asked: ({ context }) => context.asked + 1,
              waiting: ({ context, event }) => [...context.waiting, event.replyTo],
            }),
          },
          OPEN: 'open',
        },
      },
      open: {
        entry: [
          sendTo(({ context }) => context.waiting[0] as AnyActorRef, { type: 'PRICE', value: 5 }),
          sendTo(({ context }) => context.waiting[0] as AnyActorRef, { type: 'PRICE', value: 6 }),
        ],
        on: {
          'PRICE?': {
            actions: [
              assign({ asked: ({ context }) => context.asked + 1 }),
              sendTo(({ event }) => event.replyTo, { type: 'PRICE', value: 7 }),
            ],
          },
        },
      },
      gone: { type: 'final' },
    },
  }),
});

const buyer = defineActor('buyer', {
  machine: setup({
    types: {
      input: {} as { shop: string },
      context: {} as { shop: string; price: number | null; failed: string | null },
      events: {} as { type: 'AGAIN' },
    },
    actors: { price: fromAsk<Price, { type: 'PRICE?'; sku: string }>() },
  }).createMachine({
    context: ({ input }) => ({ shop: input.shop, price: null, failed: null }),
    initial: 'asking',
    states: {
      asking: {
        invoke: {
          src: 'price',
          input: ({ context }) => ({
            to: { type: 'shop', id: context.shop },
            event: { type: 'PRICE?', sku: 'a' },
          }),
          onDone: {
            target: 'has',
            actions: assign({ price: ({ event }) => event.output.value }),
          },
          onError: {
            target: 'failed',
            actions: assign({ failed: ({ event }) => (event.error as { code: string }).code }),
          },
        },
      },
      has: { on: { AGAIN: 'asking' } },
      failed: {},
    },
  }),
  timeout: { price: 60_000 },
});

test('what is asked is answered once, when the other one likes', async () => {
  await forEachCrash({ actors: [shop, buyer] }, async (cluster) => {
    const asked = await cluster.start(shop, { id: 's' });
    const one = await cluster.start(buyer, { id: 'b', input: { shop: 's' } });
    expect(one.state).toBe('asking');
    expect(asked.context.asked).toBe(1);
    await asked.send({ type: 'OPEN' });
    // The second answer finds nobody waiting.
    expect(one.context.price).toBe(5);
    await one.send({ type: 'AGAIN' });
    expect(one.context.price).toBe(7);
    expect(asked.context.asked).toBe(2);
    expect(cluster.deadLetters).toEqual([]);
  });
});

test('who asks nobody, or one that has ended, is told so', async () => {
  await forEachCrash({ actors: [shop, buyer] }, async (cluster) => {
    const nobody = await cluster.start(buyer, { id: 'n', input: { shop: 'nowhere' } });
    expect(nobody.context.failed).toBe('unknown_actor');
    const gone = await cluster.start(shop, { id: 'g' });
    await gone.send({ type: 'CLOSE' });
    const late = await cluster.start(buyer, { id: 'l', input: { shop: 'g' } });
    expect(late.context.failed).toBe('actor_finished');
    expect(cluster.deadLetters.map(({ reason }) => reason)).toEqual([
      'unknown_actor',
      'actor_finished',
    ]);
  });
});

test('who asks one that does not answer is told when its time is up', async () => {
  const cluster = await testCluster({ actors: [shop, buyer] });
  await cluster.start(shop, { id: 's' });
  const one = await cluster.start(buyer, { id: 'b', input: { shop: 's' } });
  await cluster.advance(60_000);
  expect(one.context.failed).toBe('invoke_timeout');
  await cluster.stop();
});

const any = {} as { type: string; [key: string]: unknown };

/** A family of three, whose lowest tells another family who it is; what comes back goes to it. */
const lowest = setup({ types: { events: any, context: {} as { heard: unknown[] } } }).createMachine(
  {
    context: { heard: [] },
    invoke: {
      id: 'ear',
      src: fromCallback<EventObject>(({ receive, sendBack }) =>
        receive((event) => sendBack({ ...event, type: 'ECHO' })),
      ),
    } as never,
    on: {
      TELL: {
        actions: sendTo(
          () => actorAddress('stranger', 's'),
          ({ self, system }) => ({ type: 'HELLO', from: self, ear: system.get('nobody') ?? null }),
        ),
      },
      HI: { actions: assign({ heard: ({ context, event }) => [...context.heard, event.n] }) },
      PASS: { actions: sendTo('ear', { type: 'WORD', n: 'passed' }) },
      ECHO: {
        actions: [
          assign({ heard: ({ context, event }) => [...context.heard, event.n] }),
          sendParent({ type: 'DONE' }),
        ],
      },
    },
  },
);
const between = setup({ types: { events: any }, actors: { lowest } }).createMachine({
  invoke: { id: 'low', src: 'lowest' },
  on: { '*': { actions: sendTo('low', ({ event }) => event) }, DONE: {} },
});
const top = defineActor('top', {
  machine: setup({ types: { events: any }, actors: { between } }).createMachine({
    initial: 'on',
    states: {
      on: { invoke: { id: 'mid', src: 'between' }, on: { LEAVE: 'off' } },
      off: {},
    },
    on: {
      TELL: { actions: sendTo('mid', { type: 'TELL' }) },
      PASS: { actions: sendTo('mid', { type: 'PASS' }) },
    },
  }),
});
const stranger = defineActor('stranger', {
  machine: setup({
    types: { events: any, context: {} as { friend: AnyActorRef | null } },
  }).createMachine({
    context: { friend: null },
    on: {
      HELLO: { actions: assign({ friend: ({ event }) => event.from as AnyActorRef }) },
      GREET: {
        actions: sendTo(
          ({ context }) => context.friend as AnyActorRef,
          ({ event }) => ({
            type: 'HI',
            n: event.n,
          }),
        ),
      },
    },
  }),
});

test('a reference prints as whom it names', () => {
  expect(inspect({ to: actorAddress('order', 'o-1') })).toBe('{ to: → order/o-1 }');
  const names = (target: object) =>
    inspect(parse(JSON.stringify({ $perdure: 'Ref', v: { type: 'order', id: 'o-1', ...target } })));
  expect(names({ child: 'ship' })).toBe('→ order/o-1/ship');
  expect(names({ invoke: { id: 'price', seq: 3 } })).toBe('→ order/o-1/price/3');
  expect(names({ child: '\u001b[2J' })).toBe("→ 'order/o-1/\\x1B[2J'");
  const { self } = createStepScope({ type: 'order', id: 'o-1.ship-3' });
  expect(inspect([self])).toBe('[ → order/o-1.ship-3 ]');
});

test('a child machine can be kept in the context of an actor of another family, and told from there', async () => {
  await forEachCrash({ actors: [top, stranger] }, async (cluster) => {
    const other = await cluster.start(stranger, { id: 's' });
    const one = await cluster.start(top, { id: 't' });
    await one.send({ type: 'TELL' });
    await other.send({ type: 'GREET', n: 1 });
    await other.send({ type: 'GREET', n: 2 });
    const low = () => one.child('mid').child('low');
    expect((low().context as { heard: unknown[] }).heard).toEqual([1, 2]);
    await one.send({ type: 'PASS' });
    expect((low().context as { heard: unknown[] }).heard).toEqual([1, 2, 'passed']);
    const { id } = low();
    expect(id).toBe('t.mid-1.low-1');
    await one.send({ type: 'LEAVE' });
    expect(cluster.deadLetters).toEqual([]);
    // What is sent to it now has nobody to go to, and says so.
    await other.send({ type: 'GREET', n: 3 });
    expect(cluster.deadLetters.map(({ reason }) => reason)).toEqual(['actor_finished']);
    expect(() => one.child('mid')).toThrow(/no machine mid/);
  });
});
