import { randomBytes, randomInt } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterEach, inject, onTestFailed } from 'vitest';
import { type RunningNats, startNats } from '../../src/dev/natsServer.ts';
import { type RunningPostgres, startPostgres } from '../../src/dev/postgres.ts';

/** A new, empty database on the shared Postgres. */
export async function freshDatabase(): Promise<{ url: string; drop(): Promise<void> }> {
  const shared = inject('databaseUrl');
  const name = `test_${randomBytes(6).toString('hex')}`;
  await admin(shared, `CREATE DATABASE ${name}`);
  const url = new URL(shared);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    drop: () => admin(shared, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

async function admin(url: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

/** The shared nats-server. Use a `freshNamespace()` on it. */
export function natsUrl(): string {
  return inject('natsUrl');
}

/** A namespace no other test has. */
export function freshNamespace(): string {
  return `t_${randomBytes(6).toString('hex')}`;
}

/** A server that belongs to one test file, which may crash it and start it again at the same URL. */
export interface OwnServer {
  readonly url: string;
  readonly port: number;
  /** Of the process that runs now, or ran last. */
  readonly pid: number;
  stop(signal?: 'SIGTERM' | 'SIGINT' | 'SIGQUIT' | 'SIGKILL'): Promise<void>;
  /** Starts it again on the same data and port. */
  start(): Promise<void>;
}

/** A Postgres and a nats-server of the caller's own, in a fresh directory that `stop` deletes. */
export async function startOwnServices(): Promise<{
  postgres: OwnServer;
  nats: OwnServer;
  stop(): Promise<void>;
}> {
  const dir = mkdtempSync(join(tmpdir(), 'perdure-own-'));
  // Postgres may run as another user, who must be able to enter.
  chmodSync(dir, 0o755);
  const started = await Promise.allSettled([
    own((port) => startPostgres({ dir: join(dir, 'postgres'), ...port })),
    own((port) => startNats({ dir: join(dir, 'nats'), ...port })),
  ]);
  const stop = async () => {
    await Promise.all(
      started.map((server) => server.status === 'fulfilled' && server.value.stop('SIGKILL')),
    );
    rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
  };
  const [postgres, nats] = started;
  if (postgres.status === 'fulfilled' && nats.status === 'fulfilled')
    return { postgres: postgres.value, nats: nats.value, stop };
  await stop();
  throw started.find((server) => server.status === 'rejected')?.reason;
}

async function own(
  launch: (port?: { port: number }) => Promise<RunningPostgres | RunningNats>,
): Promise<OwnServer> {
  let running = await launch();
  return {
    url: running.url,
    port: running.port,
    get pid() {
      return running.pid;
    },
    stop: (signal) => running.stop(signal),
    async start() {
      running = await launch({ port: running.port });
    },
  };
}

/** Waits until `check` returns something truthy without throwing, and returns that. */
export async function eventually<T>(
  check: () => T | Promise<T>,
  options: { timeoutMs?: number; everyMs?: number; what: string },
): Promise<Exclude<T, false | null | undefined | 0 | ''>> {
  const { timeoutMs = 10_000, everyMs = 20, what } = options;
  const until = performance.now() + timeoutMs;
  for (;;) {
    let seen: string;
    try {
      const value = await check();
      if (value) return value as Exclude<T, false | null | undefined | 0 | ''>;
      seen = JSON.stringify(value) ?? String(value);
    } catch (error) {
      seen = String(error);
    }
    if (performance.now() > until)
      throw new Error(`Not within ${timeoutMs} ms: ${what}. Last seen: ${seen}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

/** A seed for a random test: PERDURE_TEST_SEED or a new one, printed when the test fails. */
export function seed(): number {
  const given = process.env.PERDURE_TEST_SEED;
  const value = given === undefined || given === '' ? randomInt(2 ** 31) : Number(given);
  if (!Number.isInteger(value)) throw new Error(`PERDURE_TEST_SEED=${given} is not a whole number`);
  const print = () => console.error(`Run again with PERDURE_TEST_SEED=${value}`);
  try {
    onTestFailed(print);
  } catch {
    // Outside of a test the hook for one test does not exist; the file's own does.
    afterEach((context) => {
      if (context.task.result?.state === 'fail') print();
    });
  }
  return value;
}
