import { beforeEach, expect, test } from 'vitest';
import { assign, createMachine, fromPromise, setup } from 'xstate';
import { defineActor } from '../../src/index.ts';
import { brief, capture, counter } from '../support/actors.ts';
import { readOutcomes } from '../support/cluster.ts';
import { openWorld, printLogOnFailure, useWorld, type World } from '../support/clusterWorld.ts';
import { eventually } from '../support/services.ts';

const world = useWorld();
beforeEach(() => printLogOnFailure(world));

/** A player with everything that must come back from a row: history, parallel states, context, timers. */
const player = defineActor('player', {
  machine: setup({
    types: {
      context: {} as { log: string[]; since: Date; tracks: Map<string, number> },
      events: {} as
        | { type: 'PLAY' | 'PAUSE' | 'FAST' | 'SLOW' | 'STOP' | 'RESUME' | 'LOUD' | 'NAP' }
        | { type: 'RATE'; track: string; stars: number },
    },
    actors: { forever: fromPromise(() => new Promise(() => {})) },
  }).createMachine({
    context: { log: [], since: new Date(0), tracks: new Map() },
    type: 'parallel',
    on: {
      RATE: {
        actions: assign({
          tracks: ({ context, event }) => new Map(context.tracks).set(event.track, event.stars),
        }),
      },
    },
    states: {
      motor: {
        initial: 'stopped',
        states: {
          stopped: { on: { PLAY: 'running', RESUME: 'running.last' } },
          running: {
            initial: 'slow',
            on: { STOP: 'stopped' },
            states: {
              slow: { on: { FAST: 'fast' } },
              fast: {
                initial: 'smooth',
                on: { SLOW: 'slow' },
                states: { smooth: { on: { LOUD: 'loud' } }, loud: {} },
              },
              last: { type: 'history', history: 'deep' },
            },
          },
        },
      },
      sleep: {
        initial: 'awake',
        states: {
          awake: { on: { NAP: 'napping' } },
          napping: {
            after: {
              3000: {
                target: 'awake',
                actions: assign({ log: ({ context }) => [...context.log, 'woke'] }),
              },
            },
          },
        },
      },
    },
  }),
});

test('an idle actor leaves memory, and comes back with history, context and timers', async () => {
  const node = await world.node([player], { passivateAfterMs: 50 });
  const gone = () =>
    eventually(() => node.status().residents === 0, { what: 'nobody is in memory' });
  const send = (event: Parameters<typeof world.client.send<typeof player>>[2]) =>
    world.client.send(player, 'p', event, { until: 'committed' });
  await world.client.start(player, { id: 'p', until: 'committed' });
  await send({ type: 'PLAY' });
  await send({ type: 'FAST' });
  await send({ type: 'LOUD' });
  await send({ type: 'RATE', track: 'one', stars: 5 });
  await send({ type: 'STOP' });
  await send({ type: 'NAP' });
  await gone();
  // Deep history, three levels down, out of a row.
  expect(await send({ type: 'RESUME' })).toMatchObject({
    state: { motor: { running: { fast: 'loud' } }, sleep: 'napping' },
  });
  await gone();
  await send({ type: 'RATE', track: 'two', stars: 3 });
  await gone();
  // The timer fires although nobody was in memory when it came due.
  await world.client.waitFor(player, 'p', (snapshot) => snapshot.context.log.length > 0);
  const { context } = await world.client.snapshot(player, 'p');
  expect(context.tracks).toEqual(
    new Map([
      ['one', 5],
      ['two', 3],
    ]),
  );
  expect(context.log).toEqual(['woke']);
  expect(context.since).toEqual(new Date(0));
  await gone();
  expect(await world.check({ types: [player] })).toEqual([]);
  await node.stop();
});

const busy = defineActor('busy', {
  machine: setup({
    types: { events: {} as { type: 'LEAVE' } },
    actors: { forever: fromPromise(() => new Promise(() => {})) },
  }).createMachine({
    initial: 'on',
    states: { on: { invoke: { src: 'forever' }, on: { LEAVE: 'off' } }, off: {} },
  }),
});

test('an actor that runs something stays in memory until it has done so', async () => {
  const node = await world.node([busy, counter], { passivateAfterMs: 50 });
  await world.client.start(busy, { id: 'b', until: 'committed' });
  await world.client.start(counter, { id: 'c', until: 'committed' });
  await eventually(() => node.status().residents === 1, { what: 'only the busy one is left' });
  expect(node.status().busyActors).toBe(1);
  await world.client.send(busy, 'b', { type: 'LEAVE' }, { until: 'committed' });
  await eventually(() => node.status().residents === 0, { what: 'it is gone as well' });
  expect(node.status().busyActors).toBe(0);
  await node.stop();
});

test('more actors than fit in memory: idle ones make way', async () => {
  const node = await world.node([counter], { residentsMax: 10, passivateAfterMs: 60_000 });
  const ids = Array.from({ length: 60 }, (_, n) => `full-${n}`);
  await Promise.all(ids.map((id) => world.client.start(counter, { id, until: 'committed' })));
  await eventually(() => node.status().residents <= 10, { what: 'at most 10 in memory' });
  await Promise.all(
    ids.map((id, n) => world.client.send(counter, id, { type: 'ADD', n }, { until: 'committed' })),
  );
  for (const [n, id] of ids.entries())
    expect(await world.actor('counter', id)).toMatchObject({ seq: 2, context: { seen: [n] } });
  await node.stop();
});

const ROUNDS = 60;

/** Many messages for actors of one shard, in memory and not, while the idle ones leave at once. */
async function churn(own: World) {
  const ids = ['churn', ...own.neighbours('counter', 'churn', 15)];
  await own.node([counter], { passivateAfterMs: 1 });
  for (const id of ids) await own.client.start(counter, { id, until: 'committed' });
  for (let n = 0; n < ROUNDS; n++) {
    for (const id of ids.slice(n % 5, (n % 5) + 8))
      own.nc.publish(`${own.namespace}.events.counter.${id}`, JSON.stringify({ type: 'ADD', n }));
    if (n % 3 === 0) await own.nc.flush();
  }
  for (const id of ids)
    await own.client.send(counter, id, { type: 'STOP' }, { until: 'committed' });
  return ids;
}

test('leaving memory never makes an actor look as if it did not exist', async () => {
  const { world: own, close } = await openWorld();
  printLogOnFailure(own);
  try {
    const ids = await churn(own);
    expect(await own.sql.query('SELECT reason, subject FROM dead_letters')).toEqual([]);
    let got = 0;
    for (const id of ids) {
      const actor = await own.actor('counter', id);
      const { seen } = (actor as unknown as { context: { seen: number[] } }).context;
      expect(seen).toEqual([...seen].sort((a, b) => a - b));
      got += seen.length;
    }
    expect(got).toBe(ROUNDS * 8);
    expect(await own.check({ types: [counter] })).toEqual([]);
    expect(own.log.filter(({ msg }) => /surprise|refused/.test(msg))).toEqual([]);
  } finally {
    await close();
  }
});

test('events that reach an actor in the moment it ends are dead as finished, never as unknown', async () => {
  const { world: own, close } = await openWorld();
  printLogOnFailure(own);
  try {
    await own.node([counter], { shardIntakeMax: 2 });
    const ids = ['end', ...own.neighbours('counter', 'end', 20)];
    for (const id of ids) {
      const at = `${own.namespace}.events.counter.${id}`;
      own.nc.publish(`${own.namespace}.jobs.counter.${id}`, 'null');
      own.nc.publish(at, '{"type":"STOP"}');
      for (let n = 0; n < 5; n++) {
        own.nc.publish(at, JSON.stringify({ type: 'ADD', n }));
        // Something that must be loaded first, so that the shard waits with the end under way.
        own.nc.publish(`${own.namespace}.jobs.counter.${id}-${n}`, 'null');
      }
    }
    await eventually(
      async () =>
        (await own.sql.query<{ n: number }>('SELECT count(*)::int AS n FROM dead_letters'))[0]
          ?.n ===
          ids.length * 5 || undefined,
      { what: 'all dead letters' },
    );
    const reasons = await own.sql.query('SELECT DISTINCT reason FROM dead_letters');
    expect(reasons).toEqual([{ reason: 'actor_finished' }]);
  } finally {
    await close();
  }
});

test('an outcome is published although the node died right after the commit', async () => {
  // The action runs after the commit and before anything else gets a turn: no outcome has been sent by then.
  const node = await world.spawn({}, { PERDURE_TEST_CRASH: 'brief' });
  await world.client.start(brief, { id: 'gone', input: { n: 42 } });
  expect(await node.exited).toMatchObject({ signal: 'SIGKILL' });
  expect(await world.actor('brief', 'gone')).toMatchObject({ status: 'done', seq: 1 });
  expect(await world.sql.query(`SELECT kind FROM outbox WHERE id = 'gone'`)).toEqual([
    { kind: 'outcome' },
  ]);
  const next = await world.spawn();
  await eventually(
    async () => (await world.sql.query(`SELECT FROM outbox WHERE id = 'gone'`)).length === 0,
    { what: 'the outcome is out' },
  );
  const told = (await readOutcomes(world)).filter(({ id }) => id === 'gone');
  expect(told.length).toBeGreaterThanOrEqual(1);
  for (const outcome of told)
    expect(outcome).toEqual({
      type: 'brief',
      id: 'gone',
      seq: 1,
      status: 'done',
      output: { n: 42 },
      error: null,
    });
  await next.kill();
  expect(await world.check({ types: [player, busy, counter, brief], capture })).toEqual([]);
});

test('an actor whose acknowledged actions wait to be written down does not leave memory', async () => {
  const noisy = defineActor('noisy', {
    machine: createMachine({ on: { PING: { actions: () => {} } } }),
  });
  await world.node([noisy], { passivateAfterMs: 1, residentsMax: 1 });
  for (let n = 0; n < 4; n++) await world.client.start(noisy, { id: `n${n}`, until: 'committed' });
  const ping = (n: number) =>
    world.client.send('noisy', `n${n}`, { type: 'PING' }, { until: 'committed' });
  for (let round = 0; round < 60; round++) await Promise.all([0, 1, 2, 3].map(ping));
  expect(world.log.filter(({ msg }) => msg.includes('surprise'))).toEqual([]);
  expect((await world.transitions('noisy', 'n0')).length).toBe(61);
}, 60_000);
