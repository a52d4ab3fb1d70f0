import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { assign, fromPromise, sendTo, setup } from 'xstate';
import { actorAddress, defineActor, invocation, type PerdureNode } from '../../src/index.ts';
import { PARTS } from '../../src/store/commitParts.ts';
import { readOutcomes } from '../support/cluster.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import { type Cut, type CutProxy, startCutProxy } from '../support/cutProxy.ts';
import type { JournalLine } from '../support/history.ts';
import { eventually } from '../support/services.ts';

// The line to Postgres breaks between a commit and its answer. The node cannot know which it was; what is recorded,
// and what is done, must be the same either way.

const journal: JournalLine[] = [];
let sink = journal;

const worker = defineActor('worker', {
  machine: setup({
    types: {
      context: {} as { n: number; got: string[] },
      events: {} as { type: 'DO'; n: number } | { type: 'END' },
    },
    actors: {
      work: fromPromise<string, { n: number }>(async ({ input, self }) => {
        const { idempotencyKey: key, attempt } = invocation(self);
        sink.push({ kind: 'invoke', key, attempt, input, phase: 'start', at: Date.now() });
        return key;
      }),
    },
    actions: {
      note: ({ self }, { n }: { n: number }) =>
        sink.push({ kind: 'action', at: Date.now(), actor: self.id, n }),
    },
  }).createMachine({
    context: { n: 0, got: [] },
    initial: 'idle',
    on: { END: '.ended' },
    states: {
      idle: { on: { DO: { target: 'working', actions: assign({ n: ({ event }) => event.n }) } } },
      working: {
        entry: [
          { type: 'note', params: ({ context }) => ({ n: context.n }) },
          sendTo(
            () => actorAddress('tally', 'all'),
            ({ context, self }) => ({ type: 'ADD', what: `${self.id}-${context.n}` }),
          ),
        ],
        invoke: {
          id: 'work',
          src: 'work',
          input: ({ context }) => ({ n: context.n }),
          onDone: {
            target: 'resting',
            actions: assign({ got: ({ context, event }) => [...context.got, event.output] }),
          },
        },
      },
      resting: { after: { 5: 'idle' } },
      ended: { type: 'final' },
    },
    output: ({ context }) => context.got.length,
  }),
});

const tally = defineActor('tally', {
  machine: setup({
    types: { context: {} as { all: string[] }, events: {} as { type: 'ADD'; what: string } },
  }).createMachine({
    context: { all: [] },
    on: { ADD: { actions: assign({ all: ({ context, event }) => [...context.all, event.what] }) } },
  }),
});

const world = useWorld();
let proxy: CutProxy;
let node: PerdureNode;
beforeAll(async () => {
  proxy = await startCutProxy(world.databaseUrl);
  node = await world.node([worker, tally], {}, { databaseUrl: proxy.url });
  await world.client.start(tally, { id: 'all', until: 'committed' });
});
afterAll(async () => {
  await node.stop();
  await proxy.close();
});
beforeEach(() => printLogOnFailure(world));

/** `commit_<bits>`: one for each part it has. */
const TRANSITIONS = 1 << PARTS.findIndex(({ sql }) => sql.startsWith('transitions AS'));
const carriesTransitions = (name: string) =>
  name.startsWith('commit_') && (Number(name.slice('commit_'.length)) & TRANSITIONS) !== 0;

const ROUNDS = 6;
let made = 0;

async function round(id: string, n: number, between: () => void): Promise<void> {
  await world.client.waitFor(worker, id, (snapshot) => snapshot.matches('idle'));
  between();
  const receipt = await world.client.send(worker, id, { type: 'DO', n }, { until: 'committed' });
  expect(receipt.duplicate).toBe(false);
  await world.client.waitFor(worker, id, (snapshot) => snapshot.context.got.length > n);
}

async function finish(id: string, rounds: number): Promise<void> {
  await world.client.waitFor(worker, id, (snapshot) => snapshot.matches('idle'));
  await world.client.send(worker, id, { type: 'END' }, { until: 'committed' });
  expect(await world.client.outcome(worker, id, { timeoutMs: 10_000 })).toEqual({
    status: 'done',
    output: rounds,
  });
  const happened = (await world.transitions('worker', id)).map(({ event_type }) => event_type);
  expect(happened.filter((type) => type === 'DO')).toHaveLength(rounds);
  expect(happened.filter((type) => type.startsWith('xstate.done'))).toHaveLength(rounds);
  expect(happened.filter((type) => type.startsWith('xstate.after'))).toHaveLength(rounds);
  const told = async () => {
    const got = (await world.actor('tally', 'all'))?.context as unknown as { all: string[] };
    return got.all.filter((what) => what.startsWith(`${id}-`));
  };
  // Its last words are on their way when it ends.
  await eventually(async () => (await told()).length >= rounds, { what: 'the tally has heard' });
  expect(await told()).toEqual(Array.from({ length: rounds }, (_, n) => `${id}-${n}`));
}

test.each(['before', 'during', 'after'] as const)(
  'a line cut %s a commit: one transition, and its effects run',
  async (when: Cut) => {
    const id = `w${++made}`;
    await world.client.start(worker, { id, until: 'committed' });
    const before = proxy.cuts.length;
    for (let n = 0; n < ROUNDS; n++) await round(id, n, () => proxy.cut(when, carriesTransitions));
    proxy.heal();
    await finish(id, ROUNDS);
    expect(proxy.cuts.length).toBe(before + ROUNDS);
    const unknown = world.log.filter(({ msg }) => msg === 'commit: outcome known').slice(-ROUNDS);
    // The answer that was lost stood for a landed commit, the request that was lost for none.
    if (when === 'after') expect(unknown.every(({ again }) => again === 0)).toBe(true);
    if (when === 'before') expect(unknown.every(({ landed }) => landed === 0)).toBe(true);
  },
);

test.each(['before', 'after'] as const)(
  'every commit of a start, a step, a timer and an end is cut %s',
  async (when) => {
    const id = `w${++made}`;
    proxy.cut(when, carriesTransitions, 8);
    await world.client.start(worker, { id, until: 'committed', timeoutMs: 20_000 });
    for (let n = 0; n < 2; n++) await round(id, n, () => {});
    await finish(id, 2);
    proxy.heal();
  },
);

test.each(['before', 'after'] as const)(
  'the question what became of a commit is cut %s, too',
  async (when) => {
    const id = `w${++made}`;
    await world.client.start(worker, { id, until: 'committed' });
    for (let n = 0; n < 3; n++)
      await round(id, n, () => {
        let left = 3;
        const chosen = (name: string) =>
          left === 3 ? carriesTransitions(name) : name === 'reclaim';
        proxy.cut(when, (name) => chosen(name) && left-- > 0, 3);
      });
    proxy.heal();
    await finish(id, 3);
  },
);

test('commits of many shards at once are cut in turn', async () => {
  const ids = Array.from({ length: 60 }, () => `w${++made}`);
  let n = 0;
  const modes: Cut[] = ['after', 'before', 'during'];
  proxy.cut('after', (name) => carriesTransitions(name) && n++ % 5 === 0, 12);
  const turn = setInterval(() => {
    const when = modes[n % modes.length] as Cut;
    proxy.cut(when, (name) => carriesTransitions(name) && n++ % 5 === 0, 12);
  }, 100);
  try {
    await Promise.all(
      ids.map(async (id) => {
        await world.client.start(worker, { id, messageId: `s-${id}` });
        await world.client.send(worker, id, { type: 'DO', n: 0 }, { messageId: `d-${id}` });
        await world.client.waitFor(worker, id, (snapshot) => snapshot.context.got.length > 0, {
          timeoutMs: 25_000,
        });
      }),
    );
  } finally {
    clearInterval(turn);
    proxy.heal();
  }
  for (const id of ids) await finish(id, 1);
});

test('every line is cut at once, again and again', async () => {
  const id = `w${++made}`;
  await world.client.start(worker, { id, until: 'committed' });
  for (let n = 0; n < 3; n++) await round(id, n, () => proxy.cutAll());
  await finish(id, 3);
});

test('the history is sound, and the node has never mistaken one outcome for another', async () => {
  const capture = (run: () => unknown) => {
    sink = [];
    try {
      run();
      return sink;
    } finally {
      sink = journal;
    }
  };
  const options = { types: [worker, tally], capture, quiescent: true };
  await eventually(
    async () => (await world.check({ ...options, journal: structuredClone(journal) })).length === 0,
    { what: 'a sound history' },
  );
  const outcomes = await readOutcomes(world);
  expect(await world.check({ ...options, journal: structuredClone(journal), outcomes })).toEqual(
    [],
  );
  expect(world.log.filter(({ msg }) => /pump failed|refused by Postgres/.test(msg))).toEqual([]);
});
