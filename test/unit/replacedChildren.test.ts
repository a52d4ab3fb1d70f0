import { describe, expect, test } from 'vitest';
import {
  assign,
  enqueueActions,
  fromCallback,
  fromPromise,
  fromTransition,
  sendParent,
  sendTo,
  setup,
  spawnChild,
} from 'xstate';
import { defineActor } from '../../src/index.ts';
import { forEachCrash, type TestClusterOptions, testCluster } from '../../src/testing/index.ts';
import { defineCase } from '../conformance/support/case.ts';
import { runPlain } from '../conformance/support/plain.ts';
import { runOn, withoutLoss } from '../conformance/support/run.ts';

// Found by a reader: a machine spawned under the id of one that still ran hid it, and after a crash nobody knew the old
// one any more. The new one takes its place, as if `stopChild` had been called before.

const ticker = setup({ types: { events: {} as { type: 'PING' } } }).createMachine({
  id: 'ticker',
  on: { PING: { actions: sendParent({ type: 'HEARD', what: 'pong' }) } },
  after: { 500: { actions: sendParent({ type: 'HEARD', what: 'tick' }) } },
});

const actors = {
  machine: ticker,
  promise: fromPromise(() => new Promise<never>(() => {})),
  callback: fromCallback(({ sendBack, receive }) => {
    receive(() => sendBack({ type: 'HEARD', what: 'pong' }));
  }),
  transition: fromTransition((n: number) => n + 1, 0),
};
type Kind = keyof typeof actors;

const parent = (kind: Kind, how: 'action' | 'assign', stopFirst: boolean) =>
  setup({
    types: {
      context: {} as { heard: string[] },
      events: {} as { type: 'AGAIN' } | { type: 'PING' } | { type: 'HEARD'; what: string },
    },
    actors,
  }).createMachine({
    context: { heard: [] },
    entry: spawnChild(kind, { id: 'c' }),
    on: {
      AGAIN: {
        actions: enqueueActions(({ enqueue }) => {
          if (stopFirst) enqueue.stopChild('c');
          if (how === 'action') enqueue.spawnChild(kind, { id: 'c' });
          else
            enqueue.assign(({ spawn }) => {
              spawn(kind, { id: 'c' });
              return {};
            });
        }),
      },
      PING: { actions: sendTo('c', { type: 'PING' }) },
      HEARD: { actions: assign({ heard: ({ context, event }) => [...context.heard, event.what] }) },
    },
  });

const steps = [
  { advance: 100 },
  { send: { type: 'AGAIN' } },
  { send: { type: 'PING' } },
  { advance: 450 },
  { send: { type: 'AGAIN' } },
  { advance: 900 },
] as const;

const cases = (Object.keys(actors) as Kind[]).flatMap((kind) =>
  (['action', 'assign'] as const).map((how) => ({ kind, how })),
);

describe.each(cases)('$kind spawned by $how under an id that is taken', ({ kind, how }) => {
  const given = (stopFirst: boolean) =>
    defineCase({
      name: 'replaced',
      machine: () => parent(kind, how, stopFirst),
      steps: [...steps],
    });
  const type = defineActor('case', { machine: parent(kind, how, false) });
  const run = async (options: Partial<TestClusterOptions>) => {
    const cluster = await testCluster({ actors: [type], ...options });
    try {
      return await runOn(cluster, type, given(false));
    } finally {
      await cluster.stop();
    }
  };

  test('takes its place, as after stopChild in XState', async () => {
    const plain = await runPlain(given(true));
    expect(await run({})).toEqual(plain);
    expect(await run({ passivate: 'every-commit' })).toEqual(plain);
  });

  test('through a crash at every point', async () => {
    const plain = await runPlain(given(true));
    await forEachCrash({ actors: [type] }, async (cluster, point) => {
      const trace = await runOn(cluster, type, given(false));
      if (point) expect(withoutLoss(trace, plain, point).views).toEqual(plain.views);
      else expect(trace).toEqual(plain);
    });
  });
});

test('a machine whose place was taken has ended, and the new one ends with its parent', async () => {
  const type = defineActor('case', { machine: parent('machine', 'action', false) });
  const cluster = await testCluster({ actors: [type] });
  const actor = await cluster.start(type, { id: 'p' });
  const first = await actor.child('c');
  await actor.send({ type: 'AGAIN' });
  const second = await actor.child('c');
  expect([first.id, first.status]).toEqual(['p.c-1', 'stopped']);
  expect([second.id, second.status]).toEqual(['p.c-2', 'active']);
  await cluster.crash();
  await cluster.advance(500);
  expect(actor.context.heard).toEqual(['tick']);
  await actor.cancel();
  expect([first.status, second.status]).toEqual(['stopped', 'stopped']);
  await cluster.stop();
});

test('a promise whose place was taken is told to stop, and what it brings does not count', async () => {
  const work: { signal: AbortSignal; end(value: string): void }[] = [];
  const machine = setup({
    types: { context: {} as { ended: string[] } },
    actors: {
      slow: fromPromise<string>(({ signal }) => new Promise((end) => work.push({ signal, end }))),
    },
  }).createMachine({
    context: { ended: [] },
    on: {
      GO: { actions: spawnChild('slow', { id: 'c' }) },
      'xstate.done.actor.c': {
        actions: assign({
          ended: ({ context, event }) => [
            ...context.ended,
            (event as unknown as { output: string }).output,
          ],
        }),
      },
    },
  });
  const type = defineActor('case', { machine });
  const cluster = await testCluster({ actors: [type] });
  const actor = await cluster.start(type, { id: 'p' });
  await actor.send({ type: 'GO' });
  await actor.send({ type: 'GO' });
  expect(work.map(({ signal }) => signal.aborted)).toEqual([true, false]);
  work[0]?.end('first');
  work[1]?.end('second');
  await cluster.settle();
  expect(actor.context.ended).toEqual(['second']);
  await cluster.stop();
});
