import { createHash } from 'node:crypto';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Clock, systemClock } from '../../src/clock.ts';
import { namespace, resolveLimits } from '../../src/config.ts';
import { createLogger } from '../../src/log.ts';
import { openSession } from '../../src/store/connection.ts';
import { migrate } from '../../src/store/migrate.ts';
import { openReadStore, openStore, type StoreOptions } from '../../src/store/postgres.ts';
import type { OpenedShard } from '../../src/store/sharing.ts';
import { StoreUnknown } from '../../src/store/store.ts';
import type { Transaction } from '../../src/store/userTransaction.ts';
import { startCutProxy } from '../support/cutProxy.ts';
import { eventually, freshDatabase, startOwnServices } from '../support/services.ts';
import { actor, address, message, nodeInfo, part, timer, transition } from './storeFixtures.ts';
import { startProxy } from './storeProxy.ts';

const log = createLogger({ level: 'silent' });
const SHARDS = 4;
const KILLS = 40;

let database: Awaited<ReturnType<typeof freshDatabase>>;
let admin: pg.Client;
const closers: (() => unknown)[] = [];
let namespaces = 0;

beforeAll(async () => {
  database = await freshDatabase();
  admin = new pg.Client({ connectionString: database.url });
  await admin.connect();
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
afterAll(async () => {
  await admin.end();
  await database.drop();
});

/** A node that owns every shard of a new namespace. */
async function setup(more: Partial<StoreOptions> = {}) {
  const space = namespace(`p${++namespaces}`);
  await migrate({ client: admin, namespace: space, shards: SHARDS });
  const open = async (overrides: Partial<StoreOptions> = {}) => {
    const databaseUrl = database.url;
    const options = { databaseUrl, namespace: space, shards: SHARDS, log, ...more, ...overrides };
    const store = await openStore(options);
    closers.push(() => store.close());
    const nodeId = crypto.randomUUID();
    await store.register(nodeInfo(nodeId), options.limits?.leaseMs ?? 60_000);
    return { store, nodeId };
  };
  const first = await open();
  const shards = await first.store.claim(first.nodeId, SHARDS);
  return { ...first, space, shards, open };
}

/** Kills the sessions of a namespace's nodes, `which` of them if that is given. */
const terminate = (space: { name: string }, which = 'true') =>
  admin.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND ${which}`,
    [`perdure node ${space.name}`],
  );

describe('unknown outcomes', () => {
  test('connections killed during commits leave one dense history, resolved by reclaim', async () => {
    const { store, nodeId, shards, space } = await setup();
    let shard = shards[0] as OpenedShard;
    let unknown = 0;
    let landed = 0;
    let seq = 1;
    let killing = true;
    const killer = (async () => {
      for (let kill = 0; kill < KILLS; kill++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        await terminate(space);
      }
    })().finally(() => {
      killing = false;
    });
    while (killing) {
      const write = part(shard, { transitions: [transition('a', seq)], cursor: seq });
      try {
        const { committed } = await store.commit(nodeId, [write]);
        expect(committed).toEqual(new Set([0]));
        shard = { ...shard, commitNo: write.commitNo };
        seq++;
      } catch (error) {
        expect(error).toBeInstanceOf(StoreUnknown);
        unknown++;
        const [again] = await store.reclaim(nodeId, [shard]);
        expect(again).toBeDefined();
        shard = again as OpenedShard;
        if (shard.commitNo !== write.commitNo) continue;
        landed++;
        seq++;
      }
    }
    await killer;
    const history = await store.transitions(address('a'), 1, 100_000);
    expect(history.map((row) => row.seq)).toEqual(Array.from({ length: seq - 1 }, (_, i) => i + 1));
    expect(unknown).toBeGreaterThan(0);
    expect(landed).toBeLessThanOrEqual(unknown);
  });

  test('reclaim waits behind the commit in flight and says that it landed (S3)', async () => {
    const proxy = await startProxy(database.url);
    closers.push(() => proxy.close());
    const { store, nodeId, shards, space } = await setup({ databaseUrl: proxy.url });
    const unlock = await lockShard(space.schema, 1);
    const commit = store.commit(nodeId, [
      part(shards[1] as OpenedShard, { transitions: [transition('a', 1)] }),
    ]);
    await waiting(1);
    // The server goes on with the statement; only the answer has nowhere to go.
    proxy.cut();
    await expect(commit).rejects.toBeInstanceOf(StoreUnknown);
    const reclaim = store.reclaim(nodeId, [shards[1] as OpenedShard]);
    await waiting(2);
    await unlock();
    expect(await reclaim).toMatchObject([{ shard: 1, epoch: 2, commitNo: 1 }]);
    expect(await store.transitions(address('a'), 1, 10)).toHaveLength(1);
  });

  test('a claim whose answer was lost is answered by the next attempt, and no shard is forgotten', async () => {
    const proxy = await startProxy(database.url);
    closers.push(() => proxy.close());
    const { store, nodeId, shards, space } = await setup({ databaseUrl: proxy.url });
    await store.release(nodeId, shards);
    const unlock = await lockShard(space.schema, 2);
    const claim = store.claim(nodeId, SHARDS);
    await waiting(1);
    proxy.cut();
    await waiting(2);
    await unlock();
    const opened = await claim;
    expect(opened.map(({ shard }) => shard)).toEqual([0, 1, 2, 3]);
    const { committed } = await store.commit(
      nodeId,
      opened.map((shard) => part(shard)),
    );
    expect(committed.size).toBe(SHARDS);
    expect(await store.claim(nodeId, SHARDS)).toEqual([]);
  });

  test('a claim that was sent before an outage for all takes nothing from owners that are on their way back', async () => {
    const { store, nodeId, shards, space, open } = await setup();
    const other = await open();
    await store.release(nodeId, [shards[2] as OpenedShard]);
    const unlock = await lockShard(space.schema, 2);
    const claim = other.store.claim(other.nodeId, SHARDS);
    await waiting(1);
    store.destroy();
    await terminate(space);
    await unlock();
    expect(await claim).toMatchObject([{ shard: 2, previousOwner: null }]);
  });

  test('a node that is only just taking its session lock again takes nothing from others either', async () => {
    const { store, space, open } = await setup();
    const other = await open();
    await admin.query('BEGIN');
    await admin.query(`SELECT FROM ${space.schema}.node WHERE node_id = $1 FOR UPDATE`, [
      other.nodeId,
    ]);
    store.destroy();
    await terminate(space);
    // Its new session stands before its row.
    await waiting(1);
    expect(await other.store.claim(other.nodeId, SHARDS)).toEqual([]);
    await admin.query('COMMIT');
  });

  test('a node whose own lease was over takes nothing from others for a whole lease, though no connection was lost', async () => {
    const limits = resolveLimits({ leaseMs: 600, leaseRenewMs: 200 });
    const { store, nodeId, space, open } = await setup({ limits });
    const other = await open();
    const renew = () => other.store.renew(other.nodeId, 600, true);
    await eventually(
      async () => {
        const last = await admin.query(`SELECT FROM ${space.schema}.node WHERE expires_at > now()`);
        return last.rows.length === 0;
      },
      { what: 'the lease of the owner is over, and so is ours' },
    );
    expect((await other.store.standing(other.nodeId)).dead).toContain(nodeId);
    // As long as nobody has written that we are there, the others may not have had the chance to write it either.
    expect(await other.store.claim(other.nodeId, SHARDS)).toEqual([]);
    await renew();
    const from = performance.now();
    expect(await other.store.claim(other.nodeId, SHARDS)).toEqual([]);
    await store.renew(nodeId, 60_000, true);
    await eventually(async () => (await renew()) && performance.now() - from > 700, {
      what: 'ours has stood for a whole one',
    });
    expect(await other.store.claim(other.nodeId, SHARDS)).toEqual([]);
    store.destroy();
    const taken = await eventually(
      async () => {
        await renew();
        const got = await other.store.claim(other.nodeId, SHARDS);
        return got.length > 0 ? got : undefined;
      },
      { what: 'the shards of one that is gone are taken' },
    );
    expect(taken).toHaveLength(SHARDS);
  });

  test('a shard that was lost, and is ours again by a record from before, can be claimed', async () => {
    const { store, nodeId, shards, space, open } = await setup();
    const other = await open();
    const give = (owner: string, epoch: number) =>
      admin.query(`UPDATE ${space.schema}.shard SET owner = $1, epoch = $2 WHERE shard = 2`, [
        owner,
        epoch,
      ]);
    await give(other.nodeId, 7);
    expect((await store.standing(nodeId)).owned).toHaveLength(SHARDS - 1);
    await give(nodeId, (shards[2] as OpenedShard).epoch);
    expect(await store.claim(nodeId, SHARDS)).toMatchObject([{ shard: 2 }]);
  });

  test('a server that stops answering is given up after the deadline', async () => {
    const proxy = await startProxy(database.url);
    closers.push(() => proxy.close());
    let factor = 1;
    const clock: Clock = {
      ...systemClock,
      after: (delayMs, run) => systemClock.after(delayMs / factor, run),
    };
    const { store, nodeId, shards } = await setup({ databaseUrl: proxy.url, clock });
    // Deadlines pass ten times as fast.
    factor = 10;
    proxy.freeze(true);
    const from = performance.now();
    await expect(store.commit(nodeId, [part(shards[0] as OpenedShard)])).rejects.toBeInstanceOf(
      StoreUnknown,
    );
    expect(performance.now() - from).toBeGreaterThan(500);
    // By the true clock it is six seconds.
    expect(performance.now() - from).toBeLessThan(5_500);
    factor = 1;
    proxy.freeze(false);
    const [again] = await store.reclaim(nodeId, [shards[0] as OpenedShard]);
    expect((await store.commit(nodeId, [part(again as OpenedShard)])).committed.size).toBe(1);
  });

  /** Holds a shard's row in a transaction of our own; the function returned lets it go. */
  async function lockShard(schema: string, shard: number) {
    await admin.query('BEGIN');
    await admin.query(`SELECT FROM ${schema}.shard WHERE shard = $1 FOR UPDATE`, [shard]);
    return () => admin.query('COMMIT');
  }

  const waiting = (statements: number) =>
    eventually(
      async () => {
        // What is going on would be looked at once in a transaction.
        await admin.query('SELECT pg_stat_clear_snapshot()');
        const { rows } = await admin.query<{ count: string }>(
          `SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE NOT granted AND datname = current_database()`,
        );
        return Number(rows[0]?.count) >= statements;
      },
      { what: `${statements} statements wait for the row` },
    );
});

describe('sessions', () => {
  test('the session lock comes back with its connection', async () => {
    const { store, nodeId, space } = await setup();
    const reads = await openReadStore({ databaseUrl: database.url, namespace: space, log });
    closers.push(() => reads.close());
    await terminate(space);
    await eventually(async () => (await reads.nodes())[0]?.live, {
      what: 'the node is live again',
    });
    expect(await store.renew(nodeId, 60_000, true)).toBe(true);
    expect((await reads.nodes())[0]?.live).toBe(true);
  });

  test('whoever comes back from an outage takes nothing from others for a whole lease', async () => {
    const limits = resolveLimits({ leaseMs: 1_500, leaseRenewMs: 500 });
    const { store, nodeId, space, open } = await setup({ limits });
    const other = await open();
    const { rows } = await admin.query<{ pid: number }>(
      `SELECT pid FROM pg_locks WHERE locktype = 'advisory'
          AND classid = '${space.schema}.node'::regclass::oid
          AND objid::int4 = (SELECT lock_id FROM ${space.schema}.node WHERE node_id = $1)`,
      [other.nodeId],
    );
    await admin.query('SELECT pg_terminate_backend($1)', [rows[0]?.pid]);
    await other.store.renew(other.nodeId, 1_500, true);
    store.destroy();
    await eventually(async () => (await other.store.standing(other.nodeId)).sharing === 1, {
      what: 'one node left',
    });
    expect(await other.store.claim(other.nodeId, SHARDS)).toEqual([]);
    const from = performance.now();
    const taken = await eventually(
      async () => {
        await other.store.renew(other.nodeId, 1_500, true);
        const got = await other.store.claim(other.nodeId, SHARDS);
        return got.length > 0 ? got : undefined;
      },
      { what: 'the shards are taken' },
    );
    expect(performance.now() - from).toBeGreaterThan(500);
    expect(taken[0]?.previousOwner).toBe(nodeId);
  });

  test('commits wait for the disk even where the database says otherwise', async () => {
    const name = new URL(database.url).pathname.slice(1);
    await admin.query(`ALTER DATABASE ${name} SET synchronous_commit = off`);
    closers.push(() => admin.query(`ALTER DATABASE ${name} RESET synchronous_commit`));
    const session = await openSession({
      databaseUrl: database.url,
      schema: 'perdure',
      applicationName: 'test',
      clock: systemClock,
      log,
    });
    closers.push(() => session.destroy());
    const { rows } = await session.client.query('SHOW synchronous_commit');
    expect(rows).toEqual([{ synchronous_commit: 'on' }]);
  });

  test('a closed store rejects what comes after', async () => {
    const { store } = await setup();
    await store.close();
    await expect(store.load([address('a')], 1)).rejects.toMatchObject({
      code: 'store_unavailable',
    });
  });
});

describe('outage', () => {
  test('a question is given up after a while when Postgres is away', async () => {
    const proxy = await startProxy(database.url);
    closers.push(() => proxy.close());
    const { space } = await setup();
    let factor = 1;
    const clock: Clock = {
      ...systemClock,
      monotonic: () => systemClock.monotonic() * factor,
      after: (delayMs, run) => systemClock.after(delayMs / factor, run),
    };
    const reads = await openReadStore({ databaseUrl: proxy.url, namespace: space, log, clock });
    closers.push(() => reads.close());
    expect(await reads.counts()).toEqual([]);
    // Ten seconds pass in one.
    factor = 10;
    proxy.close();
    await expect(reads.counts()).rejects.toMatchObject({ code: 'store_unavailable' });
  });

  test('a restarted Postgres is in use again within seconds, and what waited is answered', async () => {
    const services = await startOwnServices();
    closers.push(() => services.stop());
    const databaseUrl = services.postgres.url;
    const space = namespace();
    await migrate({ databaseUrl, namespace: space, shards: SHARDS, log });
    const store = await openStore({ databaseUrl, namespace: space, shards: SHARDS, log });
    closers.push(() => store.close());
    await store.register(nodeInfo('n'), 60_000);
    const [shard] = await store.claim('n', 1);
    await store.commit('n', [part(shard as OpenedShard, { actors: [actor('a', 1)] })]);
    await services.postgres.stop('SIGKILL');
    await eventually(() => store.health().state !== 'closed', { what: 'the store knows' });
    // The other connections hear of it one by one; what is sent on one that has not is unknown, rightly.
    // In short waits: after a long one during which this process stood still, none of it would have been read.
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setTimeout(resolve, 30));
    const loading = store.load([address('a')], 1);
    // Nothing is sent while there is no connection, so this outcome is not unknown: it waits as well.
    const committing = store.commit('n', [
      part({ ...(shard as OpenedShard), commitNo: 1 }, { cursor: 5 }),
    ]);
    const told: string[] = [];
    const opening = openStore({
      databaseUrl,
      namespace: space,
      shards: SHARDS,
      log,
      onWaiting: (reason) => told.push(reason),
    });
    await eventually(() => told.length > 0, { what: 'the wait is reported' });
    expect(told[0]).toContain('127.0.0.1');
    expect(told[0]).not.toContain(new URL(databaseUrl).password);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    await services.postgres.start();
    const from = performance.now();
    expect(await loading).toHaveLength(1);
    expect((await committing).committed).toEqual(new Set([0]));
    expect(performance.now() - from).toBeLessThan(5_000);
    const late = await opening;
    await late.close();
  }, 60_000);
});

describe('schema', () => {
  const options = () => ({ databaseUrl: database.url, log, shards: SHARDS });

  test('many migrate at once; each file is applied once', async () => {
    const space = namespace('together');
    const results = await Promise.all(
      Array.from({ length: 6 }, () => migrate({ ...options(), namespace: space })),
    );
    const files = [
      '0001_initial.sql',
      '0002_cluster.sql',
      '0003_versions.sql',
      '0004_parked.sql',
      '0005_families.sql',
      '0006_machines.sql',
      '0007_held_since.sql',
      '0008_outcomes.sql',
      '0009_snapshot_once.sql',
      '0010_paused.sql',
      '0011_searchable.sql',
      '0012_history_vacuum.sql',
      '0013_failed_attempts.sql',
      '0014_refused_commits.sql',
      '0015_lagging_rows.sql',
      '0016_timers_named.sql',
    ];
    expect(results.flatMap(({ applied }) => applied).toSorted()).toEqual(files);
    expect(results.map(({ version }) => version)).toEqual(Array(6).fill(files.length));
  });

  test('two namespaces live beside each other in one database', async () => {
    const [a, b] = [await setup(), await setup()];
    await a.store.commit(a.nodeId, [part(a.shards[0] as OpenedShard, { actors: [actor('a', 1)] })]);
    expect(await b.store.load([address('a')], 1)).toEqual([]);
    expect((await b.store.standing(b.nodeId)).sharing).toBe(1);
  });

  test('no schema, an older code, another number of shards: the node refuses to start', async () => {
    const space = namespace('refused');
    const open = () => openStore({ ...options(), namespace: space });
    await expect(open()).rejects.toMatchObject({ code: 'schema_missing' });
    await migrate({ ...options(), namespace: space });
    const differ = { code: 'shards_differ' };
    await expect(openStore({ ...options(), shards: 5, namespace: space })).rejects.toMatchObject(
      differ,
    );
    await expect(migrate({ ...options(), shards: 5, namespace: space })).rejects.toMatchObject(
      differ,
    );
    await admin.query(
      `INSERT INTO ${space.schema}.migration (version, name) VALUES (1000, '1000_tomorrow.sql')`,
    );
    await expect(open()).rejects.toMatchObject({ code: 'schema_newer' });
    await expect(migrate({ ...options(), namespace: space })).rejects.toMatchObject({
      code: 'schema_newer',
    });
  });

  test('wrong password, user or database: refused at once, without the password in the message', async () => {
    const changes: ((url: URL) => void)[] = [
      (url) => (url.password = 'not-the-password'),
      (url) => (url.username = 'nobody_known'),
      (url) => (url.pathname = '/no_such_database'),
    ];
    for (const change of changes) {
      const url = new URL(database.url);
      change(url);
      const opening = openStore({ ...options(), databaseUrl: url.href, namespace: namespace() });
      const error = await opening.catch((thrown) => thrown);
      expect(error).toMatchObject({ code: 'wrong_credentials' });
      expect(error.message).not.toContain(url.password);
    }
  });

  test('the views have exactly the documented columns', async () => {
    const { space } = await setup();
    const { rows } = await admin.query<{ table_name: string; columns: string }>(
      `SELECT table_name, string_agg(column_name, ' ' ORDER BY ordinal_position) AS columns
         FROM information_schema.columns JOIN information_schema.views USING (table_schema, table_name)
        WHERE table_schema = $1 GROUP BY table_name ORDER BY table_name`,
      [space.schema],
    );
    expect(Object.fromEntries(rows.map((row) => [row.table_name, row.columns]))).toEqual({
      actors:
        'type id status state version seq shard epoch tags output error created_at updated_at parent path paused_at',
      // Not for others.
      current_actor:
        'type id path version shard busy status tags output error retries created_at crashes on_trial quarantined_at paused_at seq epoch acted_seq state updated_at',
      dead_letters:
        'dead_letter_id reason detail subject headers message_id bytes body log_id log_seq shard at redriven_at',
      failed_attempts: 'type id invoke_id started_seq attempt at ran_ms error node_id',
      machines: 'type version definition recorded_at',
      nodes:
        'node_id name host pid version started_at expires_at live shards draining nats_ok refused_commits',
      opens: 'node_id name type version as',
      parked: 'type version actors waiting nodes opened_by messages since',
      parked_messages:
        'type id version subject headers message_id bytes body log_id log_seq shard parked_at',
      quarantined: 'type id state version seq shard crashes quarantined_at',
      searchable_fields: 'type id field value',
      shards:
        'shard owner epoch cursor commit_no opened_at owned_since crashes suspect_seq needs needs_at',
      timers: 'type id timer_id shard fire_at armed_seq event',
      transitions: 'type id seq epoch node_id event_type event event_id from_state to_state at',
      versions: 'type version actors waiting nodes opened_by',
    });
  });

  test('the views read JSON that holds an escaped NUL', async () => {
    const { store, nodeId, shards, space } = await setup();
    const output = JSON.stringify({ text: 'a\u0000b' });
    await store.commit(nodeId, [
      part(shards[0] as OpenedShard, {
        actors: [actor('a', 1, { output, tags: '["x","y"]', status: 'done' })],
        transitions: [transition('a', 1, { event: output })],
      }),
    ]);
    const { rows } = await admin.query(
      `SELECT a.output::text, a.tags, a.state->>0 AS none, t.event::text
         FROM ${space.schema}.actors a JOIN ${space.schema}.transitions t USING (type, id)`,
    );
    expect(rows).toEqual([{ output, tags: ['x', 'y'], none: null, event: output }]);
  });
});

test('plans made on empty tables still go by index when the tables have grown', async () => {
  const { store, nodeId, shards, space } = await setup();
  const size = 2_000;
  let commitNo = 0;
  const [shard] = shards;
  const round = async (from: number) => {
    const ids = Array.from({ length: size }, (_, i) => `actor-${from + i}`);
    await store.commit(nodeId, [
      part(
        { ...(shard as OpenedShard), commitNo: commitNo++ },
        {
          actors: ids.map((id) => actor(id, 1, { stored: false })),
          transitions: ids.map((id) => transition(id, 1, { eventId: 'e' })),
          timersArmed: ids.map((id) => timer(id, 't')),
          outboxAdded: ids.map((id) => message(`m-${id}`)),
        },
      ),
    ]);
  };
  const probe = async (n: number) => {
    const id = `actor-${n}`;
    await store.commit(nodeId, [
      part(
        { ...(shard as OpenedShard), commitNo: commitNo++ },
        {
          actors: [actor(id, 2, { stored: true })],
          transitions: [transition(id, 2)],
          timersDropped: [{ ...address(id), timerId: 't' }],
          outboxDone: [`m-${id}`],
        },
      ),
    ]);
    await store.load([address(id)], 10);
    await store.knownEvents([{ ...address(id), eventId: 'e' }]);
    await store.transitions(address(id), 1, 10);
    await store.recover([1, 2], 1_000);
    await store.nearTimers([1], 1_000);
    await store.staleOutbox([1], 1_000, 9);
  };
  const scans = async () => {
    // Counters of a session are published at most every second.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    const { rows } = await admin.query<{ scanned: number; fetched: number }>(
      `SELECT sum(seq_tup_read)::float8 AS scanned, sum(idx_tup_fetch)::float8 AS fetched
         FROM pg_stat_user_tables
        WHERE schemaname = $1 AND relname IN ('actor', 'transition', 'timer', 'outbox')`,
      [space.schema],
    );
    return rows[0] as { scanned: number; fetched: number };
  };
  for (let i = 1; i <= 10; i++) {
    const actors = [actor(`actor-${-i}`, 1, { stored: false })];
    await store.commit(nodeId, [
      part({ ...(shard as OpenedShard), commitNo: commitNo++ }, { actors }),
    ]);
    await probe(-i);
  }
  for (let n = 0; n < 10; n++) await round(n * size);
  const before = await scans();
  for (let i = 0; i < 20; i++) await probe(i * 997);
  const after = await scans();
  expect(after.scanned).toBe(0);
  // A handful for each statement; walking a whole index would be thousands.
  expect(after.fetched - before.fetched).toBeLessThan(20 * 30);
}, 60_000);

describe('transactions of the user', () => {
  const { signal } = new AbortController();
  const last = async (tx: Transaction, sql: string) =>
    Object.values((await tx.query(sql)).rows[0] ?? {})[0];

  test('statements find what the database says, not what is ours, and leave nothing for the next', async () => {
    const { store, nodeId, shards } = await setup({
      limits: resolveLimits({ transactionsMax: 1 }),
    });
    const first = await store.begin(signal);
    expect(await last(first.tx, 'SHOW search_path')).toBe('"$user", public');
    expect(await last(first.tx, 'SELECT 1::int8')).toBe('1');
    for (const sql of [
      `SET search_path = elsewhere`,
      `SET statement_timeout = 0`,
      `SET synchronous_commit = off`,
      `PREPARE commit_1 AS SELECT 1`,
      `CREATE TEMP TABLE shard (shard int)`,
    ])
      await first.tx.query(sql);
    const pid = await last(first.tx, 'SELECT pg_backend_pid()');
    await first.close();
    expect((await first.commit(nodeId, part(shards[0] as OpenedShard))).committed).toEqual(
      new Set([0]),
    );
    const second = await store.begin(signal);
    expect(await last(second.tx, 'SELECT pg_backend_pid()')).toBe(pid);
    expect(await last(second.tx, 'SHOW search_path')).toBe('"$user", public');
    expect(await last(second.tx, 'SHOW statement_timeout')).toBe('5s');
    expect(await last(second.tx, 'SHOW synchronous_commit')).toBe('on');
    second.abandon();
  });

  test('bug: bytes that were changed behind a statement were sent as they were then', async () => {
    const { store } = await setup();
    const transaction = await store.begin(signal);
    // More than a socket takes at once.
    const bytes = Buffer.alloc(32 * 2 ** 20, 'A');
    const told = transaction.tx.query('SELECT md5($1::bytea) AS md5', [bytes]);
    bytes.fill('B');
    const ofA = createHash('md5').update(Buffer.alloc(bytes.length, 'A')).digest('hex');
    expect((await told).rows).toEqual([{ md5: ofA }]);
    transaction.abandon();
  });

  test('whoever comes when all sessions are taken waits, in order, or gives up', async () => {
    const { store } = await setup({ limits: resolveLimits({ transactionsMax: 2 }) });
    const open = [await store.begin(signal), await store.begin(signal)];
    const stop = new AbortController();
    const gone = store.begin(stop.signal);
    const third = store.begin(signal);
    const fourth = store.begin(signal);
    expect(store.waiting().transactions).toBe(3);
    stop.abort(new Error('given up'));
    await expect(gone).rejects.toThrow('given up');
    open[0]?.abandon();
    const got = await third;
    expect(store.waiting().transactions).toBe(1);
    got.abandon();
    open[1]?.abandon();
    (await fourth).abandon();
  });

  test.each([
    'COMMIT',
    ' -- a comment\n /* and /* another */ */ ; commit and chain',
    'END',
    'rollback',
    'ABORT',
    'BEGIN',
    'START  TRANSACTION',
    `PREPARE TRANSACTION 'x'`,
  ])('%s is refused', async (sql) => {
    const { store } = await setup();
    const transaction = await store.begin(signal);
    await expect(transaction.tx.query(sql)).rejects.toMatchObject({ code: 'bad_transaction' });
    transaction.abandon();
  });

  test('a savepoint is not the end, and two statements are not one', async () => {
    const { store, nodeId, shards } = await setup();
    const transaction = await store.begin(signal);
    const { tx } = transaction;
    await tx.query('SAVEPOINT one');
    await expect(tx.query('SELECT 1 / 0')).rejects.toMatchObject({ code: '22012' });
    await tx.query('ROLLBACK TO one');
    await tx.query('ROLLBACK WORK TO SAVEPOINT one');
    await tx.query('RELEASE one');
    await tx.query('SAVEPOINT two');
    await expect(tx.query('SELECT 1; COMMIT')).rejects.toMatchObject({ code: '42601' });
    await tx.query('ROLLBACK TO two');
    await expect(tx.query('DO $$ BEGIN COMMIT; END $$')).rejects.toMatchObject({ code: '2D000' });
    await tx.query('ROLLBACK TO two');
    await transaction.close();
    const { committed } = await transaction.commit(nodeId, part(shards[0] as OpenedShard));
    expect(committed).toEqual(new Set([0]));
  });

  test('one that was made read-only cannot be committed', async () => {
    const { store } = await setup();
    const transaction = await store.begin(signal);
    await transaction.tx.query('SET TRANSACTION READ ONLY');
    await expect(transaction.close()).rejects.toMatchObject({ code: 'bad_transaction' });
    transaction.abandon();
  });

  test('a session whose server ends it is replaced, and says that it may run again', async () => {
    const { store, space } = await setup();
    const transaction = await store.begin(signal);
    await terminate(space, `state = 'idle in transaction'`);
    await expect(transaction.tx.query('SELECT 1')).rejects.toMatchObject({
      code: 'store_unavailable',
    });
    expect(transaction.mayRunAgain).toBe(true);
    transaction.abandon();
    const next = await store.begin(signal);
    expect(await last(next.tx, 'SELECT 1')).toBe(1);
    next.abandon();
  });

  test('a node that stops between the last statement and COMMIT holds nobody up for long, and undoes it', async () => {
    const proxy = await startCutProxy(database.url);
    closers.push(() => proxy.close());
    const { store, nodeId, shards, space, open } = await setup({ databaseUrl: proxy.url });
    const shard = shards[0] as OpenedShard;
    const other = await open({ databaseUrl: database.url });
    const transaction = await store.begin(signal);
    await transaction.tx.query('CREATE TABLE of_a_node_that_stops (n int)');
    await transaction.close();
    const stopped = new Promise<void>((stop) =>
      proxy.cut('stall', (name) => name === 'COMMIT', 1, stop),
    );
    const commit = transaction.commit(
      nodeId,
      part(shard, { actors: [actor('a', 1)], transitions: [transition('a', 1)] }),
    );
    const failed = commit.catch((error: unknown) => error);
    await stopped;
    // The lock on the shard's row is held until Postgres gives up on it.
    await eventually(
      async () => {
        const { rows } = await admin.query(
          `SELECT FROM pg_stat_activity WHERE application_name = $1 AND state = 'idle in transaction'`,
          [`perdure node ${space.name}`],
        );
        return rows.length === 1;
      },
      { what: 'the statement has been executed' },
    );
    const from = performance.now();
    expect(await other.store.reclaim(nodeId, [shard])).toMatchObject([{ commitNo: 0, epoch: 2 }]);
    expect(performance.now() - from).toBeLessThan(15_000);
    expect(await failed).toBeInstanceOf(StoreUnknown);
    const { rows } = await admin.query(`SELECT to_regclass('of_a_node_that_stops') AS made`);
    expect(rows).toEqual([{ made: null }]);
    expect(await other.store.load([address('a')], 1)).toEqual([]);
  });

  test('what is under way when it is abandoned is cut off', async () => {
    const { store } = await setup();
    const transaction = await store.begin(signal);
    const sleeping = transaction.tx.query('SELECT pg_sleep(4)');
    transaction.abandon();
    await expect(sleeping).rejects.toMatchObject({ code: 'store_unavailable' });
  });
});
