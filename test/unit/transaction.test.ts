import { expect, test } from 'vitest';
import { assign, createActor, fromPromise, setup, waitFor } from 'xstate';
import { defineActor, fromTransaction } from '../../src/index.ts';
import {
  forEachCrash,
  type TestTransaction,
  testCluster,
  withTransactions,
} from '../../src/testing/index.ts';

// fromTransaction without Postgres: in the test kit, and under a plain createActor.

/** Accounts in memory, and transactions on copies of them. */
function bank() {
  let accounts: Record<string, number> = { a: 100, b: 0 };
  const ends: string[] = [];
  const begin = (): TestTransaction => {
    const copy = { ...accounts };
    return {
      tx: {
        async query(_text, values = []) {
          const [account, by] = values as [string, number];
          copy[account] = (copy[account] ?? 0) + by;
          return { rows: [{ balance: copy[account] }] as never[], rowCount: 1 };
        },
      },
      commit() {
        accounts = copy;
        ends.push('commit');
      },
      rollback: () => void ends.push('rollback'),
    };
  };
  return { begin, ends, accounts: () => accounts };
}

type Input = { amount: number; failures?: number };

let attempts = 0;
let gate = Promise.resolve();

const move = fromTransaction<number, Input>(async ({ tx, input }) => {
  const ADD = 'UPDATE account SET balance = balance + $2 WHERE id = $1 RETURNING balance';
  await tx.query(ADD, ['a', -input.amount]);
  if (attempts++ < (input.failures ?? 0)) throw new Error('not yet');
  await gate;
  const { rows } = await tx.query<{ balance: number }>(ADD, ['b', input.amount]);
  return rows[0]?.balance ?? 0;
});

const machine = setup({
  types: {
    input: {} as Input,
    context: {} as Input & { balance: number | null; error: string },
    events: {} as { type: 'LEAVE' },
    output: {} as number | null,
  },
  actors: { move },
  actions: { print: () => {} },
}).createMachine({
  context: ({ input }) => ({ ...input, balance: null, error: '' }),
  initial: 'moving',
  states: {
    moving: {
      invoke: {
        src: 'move',
        input: ({ context: { amount, failures } }) => ({ amount, failures }) as Input,
        onDone: {
          target: 'resting',
          actions: [assign({ balance: ({ event }) => event.output }), 'print'],
        },
        onError: {
          target: 'failed',
          actions: assign({ error: ({ event }) => (event.error as Error).message }),
        },
      },
      on: { LEAVE: 'left' },
    },
    resting: { after: { 1000: 'moved' } },
    moved: { type: 'final' },
    left: { type: 'final' },
    failed: {},
  },
  output: ({ context }) => context.balance,
});
const transfer = defineActor('transfer', { machine, retry: { move: { attempts: 3 } } });

test('one that is open when its actor is paused is rolled back, and runs again when that is resumed', async () => {
  const { begin, ends, accounts } = bank();
  let open = () => {};
  gate = new Promise((resolve) => {
    open = resolve;
  });
  const cluster = await testCluster({ actors: [transfer], transaction: begin, realWaitMs: 20 });
  const ignored = () => {};
  await cluster.start(transfer, { id: 't', input: { amount: 30 } }).catch(ignored);
  const actor = cluster.actor(transfer, 't');
  await actor.pause().catch(ignored);
  expect(ends).toEqual(['rollback']);
  gate = Promise.resolve();
  open();
  await cluster.advance(60_000);
  expect(actor.state).toBe('moving');
  expect(accounts()).toEqual({ a: 100, b: 0 });
  await actor.resume();
  expect(actor.state).toBe('resting');
  expect(ends).toEqual(['rollback', 'commit']);
  expect(accounts()).toEqual({ a: 70, b: 30 });
  await cluster.stop();
});

test('wherever the node dies, it is moved once, with the transition', async () => {
  const banks: ReturnType<typeof bank>[] = [];
  const transaction = () => (banks.at(-1) as ReturnType<typeof bank>).begin();
  const points = await forEachCrash({ actors: [transfer], transaction }, async (cluster) => {
    const { accounts, ends } = banks[banks.push(bank()) - 1] as ReturnType<typeof bank>;
    const actor = await cluster.start(transfer, { id: 't', input: { amount: 30 } });
    await cluster.advance(1_000);
    expect([actor.status, actor.output]).toEqual(['done', 30]);
    expect(accounts()).toEqual({ a: 70, b: 30 });
    expect(ends.filter((end) => end === 'commit')).toHaveLength(1);
  });
  expect(points.length).toBeGreaterThan(6);
  expect(banks.flatMap(({ ends }) => ends)).toContain('rollback');
});

test('every attempt has one of its own, and only the last is kept', async () => {
  attempts = 0;
  const { begin, accounts, ends } = bank();
  const cluster = await testCluster({ actors: [transfer], transaction: begin });
  const actor = await cluster.start(transfer, { id: 't', input: { amount: 30, failures: 2 } });
  await cluster.advance(60_000);
  expect([actor.status, accounts()]).toEqual(['done', { a: 70, b: 30 }]);
  expect(ends).toEqual(['rollback', 'rollback', 'commit']);
  await cluster.stop();
});

test('several on one shard are committed one after the other, and what comes between waits', async () => {
  const { begin, ends } = bank();
  let open = () => {};
  gate = new Promise((resolve) => {
    open = resolve;
  });
  const cluster = await testCluster({ actors: [transfer], transaction: begin });
  const ids = Array.from({ length: 12 }, (_, n) => `t-${n}`);
  const actors = await Promise.all(
    ids.map((id) => cluster.start(transfer, { id, input: { amount: 1 } })),
  );
  open();
  await Promise.all([
    ...actors.slice(0, 4).map((actor) => actor.send({ type: 'LEAVE' }).catch(() => {})),
    cluster.advance(1_000),
  ]);
  await cluster.advance(1_000);
  const moved = actors.filter(({ output }) => output !== null);
  expect(actors.every(({ status }) => status === 'done')).toBe(true);
  expect(ends.filter((end) => end === 'commit')).toHaveLength(moved.length);
  for (const { history } of actors)
    expect(history.map(({ seq }) => seq)).toEqual(history.map((_, n) => n + 1));
  await cluster.stop();
});

test('who leaves the state takes it back', async () => {
  const { begin, accounts, ends } = bank();
  gate = new Promise(() => {});
  const cluster = await testCluster({ actors: [transfer], transaction: begin });
  const actor = await cluster.start(transfer, { id: 't', input: { amount: 30 } });
  await actor.send({ type: 'LEAVE' });
  expect([actor.state, ends, accounts()]).toEqual(['left', ['rollback'], { a: 100, b: 0 }]);
  gate = Promise.resolve();
  await cluster.stop();
});

test('a commit of the user that throws undoes both, and after five the machine is told', async () => {
  const { begin, accounts } = bank();
  let commits = 0;
  const refuses = () => ({
    ...begin(),
    commit() {
      commits++;
      throw new Error('full');
    },
  });
  const once = defineActor('transfer', { machine });
  const cluster = await testCluster({ actors: [once], transaction: refuses });
  const actor = await cluster.start(once, { id: 't', input: { amount: 30 } });
  await cluster.advance(60_000);
  expect([actor.state, commits]).toEqual(['failed', 5]);
  expect(actor.context.error).toMatch('Postgres has refused to commit it 5 times: full');
  expect(accounts()).toEqual({ a: 100, b: 0 });
  await cluster.stop();
});

test('where there is nothing to run it on, it says what to give', async () => {
  const cluster = await testCluster({ actors: [defineActor('transfer', { machine })] });
  const actor = await cluster.start(transfer, { id: 't', input: { amount: 30 } });
  expect(actor.context.error).toMatch('give testCluster the option transaction');
  await cluster.stop();
  const plain = createActor(machine, { input: { amount: 30 } }).start();
  const { context } = await waitFor(plain, (snapshot) => snapshot.matches('failed'));
  expect(context.error).toMatch('fromTransaction needs a Perdure node');
});

test('under a plain createActor it runs on what it is given', async () => {
  attempts = 0;
  const { begin, accounts, ends } = bank();
  const provided = machine.provide({
    actors: { move: withTransactions(move, begin) },
  });
  const plain = createActor(provided, { input: { amount: 30 } }).start();
  await waitFor(plain, (snapshot) => snapshot.matches('resting'));
  expect(accounts()).toEqual({ a: 70, b: 30 });
  attempts = 0;
  const fails = createActor(provided, { input: { amount: 30, failures: 1 } }).start();
  await waitFor(fails, (snapshot) => snapshot.matches('failed'));
  expect([ends, accounts()]).toEqual([['commit', 'rollback'], { a: 70, b: 30 }]);
  plain.stop();
  expect(() =>
    withTransactions(
      fromPromise(async () => 1),
      begin,
    ),
  ).toThrow('made by fromTransaction');
});
