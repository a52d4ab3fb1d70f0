import { existsSync, mkdirSync, readFileSync, truncateSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Client } from 'pg';
import { asError, PerdureError } from '../errors.ts';
import { type Daemon, startDaemon, stopStale, tail } from './daemon.ts';
import { type PostgresBinaries, postgresBinaries, type RunAs } from './postgresBinaries.ts';
import { dataDir, ensureCluster, spawnAs } from './postgresCluster.ts';
import {
  childrenOf,
  commandLine,
  freePort,
  isAlive,
  lastPort,
  pause,
  portTaken,
  rememberPort,
  signal,
} from './process.ts';

export interface PostgresOptions {
  /** Holds everything of this server: its data, its password and its log. Created when missing. */
  dir: string;
  /** Default: the one of the last start in `dir` when it is free, else any free one. */
  port?: number | undefined;
  /** Leaves the server running when this process ends without `stop`. */
  keep?: boolean | undefined;
  /** Told what takes time. */
  log?: (line: string) => void;
}

/** A running Postgres of our own, listening on 127.0.0.1 only. */
export interface RunningPostgres {
  /** Superuser `perdure` on database `perdure`; holds the password. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Resolves when the server is gone, asked or not, with words for the log. */
  readonly exited: Promise<string>;
  /**
   * SIGTERM waits for clients to leave, SIGINT (the default) disconnects them, SIGQUIT and SIGKILL crash it:
   * the next start recovers from the write-ahead log.
   */
  stop(signal?: 'SIGTERM' | 'SIGINT' | 'SIGQUIT' | 'SIGKILL'): Promise<void>;
}

const START_TIMEOUT_MS = 60_000;
const STOP_GRACE_MS = 10_000;

/** As durable as in production, as small as a laptop likes it. */
const SETTINGS = {
  listen_addresses: '127.0.0.1',
  // No socket file: its directory may not be writable for the user Postgres runs as.
  unix_socket_directories: '',
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  max_connections: '200',
  shared_buffers: '128MB',
  max_wal_size: '1GB',
  jit: 'off',
  log_min_messages: 'warning',
  log_line_prefix: '%m [%p] ',
  timezone: 'UTC',
};

/**
 * Starts Postgres in `dir`, making the cluster first when there is none; a server that a killed parent left
 * there is stopped before.
 *
 * @throws PerdureError `service_missing` when Postgres is not installed or cannot start here; `bad_options` when
 *   another program has the port
 */
export async function startPostgres(options: PostgresOptions): Promise<RunningPostgres> {
  const dir = resolve(options.dir);
  const binaries = await postgresBinaries();
  mkdirSync(dir, { recursive: true });
  await stopLeftOver(dir, options.log);
  const { as, password } = await ensureCluster(dir, binaries, options.log);
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (let attempt = 0; ; ) {
    const port =
      options.port ?? (await freePort(attempt++ === 0 ? lastPort(portFile(dir)) : undefined));
    const daemon = await launch(dir, binaries, as, port, options.keep);
    const url = `postgres://perdure:${password}@127.0.0.1:${port}/perdure`;
    const trouble = await ready(daemon, url, deadline);
    if (trouble === undefined) {
      rememberPort(portFile(dir), port);
      return running(daemon, url, port);
    }
    await daemon.stop(['SIGKILL'], STOP_GRACE_MS);
    const words = tail(logFile(dir));
    // Children of a killed postmaster still hold its shared memory for a moment.
    const again = /pre-existing shared memory block|lock file .* already exists/.test(words);
    const taken = /could not bind|could not create any TCP/.test(words);
    if (taken && options.port !== undefined)
      throw portTaken('Postgres', options.port, '--port-postgres');
    if ((!again && !taken) || performance.now() > deadline)
      throw new PerdureError('service_missing', `Postgres did not start: ${trouble}\n${words}`);
    await pause(100);
  }
}

const portFile = (dir: string) => join(dir, 'port');
const logFile = (dir: string) => join(dir, 'postgres.log');

/** postmaster.pid names the server of this directory; only a Postgres running on exactly it is touched. */
async function stopLeftOver(dir: string, log?: (line: string) => void): Promise<void> {
  let pid: number;
  try {
    pid = Number(readFileSync(join(dataDir(dir), 'postmaster.pid'), 'utf8').split('\n')[0]);
  } catch {
    return;
  }
  if (!Number.isInteger(pid) || pid <= 1 || !isAlive(pid)) return;
  const command = commandLine(pid);
  if (!/postgres/.test(command) || !command.includes(dataDir(dir))) return;
  log?.(`stopping the Postgres an earlier run left behind (pid ${pid})`);
  await stopStale(pid, ['SIGINT', 'SIGQUIT', 'SIGKILL']);
}

function launch(
  dir: string,
  binaries: PostgresBinaries,
  as: RunAs,
  port: number,
  keep = false,
): Promise<Daemon> {
  const [command, ...args] = [
    ...as.prefix,
    binaries.postgres,
    ...['-D', dataDir(dir), '-p', String(port)],
    ...Object.entries(SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ] as [string, ...string[]];
  if (existsSync(logFile(dir))) truncateSync(logFile(dir));
  return startDaemon({
    command,
    args,
    ...spawnAs(as),
    logFile: logFile(dir),
    // Orphaned nodes get a moment to drain before their connections are cut.
    orphaned: keep
      ? []
      : [
          { afterSeconds: 2, signal: 'TERM' },
          { afterSeconds: 8, signal: 'INT' },
          { afterSeconds: 10, signal: 'KILL' },
        ],
  });
}

/** Waits until the database answers; says what is wrong when it never will. */
async function ready(daemon: Daemon, url: string, deadline: number): Promise<string | undefined> {
  let exit: string | undefined;
  void daemon.exited.then((words) => {
    exit = words;
  });
  for (;;) {
    const failed = await ensureDatabase(url).catch((error: unknown) => error);
    // Another server may sit on the port and answer: ours must be alive as well.
    if (exit !== undefined) return exit;
    if (failed === undefined) return undefined;
    if ((failed as { code?: string }).code === '28P01')
      return 'another Postgres answers on this port, or the password file does not fit the data';
    if (performance.now() > deadline) return `not ready: ${asError(failed).message}`;
    await pause(25);
  }
}

async function ensureDatabase(url: string): Promise<void> {
  try {
    await query(url, 'SELECT 1');
  } catch (error) {
    if ((error as { code?: string }).code !== '3D000') throw error;
    const maintenance = new URL(url);
    maintenance.pathname = '/postgres';
    await query(maintenance.href, 'CREATE DATABASE perdure');
  }
}

async function query(url: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query(sql);
  } finally {
    await client.end().catch(() => {});
  }
}

function running(daemon: Daemon, url: string, port: number): RunningPostgres {
  return {
    url,
    port,
    pid: daemon.pid,
    exited: daemon.exited,
    async stop(how = 'SIGINT') {
      if (how === 'SIGKILL') {
        // The way a machine dies: all of its processes at once.
        const children = childrenOf(daemon.pid);
        await daemon.stop(['SIGKILL'], STOP_GRACE_MS);
        for (const child of children) signal(child, 'SIGKILL');
        return;
      }
      await daemon.stop([how, 'SIGINT', 'SIGQUIT', 'SIGKILL'], STOP_GRACE_MS);
    },
  };
}
