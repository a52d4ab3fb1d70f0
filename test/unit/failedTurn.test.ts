import { expect, test } from 'vitest';
import { assign, fromPromise, setup } from 'xstate';
import { composeEngine, type Engine } from '../../src/actors/engine.ts';
import { Registry } from '../../src/actors/registry.ts';
import { emptyLoad } from '../../src/actors/ring.ts';
import { createMemoryLog } from '../../src/bus/memory.ts';
import { shardOf, subjects } from '../../src/bus/subjects.ts';
import { systemClock as clock } from '../../src/clock.ts';
import { LIMITS, namespace } from '../../src/config.ts';
import { defineActor } from '../../src/index.ts';
import { createLogger } from '../../src/log.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { testCluster } from '../../src/testing/index.ts';
import { VERSION } from '../../src/version.ts';
import { eventually } from '../support/services.ts';

// A turn that fails has taken messages and items which are nowhere then: what comes behind them must not be committed
// before they are taken again.

let noted = 0;
const counter = defineActor('counter', {
  machine: setup({
    types: {
      context: {} as { seen: number[] },
      events: {} as { type: 'ADD'; n: number } | { type: 'NOTE' },
    },
    actions: {
      note: () => {
        noted++;
        return new Promise(() => {}) as unknown as undefined;
      },
    },
  }).createMachine({
    context: { seen: [] },
    on: {
      ADD: { actions: assign({ seen: ({ context, event }) => [...context.seen, event.n] }) },
      NOTE: { actions: 'note' },
    },
  }),
});

let begun = 0;
const waiting: (() => void)[] = [];
const worker = defineActor('worker', {
  machine: setup({
    actors: {
      work: fromPromise(() => {
        begun++;
        return new Promise<void>((resolve) => void waiting.push(resolve));
      }),
    },
  }).createMachine({
    initial: 'working',
    states: { working: { invoke: { src: 'work', onDone: 'done' } }, done: { type: 'final' } },
  }),
});

/** A cluster in this process, whose nodes' stores do something else than they should where the test says so. */
function stage(shards = 1) {
  const store = createMemoryStore({ clock, shards });
  const log = createMemoryLog({ clock, shards, namespace: namespace() });
  const client = log.connect();
  const registry = new Registry([counter, worker]);
  let sent = 0;
  const engines = new Map<string | null, Engine>();
  const publish = (kind: 'start' | 'event', id: string, body = '', type = 'counter') =>
    client.publish(subjects[kind](log.namespace, type, id), body, { messageId: clock.uuid() });
  const node = async (faults: Partial<Store> = {}): Promise<Engine> => {
    const nodeId = clock.uuid();
    const engine = composeEngine({
      node: {
        ...{ nodeId, name: 'node', host: 'test', pid: 1, version: VERSION },
        ...{ opens: registry.opens, machines: registry.machines },
      },
      ...{ namespace: log.namespace, shards, limits: LIMITS, registry, clock },
      bus: log.connect(),
      store: new Proxy<Store>(store, {
        get: (_, name: keyof Store) =>
          faults[name] ?? (store[name] as unknown as () => void).bind(store),
      }),
      log: createLogger({ level: 'silent' }),
      load: emptyLoad(),
    });
    await engine.start();
    engines.set(nodeId, engine);
    return engine;
  };
  return {
    store,
    publish,
    node,
    stop: (nodeId: string | null) => engines.get(nodeId)?.stop(),
    owners: async () => (await store.shards()).map(({ owner }) => owner),
    add: (id: string) => publish('event', id, JSON.stringify({ type: 'ADD', n: sent++ })),
    sent: () => Array.from({ length: sent }, (_, n) => n),
    seen: async (id: string) => {
      const actor = await store.actor('counter', id);
      return (actor?.context as { seen: number[] } | undefined)?.seen ?? [];
    },
  };
}

test('bug: messages of a turn that failed were lost when what came behind them was committed', async () => {
  const { store, publish, node, add, sent, seen } = stage();
  let failures = 0;
  const engine = await node({
    load: async (addresses, eventIdsMax) => {
      if (addresses.every(({ id }) => id !== 'nobody') || failures === 3)
        return store.load(addresses, eventIdsMax);
      failures++;
      // Behind what is lost with this turn.
      void add('a');
      void add('a');
      throw new Error('refused by a test');
    },
  });
  await publish('start', 'a');
  await add('a');
  await eventually(async () => (await seen('a')).length === 1, { what: 'it is there' });
  await Promise.all([add('a'), publish('event', 'nobody', '{"type":"ADD"}'), add('a')]);
  await eventually(async () => failures === 3 && (await seen('a')).length >= sent().length, {
    what: 'all have been taken',
  });
  expect(await seen('a')).toEqual(sent());
  await engine.stop();
});

test('bug: a shard that could not be opened for a moment ended its node, or stayed half open', async () => {
  const { store, publish, node, add, sent, seen } = stage();
  const first = await node();
  await publish('start', 'a');
  await publish('event', 'a', '{"type":"NOTE"}');
  await eventually(async () => noted === 1, { what: 'the action is under way' });
  await first.stop();
  let failures = 0;
  const second = await node({
    transitions: async (...args) => {
      if (failures++ < 2) throw new Error('refused by a test');
      return store.transitions(...args);
    },
  });
  await eventually(async () => noted === 2, { what: 'the action is redone' });
  await add('a');
  await eventually(async () => (await seen('a')).length === 1, { what: 'the log is read' });
  expect(await seen('a')).toEqual(sent());
  await second.stop();
});

test('bug: what ran in a shard that could not be opened again at once was aborted, and ran again', async () => {
  const { store, publish, node } = stage();
  let failures = 0;
  const engine = await node({
    load: async (addresses, eventIdsMax) => {
      if (addresses.every(({ id }) => id !== 'nobody') || failures > 0)
        return store.load(addresses, eventIdsMax);
      failures++;
      throw new Error('refused by a test');
    },
    transitions: async (...args) => {
      if (failures++ < 3) throw new Error('refused by a test');
      return store.transitions(...args);
    },
  });
  const before = noted;
  // Of those with something to do, one is met before the opening fails and one is not.
  await Promise.all([publish('start', '1', '', 'worker'), publish('start', '2', '', 'worker')]);
  await publish('start', 'a');
  await publish('event', 'a', '{"type":"NOTE"}');
  await Promise.all([publish('start', '3', '', 'worker'), publish('start', '4', '', 'worker')]);
  await eventually(async () => begun === 4 && noted === before + 1, { what: 'they work' });
  await publish('event', 'nobody', '{"type":"ADD"}');
  await eventually(async () => noted === before + 2, { what: 'the shard is open' });
  for (const done of waiting) done();
  const ids = ['1', '2', '3', '4'];
  await eventually(
    async () => {
      const actors = await Promise.all(ids.map((id) => store.actor('worker', id)));
      return actors.every((actor) => actor?.status === 'done');
    },
    { what: 'they are done' },
  );
  expect(failures).toBe(4);
  expect(begun).toBe(4);
  await engine.stop();
});

test('bug: a node took nothing over as long as one of its shards could not be opened', async () => {
  const { store, publish, node, stop, owners, add, seen } = stage(2);
  const idIn = (shard: number) =>
    ['a', 'b', 'c', 'd', 'e', 'f'].find((id) => shardOf('counter', id, 2) === shard) as string;
  const [stuck, other] = [idIn(0), idIn(1)];
  let isDown = false;
  const faults: Partial<Store> = {
    transitions: async (...args) => {
      if (isDown) throw new Error('refused by a test');
      return store.transitions(...args);
    },
  };
  const first = await node();
  const before = noted;
  await Promise.all([publish('start', stuck), publish('start', other)]);
  await publish('event', stuck, '{"type":"NOTE"}');
  await eventually(async () => noted === before + 1, { what: 'the action is under way' });
  await first.stop();
  isDown = true;
  await node(faults);
  await node(faults);
  await eventually(
    async () => {
      const [one, two] = await owners();
      return one && two && one !== two;
    },
    { what: 'each has one' },
  );
  const [owner = null, neighbour = null] = await owners();
  await stop(neighbour);
  await eventually(async () => (await owners())[1] === owner, { what: 'it is taken over' });
  await add(other);
  await eventually(async () => (await seen(other)).length === 1, { what: 'it is open' });
  isDown = false;
  await add(stuck);
  await eventually(async () => (await seen(stuck)).length === 1, { what: 'the other is, too' });
  expect(noted).toBe(before + 2);
  await stop(owner);
});

test('bug: shards whose rows could not be read when they were claimed were left closed', async () => {
  const { store, publish, node, add, seen } = stage(2);
  let failures = 0;
  const engine = await node({
    recover: async (...args) => {
      if (failures++ < 2) throw new Error('refused by a test');
      return store.recover(...args);
    },
  });
  await publish('start', 'a');
  await add('a');
  await eventually(async () => (await seen('a')).length === 1, { what: 'it is there' });
  expect(failures).toBe(3);
  await engine.stop();
});

test('what an action passes on to self may be an event of XState itself', async () => {
  const heard = setup({ actions: { pass: ({ self, event }) => self.send(event) } }).createMachine({
    initial: 'waiting',
    states: { waiting: { after: { 10: { target: 'late', actions: 'pass' } } }, late: {} },
  });
  const type = defineActor('heard', { machine: heard });
  const cluster = await testCluster({ actors: [type] });
  const actor = await cluster.start(type, { id: 'h' });
  await cluster.advance(10);
  expect(actor.status).toBe('active');
  expect(actor.history.map(({ origin }) => origin)).toEqual(['start', 'timer', 'self']);
  await cluster.stop();
});

test.each([
  ['a function', () => ({ type: 'ADD', n: () => {} }), 'not_serialisable'],
  ['what has no type', () => ({ n: 1 }), 'bad_event'],
  ['a type no row can hold', () => ({ type: 'A\u0000' }), 'bad_event'],
  ['a text', () => 'ADD', 'bad_event'],
])(
  'bug: an action that sends self %s ends its actor, and nobody else is held up',
  async (_, event, code) => {
    const talker = defineActor('talker', {
      machine: setup({
        actions: { talk: ({ self }) => (self.send as (event: unknown) => void)(event()) },
      }).createMachine({ on: { TALK: { actions: 'talk' }, ADD: {} } }),
    });
    const cluster = await testCluster({ actors: [talker] });
    const actor = await cluster.start(talker, { id: 't' });
    await actor.send({ type: 'TALK' });
    expect(actor.status).toBe('error');
    expect(actor.error).toMatchObject({ code });
    const other = await cluster.start(talker, { id: 'other' });
    await other.send({ type: 'ADD' });
    expect(other.history).toHaveLength(2);
    await cluster.stop();
  },
);
