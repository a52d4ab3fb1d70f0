import { expect, test } from 'vitest';
import { assign, forwardTo, fromPromise, sendParent, sendTo, setup } from 'xstate';
import { defineActor } from '../../src/index.ts';
import { testCluster } from '../../src/testing/index.ts';

// Machines inside of machines, when their root's type has a new version.

const events = {} as { type: string };

const counter = (by: number) =>
  setup({
    types: { events, context: {} as { n: number } },
    actors: { idle: fromPromise(() => new Promise<never>(() => {})) },
  }).createMachine({
    id: 'counter',
    context: { n: 0 },
    initial: 'on',
    states: {
      on: {
        on: {
          ADD: {
            actions: [
              assign({ n: ({ context }) => context.n + by }),
              sendParent(({ context }) => ({ type: 'COUNTED', n: context.n })),
            ],
          },
          REST: 'resting',
        },
      },
      resting: { after: { 1000: 'on' } },
    },
  });

const beeper = setup({ types: { events }, actors: { counter: counter(1) } }).createMachine({
  id: 'beeper',
  invoke: { id: 'inner', src: 'counter' },
  after: { 5000: { actions: sendParent({ type: 'BEEP' }) } },
  on: { COUNTED: {} },
});

const old = defineActor('box', {
  version: '1',
  machine: setup({
    types: { events, context: {} as { heard: string[] } },
    actors: { counter: counter(1), beeper },
  }).createMachine({
    id: 'box',
    context: { heard: [] },
    invoke: [
      { id: 'count', src: 'counter' },
      { id: 'beep', src: 'beeper' },
    ],
    on: {
      ADD: { actions: forwardTo('count') },
      REST: { actions: forwardTo('count') },
      '*': { actions: assign({ heard: ({ context, event }) => [...context.heard, event.type] }) },
    },
  }),
});

const next = defineActor('box', {
  version: '2',
  migrate: { '1': ({ context }) => ({ value: {}, context: context as { heard: string[] } }) },
  machine: setup({
    types: { events, context: {} as { heard: string[] } },
    actors: { counter: counter(10) },
  }).createMachine({
    id: 'box',
    context: { heard: [] },
    invoke: [
      { id: 'count', src: 'counter' },
      { id: 'more', src: 'counter' },
    ],
    on: {
      ADD: { actions: [forwardTo('count'), sendTo('more', { type: 'ADD' })] },
      '*': { actions: assign({ heard: ({ context, event }) => [...context.heard, event.type] }) },
    },
  }),
});

test('a machine both versions have goes on, one that is new begins, one that is gone ends with all below it', async () => {
  const cluster = await testCluster({ actors: [old] });
  const box = await cluster.start(old, { id: 'a' });
  await box.send({ type: 'ADD' });
  await box.send({ type: 'REST' });
  const [count, beep] = [box.child('count'), box.child('beep')];
  const inner = beep.child('inner');
  expect(inner.id).toBe('a.beep-1.inner-1');
  expect(count.timers).toMatchObject([{ inMs: 1000 }]);
  await cluster.deploy([next]);
  const after = cluster.actor(next, 'a');
  await after.send({ type: 'ADD' });
  // It rests still, under the deadline it had; the new one counts by ten.
  expect(count.state).toBe('resting');
  expect(count.context).toEqual({ n: 1 });
  expect(after.child('more').context).toEqual({ n: 10 });
  expect([beep.status, inner.status]).toEqual(['stopped', 'stopped']);
  expect(beep.history.at(-1)?.event.type).toBe('perdure.abandon');
  await cluster.advance(1000);
  await after.send({ type: 'ADD' });
  expect(after.child('count').context).toEqual({ n: 11 });
  expect(after.child('count').id).toBe(count.id);
  await cluster.advance(10_000);
  expect(after.context.heard).toEqual(['COUNTED', 'COUNTED', 'COUNTED', 'COUNTED']);
  expect(cluster.deadLetters).toEqual([]);
  await cluster.stop();
});

test('a machine that stands where its new one has no state keeps the whole family in its version', async () => {
  const without = defineActor('box', {
    version: '2',
    migrate: next.migrate as never,
    machine: setup({
      types: { events, context: {} as { heard: string[] } },
      actors: {
        counter: setup({ types: { events, context: {} as { n: number } } }).createMachine({
          id: 'counter',
          context: { n: 0 },
          initial: 'on',
          states: { on: {} },
        }),
      },
    }).createMachine({
      id: 'box',
      context: { heard: [] },
      invoke: { id: 'count', src: 'counter' },
    }),
  });
  const cluster = await testCluster({ actors: [old] });
  const box = await cluster.start(old, { id: 'a' });
  await box.send({ type: 'REST' });
  await cluster.deploy([without]);
  await expect(cluster.actor(without, 'a').send({ type: 'ADD' })).rejects.toMatchObject({
    code: 'migrate_failed',
  });
  expect(box.child('count').state).toBe('resting');
  await cluster.stop();
});
