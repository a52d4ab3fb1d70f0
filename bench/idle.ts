import { execFileSync } from 'node:child_process';
import pg from 'pg';
import { pause } from '../src/dev/process.ts';
import { cpuSeconds, pssBytes } from './cpu.ts';
import { Stage, type StageOptions } from './stage.ts';

export interface Idle {
  count: number;
  /** Bytes for each instance that sleeps. */
  workerBytes: number;
  serverBytes: number;
  diskBytes: number;
  /** CPU-seconds a minute of all processes, with all of them asleep. */
  cpuPerMinute: number;
}

/** Longer than anything waits before it leaves memory. */
const SETTLE_MS = 20_000;
const LOOK_MS = 5_000;

/**
 * What instances cost that wait for an hour. Memory is looked at in a worker that was started after they fell asleep:
 * what making them left behind is garbage, not their cost.
 */
export async function idle(
  options: Omit<StageOptions, 'kind'> & { count: number; quick: boolean; settleMs?: number },
): Promise<Idle> {
  const { count, contender } = options;
  const stage = await Stage.open({ ...options, kind: 'sleep', workers: 2 });
  const settleMs = Math.max(options.quick ? SETTLE_MS / 2 : SETTLE_MS, options.settleMs ?? 0);
  try {
    await stage.startWorker().ready;
    await pause(SETTLE_MS / 2);
    const before = await look(stage);
    await stage.client.call('bulk', count);
    await stage.settled(count);
    if (!contender.peer.workerFirst) {
      await stage.workers.pop()?.stop();
      await stage.startWorker().ready;
    }
    await pause(settleMs);
    const cpuBefore = cpuOf(stage);
    await pause(LOOK_MS);
    const cpuPerMinute = ((cpuOf(stage) - cpuBefore) / LOOK_MS) * 60_000;
    const after = await look(stage);
    const each = (name: keyof typeof after) => Math.max(0, after[name] - before[name]) / count;
    return {
      count,
      workerBytes: each('worker'),
      serverBytes: each('server'),
      diskBytes: each('disk'),
      cpuPerMinute,
    };
  } finally {
    await stage.close();
  }
}

const cpuOf = (stage: Stage) =>
  Object.values(stage.cpu()).reduce((sum, seconds) => sum + seconds, 0) -
  cpuSeconds(stage.client.pid);

async function look(stage: Stage) {
  let disk = 0;
  for (const server of stage.servers)
    disk += server.url.startsWith('postgres') ? await databaseBytes(stage) : dirBytes(server.dir);
  // Postgres's own memory is a fixed pool.
  const others = stage.servers.filter((server) => !server.url.startsWith('postgres'));
  return {
    worker: pssBytes(...stage.workers.map((worker) => worker.pid)),
    server: pssBytes(...others.map((server) => server.pid)),
    disk,
  };
}

async function databaseBytes(stage: Stage): Promise<number> {
  const client = new pg.Client({ connectionString: stage.place.databaseUrl });
  await client.connect();
  try {
    const sql = 'SELECT pg_database_size(current_database())::float8 AS bytes';
    return (await client.query<{ bytes: number }>(sql)).rows[0]?.bytes ?? 0;
  } finally {
    await client.end();
  }
}

const dirBytes = (dir: string) =>
  Number(execFileSync('du', ['-s', '--block-size=1', dir], { encoding: 'utf8' }).split('\t')[0]);
