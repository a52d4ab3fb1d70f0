import { expect, test } from 'vitest';
import { assign, fromCallback, fromPromise, sendTo, setup } from 'xstate';
import { parse } from '../../src/actors/codec.ts';
import { peer } from '../../src/actors/refs.ts';
import { actorAddress, defineActor, fromAsk, fromSteps } from '../../src/index.ts';
import { forEachCrash, testCluster } from '../../src/testing/index.ts';

// What is sent to an address no actor can have ends as one dead letter, and holds up nobody.

const any = {} as { type: string; [key: string]: unknown };

const codeOf = ({ event }: { event: { error: unknown } }) => (event.error as { code: string }).code;

const killer = defineActor('killer', {
  machine: setup({
    types: { events: any, context: {} as { heard: number; failed: string | null } },
    actors: {
      question: fromAsk(),
      badRef: fromPromise<unknown>(async () => actorAddress('a.b', '../')),
      badSteps: fromSteps<unknown, unknown>(({ step }) =>
        step('ref', async () => actorAddress('order', 'o.1')),
      ),
      badCallback: fromCallback(({ sendBack }) =>
        sendBack({ type: 'HEARD', from: actorAddress('order', '') }),
      ),
    },
  }).createMachine({
    context: { heard: 0, failed: null },
    initial: 'on',
    states: {
      on: {},
      asking: {
        invoke: {
          src: 'question',
          input: { to: { type: 'no.type', id: '../' }, event: { type: 'WHO?' } },
          onError: { target: 'on', actions: assign({ failed: codeOf }) },
        },
      },
      consulting: {
        invoke: {
          src: 'question',
          input: { to: { type: 'oracle', id: 'o' }, event: { type: 'WHO?' } },
          onError: { target: 'on', actions: assign({ failed: codeOf }) },
        },
      },
      given: {
        invoke: { src: 'badRef', onError: { target: 'on', actions: assign({ failed: codeOf }) } },
      },
      stepping: {
        invoke: { src: 'badSteps', onError: { target: 'on', actions: assign({ failed: codeOf }) } },
      },
      hearing: {
        invoke: {
          src: 'badCallback',
          onError: { target: 'on', actions: assign({ failed: codeOf }) },
        },
      },
    },
    on: {
      TELL: {
        actions: sendTo(({ event }) => actorAddress(event.to as string, event.id as string), {
          type: 'NOTE',
        }),
      },
      LATER: {
        actions: sendTo(() => actorAddress('a.b', '../'), { type: 'NOTE' }, { delay: 1_000 }),
      },
      CHILD: {
        actions: sendTo(() => peer({ type: 'a.b', id: '../', child: 'c' }), { type: 'NOTE' }),
      },
      ASK: '.asking',
      CONSULT: '.consulting',
      GIVE: '.given',
      STEP: '.stepping',
      HEAR: '.hearing',
      HEARD: { actions: assign({ heard: ({ context }) => context.heard + 1 }) },
    },
  }),
});

/** Answers with somebody there cannot be. */
const oracle = defineActor('oracle', {
  machine: setup({ types: { events: any } }).createMachine({
    on: {
      'WHO?': {
        actions: sendTo(
          ({ event }) => event.replyTo as ReturnType<typeof actorAddress>,
          () => ({ type: 'HE', who: actorAddress('a.b', '../') }),
        ),
      },
    },
  }),
});

test.each([
  ['a.b', '../', 'events.a.b.../'],
  ['mailer', 'user@example.com', 'events.mailer.user@example.com'],
  ['killer', 't-1.nobody', 'events.killer.t-1.nobody'],
  ['', '', 'events..'],
  ['x', 'a\u0000b', 'events.x.a\uFFFDb'],
  ['x', 'y'.repeat(2_000), `events.x.${'y'.repeat(300)}`],
  ['x y', '*', 'events.x y.*'],
])(
  'sendTo %j %j: one dead letter that shows it whole, wherever the node dies',
  async (to, id, subject) => {
    await forEachCrash({ actors: [killer] }, async (cluster) => {
      const one = await cluster.start(killer, { id: 't-1' });
      await one.send({ type: 'TELL', to, id });
      await one.send({ type: 'HEARD' });
      expect(one.context.heard).toBe(1);
      expect(cluster.deadLetters).toMatchObject([
        { reason: 'bad_subject', subject, body: '{"type":"NOTE"}', messageId: 'killer/t-1/2/0' },
      ]);
      expect(cluster.deadLetters[0]?.detail).toMatch(/is not allowed: use 1 to 128 of/);
    });
  },
);

test('an id that is a number or missing, as JavaScript gives one, is taken as text', async () => {
  await forEachCrash({ actors: [killer] }, async (cluster) => {
    const one = await cluster.start(killer, { id: 't-1' });
    await one.send({ type: 'TELL', to: 'killer', id: 17 });
    await one.send({ type: 'TELL', to: 'killer' });
    expect(cluster.deadLetters).toMatchObject([
      { reason: 'unknown_actor', subject: 'events.killer.17' },
      { reason: 'unknown_actor', subject: 'events.killer.undefined' },
    ]);
  });
});

test('a delayed message, and one for a child, end no other way', async () => {
  await forEachCrash({ actors: [killer] }, async (cluster) => {
    const one = await cluster.start(killer, { id: 't-1' });
    await one.send({ type: 'LATER' });
    await cluster.advance(1_000);
    await one.send({ type: 'CHILD' });
    expect(cluster.deadLetters).toMatchObject([
      { reason: 'bad_subject', subject: 'events.a.b.../' },
      { reason: 'bad_subject', subject: 'events.a.b.../' },
    ]);
  });
});

test('who asks what can be nobody is told so', async () => {
  await forEachCrash({ actors: [killer] }, async (cluster) => {
    const one = await cluster.start(killer, { id: 't-1' });
    await one.send({ type: 'ASK' });
    expect(one.context.failed).toBe('bad_subject');
    expect(cluster.deadLetters).toMatchObject([{ reason: 'bad_subject' }]);
  });
});

test('who gets an answer that nobody can read is told so', async () => {
  await forEachCrash({ actors: [killer, oracle] }, async (cluster) => {
    await cluster.start(oracle, { id: 'o' });
    const one = await cluster.start(killer, { id: 't-1' });
    await one.send({ type: 'CONSULT' });
    expect(one.context.failed).toBe('bad_body');
    expect(cluster.deadLetters).toMatchObject([{ reason: 'bad_body' }]);
  });
});

test.each(['GIVE', 'STEP', 'HEAR'])(
  'a reference to nobody that work gives back is an error of that work (%s)',
  async (type) => {
    const cluster = await testCluster({ actors: [killer] });
    const one = await cluster.start(killer, { id: 't-1' });
    await one.send({ type });
    expect(one.context).toEqual({ heard: 0, failed: 'not_serialisable' });
    await cluster.stop();
  },
);

test('a context that holds such a reference is read as it was recorded', () => {
  const text = '{"mail":{"$perdure":"Ref","v":{"type":"mailer","id":"user@example.com"}}}';
  expect(parse(text)).toMatchObject({ mail: { id: 'mailer/user@example.com' } });
});
