import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { assign, createActor, enqueueActions, raise, sendTo, setup } from 'xstate';
import { defineActor } from '../../src/index.ts';
import { capture, fragile } from '../support/actors.ts';
import { Journal } from '../support/cluster.ts';
import { openWorld, printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import type { JournalLine } from '../support/history.ts';
import { eventually } from '../support/services.ts';

const world = useWorld();
beforeEach(() => printLogOnFailure(world));

const ALL = ['first', 'inline', 'tell early', 'last', 'tell late', 'entry'];

/** Labels of what an actor's actions wrote down, split by process. */
function labels(actor: string): string[][] {
  const runs = new Map<number, string[]>();
  for (const line of new Journal<JournalLine>(`${world.dir}/journal.jsonl`).read()) {
    if (line.kind !== 'action' || line.actor !== actor) continue;
    const pid = line.pid as number;
    runs.set(pid, [...(runs.get(pid) ?? []), line.label as string]);
  }
  return [...runs.values()];
}

async function heard(id: string): Promise<string[]> {
  const row = await world.actor('fragile', id);
  return (row as unknown as { context: { heard: string[] } }).context.heard;
}

describe.each([
  ['middle', ['first', 'inline', 'tell early']],
  ['end', ['first', 'inline', 'tell early', 'last', 'tell late']],
] as const)('a process that dies in the %s of its actions', (place, before) => {
  const id = `dies-${place}`;

  beforeAll(async () => {
    const node = await world.spawn({}, { PERDURE_TEST_CRASH: place });
    await world.client.start(fragile, { id, until: 'committed' });
    await world.client.send(fragile, id, { type: 'GO', crash: place });
    expect(await node.exited).toMatchObject({ signal: 'SIGKILL' });
    // The transition was committed before any of its actions ran.
    expect(await world.actor('fragile', id)).toMatchObject({ state: 'gone' });
    const next = await world.spawn();
    await eventually(async () => (await heard(id)).length === 2, { what: 'both words to itself' });
    await eventually(
      async () =>
        (await world.sql.query(`SELECT FROM actor WHERE id = $1 AND acted_seq = seq`, [id])).length,
      { what: 'the actions are acknowledged' },
    );
    await next.kill();
  });

  test('named and inline actions run again, all of them, in order', () => {
    expect(labels(id)).toEqual([before, ALL]);
  });

  test('what they sent to their own actor arrives once', async () => {
    expect(await heard(id)).toEqual(['early', 'late']);
    const events = (await world.transitions('fragile', id)).map(({ event_type }) => event_type);
    expect(events).toEqual(['xstate.init', 'GO', 'HEARD', 'HEARD']);
  });

  test('what has been acknowledged does not run a third time', async () => {
    const node = await world.spawn();
    await world.client.send(
      fragile,
      id,
      { type: 'HEARD', from: 'outside' },
      { until: 'committed' },
    );
    expect(labels(id)).toHaveLength(2);
    await node.kill();
  });

  test('the history is sound', async () => {
    const journal = new Journal<JournalLine>(`${world.dir}/journal.jsonl`).read();
    expect(await world.check({ types: [fragile], capture, journal })).toEqual([]);
  });
});

test('a process that dies again and again in its actions: they run once it lives', async () => {
  const id = 'unlucky';
  let node = await world.spawn({}, { PERDURE_TEST_CRASH: 'middle' });
  await world.client.start(fragile, { id, until: 'committed' });
  await world.client.send(fragile, id, { type: 'GO', crash: 'middle' });
  await node.exited;
  for (let n = 0; n < 2; n++) {
    node = await world.spawn({}, { PERDURE_TEST_CRASH: 'middle' }).catch(() => node);
    await node.exited;
  }
  node = await world.spawn();
  await eventually(async () => (await heard(id)).length === 2, { what: 'both words to itself' });
  expect(await heard(id)).toEqual(['early', 'late']);
  expect(labels(id).at(-1)).toEqual(ALL);
  await node.kill();
});

// ── what needs no crash ───────────────────────────────────────────────────────────────────────────

const told: string[] = [];
const actor = defineActor('actor', {
  machine: setup({
    types: {
      context: {} as { heard: string[] },
      events: {} as { type: 'GO' | 'THROW' | 'REJECT' | 'LATE' | 'HEARD' | 'CHAIN'; from?: string },
    },
    actions: {
      say: (_, { label }: { label: string }) => void told.push(label),
      throws: () => {
        throw new Error('in an action');
      },
      rejects: () => Promise.reject(new Error('after a while')),
      tells: ({ self }, { from }: { from: string }) => self.send({ type: 'HEARD', from }),
      tellsLate: async ({ self }) => {
        await new Promise((done) => setTimeout(done, 10));
        self.send({ type: 'HEARD', from: 'late' });
      },
    },
  }).createMachine({
    context: { heard: [] },
    initial: 'a',
    on: {
      HEARD: {
        actions: assign({ heard: ({ context, event }) => [...context.heard, event.from ?? ''] }),
      },
      THROW: {
        actions: [
          { type: 'say', params: { label: 'before' } },
          'throws',
          { type: 'say', params: { label: 'after' } },
        ],
      },
      REJECT: { actions: 'rejects' },
      LATE: { actions: 'tellsLate' },
      CHAIN: {
        actions: enqueueActions(({ enqueue, check }) => {
          enqueue({ type: 'say', params: { label: 'chain 1' } });
          if (check(() => true)) enqueue(() => void told.push('chain 2'));
          enqueue({ type: 'tells', params: { from: 'chain' } });
          enqueue({ type: 'say', params: { label: 'chain 3' } });
        }),
      },
    },
    states: {
      a: {
        exit: { type: 'say', params: { label: 'exit a' } },
        on: { GO: { target: 'b', actions: { type: 'say', params: { label: 'edge' } } } },
      },
      b: {
        entry: { type: 'say', params: { label: 'entry b' } },
        always: { target: 'c', actions: { type: 'say', params: { label: 'always' } } },
        exit: { type: 'say', params: { label: 'exit b' } },
      },
      c: {
        entry: [
          { type: 'say', params: { label: 'entry c' } },
          { type: 'tells', params: { from: 'c' } },
        ],
      },
    },
  }),
});

describe('in this process', () => {
  let made = 0;
  beforeAll(() => world.node([actor]));
  async function start(): Promise<string> {
    told.length = 0;
    const id = `x${++made}`;
    await world.client.start(actor, { id, until: 'committed' });
    return id;
  }

  test('exit, edge, always and entry actions run in the order of XState', async () => {
    const id = await start();
    await world.client.send(actor, id, { type: 'GO' });
    await world.settled('actor', id, 3);
    expect(told).toEqual(['exit a', 'edge', 'entry b', 'exit b', 'always', 'entry c']);
    expect((await world.actor('actor', id))?.context).toEqual({ heard: ['c'] });
  });

  test('enqueueActions, with a send to itself among the rest', async () => {
    const id = await start();
    await world.client.send(actor, id, { type: 'CHAIN' });
    await world.settled('actor', id, 3);
    expect(told).toEqual(['chain 1', 'chain 2', 'chain 3']);
    expect((await world.actor('actor', id))?.context).toEqual({ heard: ['chain'] });
  });

  test('an action that waits before it sends to its own actor is heard', async () => {
    const id = await start();
    await world.client.send(actor, id, { type: 'LATE' });
    await world.settled('actor', id, 3);
    expect((await world.actor('actor', id))?.context).toEqual({ heard: ['late'] });
  });

  test('what an action sends to its own actor comes before sendTo(self), as in XState', async () => {
    const machine = setup({ types: { context: {} as { log: string[] } } }).createMachine({
      context: { log: [] },
      on: {
        GO: {
          actions: [
            sendTo(({ self }) => self, { type: 'SENT' }),
            ({ self }) => self.send({ type: 'BY_ACTION' }),
            raise({ type: 'RAISED' }),
          ],
        },
        '*': { actions: assign({ log: ({ context, event }) => [...context.log, event.type] }) },
      },
    });
    const oracle = createActor(machine).start();
    oracle.send({ type: 'GO' });
    const own = defineActor('own', { machine });
    const { world: other, close } = await openWorld();
    try {
      await other.node([own]);
      await other.client.start(own, { id: 'o', until: 'committed' });
      await other.client.send(own, 'o', { type: 'GO' });
      await other.settled('own', 'o', 4);
      expect((await other.actor('own', 'o'))?.context).toEqual(oracle.getSnapshot().context);
    } finally {
      await close();
    }
  });

  test.each([
    ['THROW', /throws failed: in an action/],
    ['REJECT', /rejects failed: after a while/],
  ] as const)(
    'an action that fails (%s) ends the actor with action_failed',
    async (type, message) => {
      const id = await start();
      await world.client.send(actor, id, { type });
      await world.settled('actor', id);
      const row = await world.actor('actor', id);
      expect(row).toMatchObject({ status: 'error', seq: 3, error: { code: 'action_failed' } });
      expect(row?.error?.message).toMatch(message);
    },
  );

  test('the history is sound', async () => {
    expect(await world.check({ types: [actor, fragile] })).toEqual([]);
  });
});
