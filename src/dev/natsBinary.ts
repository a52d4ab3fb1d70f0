import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PerdureError } from '../errors.ts';
import { tryLock } from './lock.ts';
import { fetchFromDebian } from './natsDebian.ts';
import { pause } from './process.ts';

const run = promisify(execFile);

/** How to start nats-server for a directory. */
export interface NatsCommand {
  command: string;
  /** What goes before nats-server's own arguments. */
  args(port: number, monitorPort: number): string[];
  /** The address it must listen on to be reached at 127.0.0.1. */
  listen: string;
}

/** Message ids that outlive a restart, healthz and the consumer options we use: from here on. */
const VERSION_MIN = [2, 10] as const;

const FETCH_TIMEOUT_MS = 180_000;

/**
 * The path of a nats-server: PERDURE_NATS_SERVER, else the one on PATH, else one fetched earlier, else (on
 * Debian) one fetched now from the distribution's own archive into the user's cache, without root.
 *
 * @throws PerdureError `service_missing`
 */
export async function findNatsServer(log?: (line: string) => void): Promise<string> {
  const named = process.env.PERDURE_NATS_SERVER;
  if (named !== undefined && named !== '') {
    const version = await versionOf(named);
    if (version !== undefined && isNewEnough(version)) return named;
    throw new PerdureError(
      'service_missing',
      version === undefined
        ? `PERDURE_NATS_SERVER names ${named}, which is not a nats-server that runs here.`
        : `PERDURE_NATS_SERVER names nats-server ${version}; ${VERSION_MIN.join('.')} or newer is needed.`,
    );
  }
  const onPath = await versionOf('nats-server');
  if (onPath !== undefined && isNewEnough(onPath)) return 'nats-server';
  const cache = cacheDir();
  return (await cached(cache)) ?? (await fetchOnce(cache, onPath, log));
}

function cacheDir(): string {
  const base = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  return join(base, 'perdure', 'nats-server');
}

/** The newest cached copy that runs on this machine. */
async function cached(dir: string): Promise<string | undefined> {
  if (!existsSync(dir)) return undefined;
  const versions = readdirSync(dir).filter((name) => /^\d+\.\d+\.\d+/.test(name));
  versions.sort((a, b) => compare(numbers(b), numbers(a)));
  for (const version of versions) {
    const file = join(dir, version, 'nats-server');
    const says = await versionOf(file);
    if (says !== undefined && isNewEnough(says)) return file;
  }
  return undefined;
}

/** Fetches a copy unless another process is doing so, whose copy is then ours too. */
async function fetchOnce(
  cache: string,
  onPath: string | undefined,
  log: ((line: string) => void) | undefined,
): Promise<string> {
  mkdirSync(cache, { recursive: true });
  const until = performance.now() + FETCH_TIMEOUT_MS;
  for (;;) {
    const lock = tryLock(join(cache, 'lock'));
    if ('release' in lock) {
      try {
        const file = (await cached(cache)) ?? (await fetchFromDebian(cache, versionOf, log));
        if (file !== undefined) return file;
        throw missing(onPath);
      } finally {
        lock.release();
      }
    }
    if (performance.now() > until)
      throw new PerdureError(
        'service_missing',
        `Process ${lock.pid} has been fetching nats-server for too long.`,
      );
    await pause(200);
    const file = await cached(cache);
    if (file !== undefined) return file;
  }
}

function missing(onPath: string | undefined): PerdureError {
  const found =
    onPath === undefined
      ? 'nats-server was not found'
      : `nats-server on PATH is ${onPath}, too old`;
  const how =
    process.platform === 'darwin'
      ? 'brew install nats-server'
      : process.platform === 'linux'
        ? 'install the package nats-server of your distribution, or a release of nats-server from its project'
        : 'install a release of nats-server from its project';
  return new PerdureError(
    'service_missing',
    `${found} and Docker does not run here. Do one of these: ${how} (${VERSION_MIN.join('.')} or newer, on PATH); name a nats-server in PERDURE_NATS_SERVER; start Docker.`,
  );
}

/** What `nats-server --version` says, like '2.15.1'; undefined when there is none that runs. */
async function versionOf(command: string): Promise<string | undefined> {
  try {
    const { stdout } = await run(command, ['--version'], { timeout: 10_000 });
    return /v(\d+\.\d+\.\d+\S*)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

const numbers = (version: string) => version.split(/[.-]/).map((part) => Number(part) || 0);

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < 3; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

const isNewEnough = (version: string) => compare(numbers(version), VERSION_MIN) >= 0;

/** nats-server in a container, or undefined when Docker does not work here. Its signals reach the server. */
export function dockerCommand(dir: string): NatsCommand | undefined {
  const info = spawnSync('docker', ['info'], { stdio: 'ignore', timeout: 10_000 });
  if (info.status !== 0) return undefined;
  const user = `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;
  return {
    command: 'docker',
    listen: '0.0.0.0',
    args: (port, monitorPort) => [
      ...['run', '--rm', '--init', '--user', user, '-v', `${dir}:${dir}`],
      ...['-p', `127.0.0.1:${port}:${port}`, '-p', `127.0.0.1:${monitorPort}:${monitorPort}`],
      'nats:2',
    ],
  };
}
