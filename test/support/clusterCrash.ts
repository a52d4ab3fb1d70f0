import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from '../../src/client.ts';
import { PURSE_START, purse, type TransferInput, transfer } from './actorsCrash.ts';
import { capture } from './actorsJournal.ts';
import {
  Journal,
  type NodeProcess,
  openSql,
  type Place,
  pause,
  prepare,
  randomFrom,
  readOutcomes,
  spawnNode,
  until,
} from './cluster.ts';
import { checkHistory, type HistoryReport, type JournalLine } from './history.ts';

export interface CrashOptions extends Place {
  seed: number;
  jobs: number;
  /** The jobs are published over this time. */
  seconds: number;
  /** Empty; for the journal. */
  dir: string;
  /** Told what happens, as it happens. */
  say?: (line: string) => void;
  /** A node is killed this long after it was ready, sometimes after it was started; a range, ms. */
  killEveryMs?: [number, number];
  /** No more kills than this: a machine on which no life is long enough for anything must get done as well. */
  killsMax?: number;
  /** Environment of the nodes. */
  env?: Record<string, string>;
  /** Everything must be done this long after the last job was published, ms. */
  finishMs?: number;
}

export interface CrashReport {
  violations: string[];
  history: HistoryReport;
  kills: number;
  /** From `kill -9` to the next committed transition, ms, one for each kill. */
  gapsMs: number[];
  /** From the start to the last job's end, ms. */
  tookMs: number;
}

const PURSES = 16;

/** The same seed makes the same jobs at the same times. */
function planCrashLoad(seed: number, jobs: number, seconds: number) {
  const random = randomFrom(seed);
  const whole = (below: number) => Math.floor(random() * below);
  return Array.from({ length: jobs }, (_, n) => {
    const from = whole(PURSES);
    const input: TransferInput = {
      from: `p${from}`,
      to: `p${(from + 1 + whole(PURSES - 1)) % PURSES}`,
      amount: 1 + whole(100),
      chargeMs: whole(60),
      waitMs: 20 + whole(1_200),
      shipMs: whole(60),
      failures: random() < 0.1 ? 1 + whole(2) : 0,
    };
    return { id: `t${n}`, input, atMs: Math.floor((n / jobs) * seconds * 1_000) };
  });
}

/**
 * Publishes jobs while the node that does them is killed again and again, waits until all are done, and judges what
 * was recorded. One node at a time, restarted at once.
 */
export async function runCrash(options: CrashOptions): Promise<CrashReport> {
  const { seed, jobs, seconds, dir, say = () => {}, finishMs = 60_000 } = options;
  const { killsMax = Number.POSITIVE_INFINITY } = options;
  const [killFrom, killTo] = options.killEveryMs ?? [600, 1_600];
  const random = randomFrom(seed ^ 0x5eed);
  const startedAt = performance.now();
  const clock = () => `${((performance.now() - startedAt) / 1_000).toFixed(2).padStart(6)} s`;
  mkdirSync(dir, { recursive: true });
  await prepare(options);
  const sql = await openSql(options);
  const client = createClient({ natsUrl: options.natsUrl, namespace: options.namespace });
  const file = join(import.meta.dirname, 'actorsCrash.ts');
  const spawn = () =>
    spawnNode({ ...options, file, env: { PERDURE_TEST_DIR: dir, ...options.env } });
  const gapsMs: number[] = [];
  let kills = 0;
  let finished = false;
  let node: NodeProcess = spawn();

  async function count(): Promise<number> {
    const [row] = await sql.query<{ n: number }>(`SELECT count(*)::int AS n FROM transition`);
    return row?.n ?? 0;
  }

  async function keepKilling(): Promise<void> {
    while (!finished && kills < killsMax) {
      // Now and then one dies while it is still opening its shards; never all of them, or nothing would get done.
      if (random() < 0.75) await node.ready.catch(() => {});
      await pause(killFrom + random() * (killTo - killFrom));
      if (finished) return;
      await node.kill('SIGKILL');
      const before = await count();
      const killedAt = performance.now();
      kills++;
      node = spawn();
      say(`${clock()}  kill -9 no. ${kills}; ${before} transitions so far`);
      const next = await until(
        'a transition after a kill',
        async () => finished || (await count()) > before,
        30_000,
      ).catch(() => false);
      gapsMs.push(Math.round(performance.now() - killedAt));
      if (!next) say(`${clock()}  nothing has moved for 30 s`);
    }
  }

  try {
    await node.ready;
    for (let n = 0; n < PURSES; n++) await client.start(purse, { id: `p${n}`, until: 'committed' });
    const plan = planCrashLoad(seed, jobs, seconds);
    const killing = keepKilling();
    const publishedAt = performance.now();
    const accepted: Promise<unknown>[] = [];
    for (const { id, input, atMs } of plan) {
      const wait = publishedAt + atMs - performance.now();
      if (wait > 0) await pause(wait);
      accepted.push(client.start(transfer, { id, input, messageId: `start-${id}` }));
    }
    await Promise.all(accepted);
    say(`${clock()}  all ${jobs} jobs are accepted`);
    const done = async () => {
      const [row] = await sql.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM actor WHERE type = 'transfer' AND status <> 'active'`,
      );
      return row?.n ?? 0;
    };
    const violations: string[] = [];
    await until('all jobs are done', async () => (await done()) >= jobs, finishMs).catch(
      (error: Error) => violations.push(error.message),
    );
    const tookMs = performance.now() - startedAt;
    say(`${clock()}  ${await done()} jobs are done`);
    finished = true;
    await killing;
    await node.ready;
    const rest = async () => {
      const [row] = await sql.query<{ n: number }>(
        `SELECT (SELECT count(*) FROM outbox)::int + (SELECT count(*) FROM actor WHERE busy OR acted_seq <> seq)::int AS n`,
      );
      return row?.n === 0;
    };
    await until('everything is at rest', rest, 20_000).catch((error: Error) =>
      violations.push(error.message),
    );
    await node.kill('SIGTERM');

    const history = await checkHistory({
      ...options,
      types: [transfer, purse],
      quiescent: true,
      expected: {
        jobs: plan.map(({ id }) => ({ type: 'transfer', id })),
        events: plan.map(({ id }) => ({ type: 'transfer', id, eventId: `start-${id}` })),
      },
      journal: new Journal<JournalLine>(join(dir, 'journal.jsonl')).read(),
      capture,
      outcomes: await readOutcomes(options),
    });
    violations.push(...history.violations);
    const balances = await sql.query<{ snapshot: string }>(
      `SELECT snapshot FROM current_actor JOIN transition USING (type, id, seq) WHERE type = 'purse'`,
    );
    const sum = balances.reduce(
      (total, { snapshot }) => total + JSON.parse(snapshot).snapshot.context.balance,
      0,
    );
    if (sum !== PURSES * PURSE_START)
      violations.push(`the purses hold ${sum}, at the start they held ${PURSES * PURSE_START}`);
    const states = await sql.query<{ state: string; status: string; n: number }>(
      `SELECT state, status, count(*)::int AS n FROM current_actor WHERE type = 'transfer' GROUP BY 1, 2`,
    );
    const suspects = await sql.query<{ id: string }>('SELECT id FROM quarantined');
    for (const { id } of suspects) violations.push(`${id} is in quarantine`);
    for (const { state, status, n } of states)
      if (status !== 'done') violations.push(`${n} jobs ended as ${status} in ${state}`);
    const stuck = await sql.query<{ told: string }>(
      `SELECT format('%s #%s is not done: busy %s, %s crashes, last moved at %s, timers %s', id, seq, busy, crashes, updated_at,
                (SELECT json_agg(t.fire_at) FROM timer t WHERE t.type = a.type AND t.id = a.id)) AS told
         FROM current_actor a WHERE type = 'transfer' AND status = 'active' LIMIT 5`,
    );
    violations.push(...stuck.map(({ told }) => told));
    return { violations, history, kills, gapsMs, tookMs };
  } finally {
    finished = true;
    await node.kill('SIGKILL');
    await client.close();
    await sql.close();
  }
}
