import { afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { shardOf } from '../../src/bus/subjects.ts';
import { SHARDS } from '../../src/config.ts';
import type { PerdureError, PerdureNode } from '../../src/index.ts';
import {
  type Also,
  held,
  ledger,
  TABLES,
  type TransferInput,
  transfer,
} from '../support/actorsTransaction.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import { type Cut, startCutProxy } from '../support/cutProxy.ts';
import { eventually } from '../support/services.ts';

// Transactions of a node that lives: what its function does wrong, lines that break, others who want the shard or the rows.

const world = useWorld();
beforeAll(async () => {
  await world.sql.query(`SET search_path = public`);
  for (const statement of TABLES.split(';')) await world.sql.query(statement);
  await world.sql.query(`SET search_path = perdure_${world.namespace}, pg_temp`);
});
beforeEach(() => printLogOnFailure(world));
let node: PerdureNode;
afterEach(() => node.stop());

const begin = async (limits = {}, databaseUrl = world.databaseUrl) => {
  node = await world.node([transfer], limits, { databaseUrl });
};
const start = (id: string, input: Partial<TransferInput> = {}) =>
  world.client.start(transfer, { id, input: { from: 1, to: 2, amount: 1, ...input } });
const outcome = (id: string) => world.client.outcome(transfer, id, { timeoutMs: 20_000 });
const runsOf = (id: string) => held.runs.get(`transfer/${id}`) ?? 0;
const MADE = { status: 'done', output: { error: null } };

/** Transfers that wait go on when the returned function is called, or the test is over. */
function hold(): () => void {
  let open = () => {};
  held.gate = new Promise((resolve) => {
    open = resolve;
  });
  onTestFinished(open);
  return open;
}

/** How many transactions wait for their next statement, the one before being like this. */
async function waiting(statement = '%'): Promise<number> {
  const open = await world.sql.query(
    `SELECT FROM pg_stat_activity
      WHERE datname = current_database() AND state LIKE 'idle in transaction%' AND query LIKE $1`,
    [statement],
  );
  return open.length;
}

/** One has made its movement, holds its rows and goes on when it is let. */
const waitsInside = () =>
  eventually(async () => (await waiting('INSERT INTO movement%')) === 1, { what: 'it waits' });

async function expectMade(id: string, times: 0 | 1): Promise<void> {
  const { made, total } = await ledger(world.sql);
  expect([made[id] ?? 0, total]).toEqual([times, 40_000]);
  const events = (await world.transitions('transfer', id)).map(({ event_type }) => event_type);
  expect(events.filter((type) => type === 'xstate.done.actor.move')).toHaveLength(times);
}

describe('what is wrong with a function undoes what it did', () => {
  beforeEach(() => begin());

  test.each([
    ['fail', /^none: changed its mind$/],
    ['defer', /^23503: .*violates foreign key constraint/],
    ['commit', /^bad_transaction: .* COMMIT is not for its statements to say/],
    ['swallow', /^bad_transaction: .* failed and the function went on/],
  ] as [Also, RegExp][])('%s', async (also, error) => {
    await start(`${also}`, { also });
    expect(await outcome(`${also}`)).toMatchObject({
      output: { error: expect.stringMatching(error) },
    });
    await expectMade(`${also}`, 0);
  });

  test('a pause that is too long', async () => {
    const open = hold();
    await start('idle', { also: 'idle' });
    await eventually(async () => runsOf('idle idle') === 1 && (await waiting()) === 0, {
      what: 'Postgres has ended it',
    });
    open();
    expect(await outcome('idle')).toMatchObject({
      output: { error: expect.stringMatching(/^bad_transaction: .* Nothing was asked of it/) },
    });
    await expectMade('idle', 0);
  });

  test('a statement that is refused', async () => {
    await start('poor', { amount: 100_000 });
    expect(await outcome('poor')).toMatchObject({
      output: { error: expect.stringMatching(/^23514: .*account_balance_check/) },
    });
    await expectMade('poor', 0);
  });

  test('a statement after its end finds it closed, and harms nobody', async () => {
    const open = hold();
    await start('late', { also: 'late' });
    expect(await outcome('late')).toMatchObject(MADE);
    open();
    await start('after-late');
    expect(await outcome('after-late')).toMatchObject(MADE);
  });
});

test('a result the machine breaks at is recorded, and so is what was done for it', async () => {
  await begin();
  await start('break', { also: 'break' });
  expect(await outcome('break')).toMatchObject({ status: 'error' });
  await expectMade('break', 1);
});

test('when the state is left it is undone, and its rows are free', async () => {
  await begin();
  hold();
  await start('leaves', { also: 'wait' });
  await waitsInside();
  await world.client.send(transfer, 'leaves', { type: 'LEAVE' });
  expect(await outcome('leaves')).toMatchObject({ output: { left: null, error: null } });
  await start('takes-over');
  expect(await outcome('takes-over')).toMatchObject(MADE);
  await expectMade('leaves', 0);
});

test('of two that stand in each other’s way one runs again, and its attempt is not used up', async () => {
  await begin();
  const open = hold();
  await start('east', { from: 3, to: 4, also: 'deadlock' });
  await start('west', { from: 4, to: 3, also: 'deadlock' });
  // That both have begun is not enough: one may be through before the other has its first row.
  await eventually(async () => (await waiting('UPDATE account%')) === 2, {
    what: 'both hold a row',
  });
  open();
  expect(await Promise.all([outcome('east'), outcome('west')])).toMatchObject([MADE, MADE]);
  expect(runsOf('east') + runsOf('west')).toBeGreaterThan(2);
  await expectMade('east', 1);
  await expectMade('west', 1);
});

test('when its session ends under it, it runs again', async () => {
  await begin();
  const open = hold();
  await start('ended', { also: 'wait' });
  const end = () =>
    world.sql.query<{ done: boolean }>(
      `SELECT pg_terminate_backend(pid) AS done FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'idle in transaction' AND query LIKE 'INSERT INTO movement%'`,
    );
  await eventually(async () => (await end()).length === 1, { what: 'its session is ended' });
  open();
  expect(await outcome('ended')).toMatchObject(MADE);
  expect(runsOf('ended')).toBe(2);
  await expectMade('ended', 1);
});

test('a node that is fenced adds nothing', async () => {
  await begin();
  const open = hold();
  await start('fenced', { also: 'wait' });
  await waitsInside();
  // A stranger takes the shard and dies: whoever has it next runs the invoke again. It does so while the node's commit waits
  // for the row, so that the node cannot have seen before that it is the owner no more.
  onTestFinished(async () => void (await world.sql.query('ROLLBACK')));
  await world.sql.query('BEGIN');
  await world.sql.query(
    `UPDATE shard SET epoch = epoch + 1, claimed_epoch = epoch + 1, owner = 'stranger' WHERE shard = $1`,
    [shardOf('transfer', 'fenced', SHARDS)],
  );
  open();
  const blocked = () =>
    world.sql.query(
      'SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))',
    );
  await eventually(async () => (await blocked()).length > 0, { what: 'its commit waits' });
  await world.sql.query('COMMIT');
  expect(await outcome('fenced')).toMatchObject(MADE);
  expect(runsOf('fenced')).toBe(2);
  await expectMade('fenced', 1);
  await eventually(
    async () => {
      const [row] = await world.sql.query<{ refused: number }>(
        'SELECT max(refused_commits)::int AS refused FROM nodes',
      );
      return row?.refused === 1;
    },
    { what: 'the node has told that a commit of its was refused' },
  );
});

test('a node that is stopped gives up what runs; the next one does it', async () => {
  await begin({ drainMs: 50 });
  const open = hold();
  await start('stopped', { also: 'wait' });
  await waitsInside();
  await node.stop();
  await expectMade('stopped', 0);
  open();
  await begin();
  expect(await outcome('stopped')).toMatchObject(MADE);
  expect(runsOf('stopped')).toBe(2);
  await expectMade('stopped', 1);
});

test('a node that is stopped waits for what ends in time', async () => {
  await begin({ drainMs: 5_000 });
  const open = hold();
  await start('ends', { also: 'wait' });
  await waitsInside();
  const stopped = node.stop();
  await eventually(
    async () => {
      const [row] = await world.sql.query<{ n: string }>(
        'SELECT count(*) AS n FROM shard WHERE owner IS NULL',
      );
      return Number(row?.n) === SHARDS - 1;
    },
    { what: 'all other shards are given back' },
  );
  open();
  await stopped;
  expect(runsOf('ends')).toBe(1);
  await expectMade('ends', 1);
});

describe('when the line is cut', () => {
  test.each([
    ['last', 'before'],
    ['last', 'during'],
    ['COMMIT', 'before'],
    ['COMMIT', 'during'],
    ['COMMIT', 'after'],
  ] as [string, Cut][])('at %s, %s: the transfer is made once', async (what, when) => {
    const id = `cut-${what}-${when}`;
    const proxy = await startCutProxy(world.databaseUrl);
    try {
      await begin({}, proxy.url);
      proxy.cut(when, (name) => name === what);
      await start(id);
      expect(await outcome(id)).toMatchObject(MADE);
      expect(proxy.cuts).toEqual([what]);
      await expectMade(id, 1);
      // What had landed did not run again; what had not, had to.
      if (when === 'before') expect(runsOf(id)).toBe(2);
      if (what === 'COMMIT' && when === 'after') expect(runsOf(id)).toBe(1);
      await node.stop();
    } finally {
      await proxy.close();
    }
  });
});

test('many at once, on one shard and on all, among other traffic, with lines that break', async () => {
  const proxy = await startCutProxy(world.databaseUrl);
  try {
    await begin({ transactionsMax: 3 }, proxy.url);
    const neighbours = world.neighbours('transfer', 'many', 12);
    const others = Array.from({ length: 36 }, (_, n) => `other-${n}`);
    const all = [...neighbours, ...others];
    const modes: Cut[] = ['before', 'during', 'after'];
    let n = 0;
    const cutNext = () =>
      proxy.cut(
        modes[n % modes.length] as Cut,
        (name) => (name === 'last' || name === 'COMMIT') && ++n % 7 === 0,
        1,
        () => setImmediate(cutNext),
      );
    cutNext();
    await Promise.all(
      all.map(async (id, at) => {
        const from = 5 + (at % 30);
        await start(id, { from, to: from + 1 });
        // Most come while it runs; one that is late is refused.
        const ping = () =>
          world.client.send(transfer, id, { type: 'PING' }, { until: 'committed' });
        await Promise.all([ping(), ping()]).catch((error: PerdureError) =>
          expect(error.code).toBe('actor_finished'),
        );
        expect(await outcome(id)).toMatchObject(MADE);
      }),
    );
    proxy.heal();
    const { made, total } = await ledger(world.sql);
    expect(total).toBe(40_000);
    expect(all.map((id) => made[id])).toEqual(all.map(() => 1));
    expect(proxy.cuts.length).toBeGreaterThan(3);
    await node.stop();
  } finally {
    await proxy.close();
  }
});

test('the histories are sound, and the node has never mistaken one outcome for another', async () => {
  const surprises = world.log.map(({ reason }) => String(reason));
  expect(surprises.filter((reason) => /put back|refused/.test(reason))).toEqual([]);
  expect(surprises.filter((reason) => /^commit lost/.test(reason)).length).toBeGreaterThan(0);
  expect(await world.check({ types: [transfer] })).toEqual([]);
});
