import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync, closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { Client } from 'pg';
import { pino } from 'pino';
import { namespace, SHARDS } from '../../src/config.ts';
import type { Logger } from '../../src/log.ts';
import { migrate } from '../../src/store/migrate.ts';
import type { OutcomeMessage } from './history.ts';

/** Helpers to run nodes and to look at what they did. Free of vitest, so that chaos runs can use them too. */

const ROOT = resolve(import.meta.dirname, '../..');
const RUNNER = join(import.meta.dirname, 'clusterNode.ts');
/** Characters of a node's log that are kept. */
const STDERR_MAX = 200_000;

/** Where an installation lives. */
export interface Place {
  databaseUrl: string;
  natsUrl: string;
  namespace: string;
}

export const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** Creates the schema of a place. */
export async function prepare(place: Place): Promise<void> {
  await migrate({
    databaseUrl: place.databaseUrl,
    namespace: namespace(place.namespace),
    shards: SHARDS,
    log: pino({ level: 'silent' }),
  });
}

/** One connection that sees the namespace's tables and views. */
export interface Sql {
  query<R = Record<string, unknown>>(text: string, values?: unknown[]): Promise<R[]>;
  close(): Promise<void>;
}

export async function openSql(place: Pick<Place, 'databaseUrl' | 'namespace'>): Promise<Sql> {
  const client = new Client({ connectionString: place.databaseUrl });
  // A restarted server ends it; the next query says so.
  client.on('error', () => {});
  await client.connect();
  await client.query(`SET search_path = ${namespace(place.namespace).schema}, pg_temp`);
  return {
    async query<R>(text: string, values: unknown[] = []) {
      return (await client.query(text, values)).rows as R[];
    },
    close: () => client.end(),
  };
}

export interface LogLine {
  level: number;
  time: number;
  msg: string;
  [field: string]: unknown;
}

/** A logger that remembers. */
export function recordingLogger(): { logger: Logger; lines: LogLine[] } {
  const lines: LogLine[] = [];
  const logger = pino(
    { level: 'debug' },
    { write: (line: string) => void lines.push(JSON.parse(line)) },
  );
  return { logger, lines };
}

/** Lines a node's actors append to a file beside the database: what really ran, whatever the database says. */
export class Journal<Line extends object = Record<string, unknown>> {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** One write to a file opened for appending: whole, whoever else writes, and there after `kill -9`. */
  write(line: Line): void {
    appendFileSync(this.path, `${JSON.stringify(line)}\n`);
  }

  read(): Line[] {
    if (!existsSync(this.path)) return [];
    return readFileSync(this.path, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Line);
  }
}

export interface NodeProcessOptions extends Place {
  /** Exports the actor types. */
  file: string;
  limits?: Record<string, number>;
  env?: Record<string, string>;
  /** Name for people. Default: `host/pid`. */
  name?: string;
  /** Copies of each stream. Default 1. */
  replicas?: number;
  /** Gets its log, after what is there already. Default: only `stderr()` has it. */
  logFile?: string;
}

/** A node in a process of its own, to be killed. */
export interface NodeProcess {
  readonly pid: number;
  readonly process: ChildProcess;
  /** Resolves with the node's id once its shards are open. Rejects when it ends before. */
  readonly ready: Promise<string>;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** What it has logged. */
  readonly stderr: () => string;
  kill(signal?: NodeJS.Signals): Promise<void>;
}

export function spawnNode(options: NodeProcessOptions): NodeProcess {
  const { logFile } = options;
  const log = logFile === undefined ? undefined : openSync(logFile, 'a');
  const child = spawn(process.execPath, [RUNNER, options.file], {
    cwd: ROOT,
    // Its stdin ends when we do, however we end; then it ends, too.
    stdio: ['pipe', 'pipe', log ?? 'pipe'],
    env: {
      ...process.env,
      PERDURE_NATS_URL: options.natsUrl,
      PERDURE_DATABASE_URL: options.databaseUrl,
      PERDURE_NAMESPACE: options.namespace,
      PERDURE_TEST_LIMITS: JSON.stringify(options.limits ?? {}),
      ...(options.name === undefined ? {} : { PERDURE_TEST_NAME: options.name }),
      ...(options.replicas === undefined ? {} : { PERDURE_TEST_REPLICAS: `${options.replicas}` }),
      ...options.env,
    },
  });
  if (log !== undefined) closeSync(log);
  let stderr = '';
  let stdout = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-STDERR_MAX);
  });
  const logged = () =>
    logFile === undefined ? stderr : readFileSync(logFile, 'utf8').slice(-STDERR_MAX);
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((done) =>
    child.once('exit', (code, signal) => done({ code, signal })),
  );
  const ready = new Promise<string>((done, fail) => {
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      if (stdout.endsWith('\n')) done(stdout.trim());
    });
    void exited.then(() => fail(new Error(`the node ended before it was ready:\n${logged()}`)));
  });
  // Whoever cares awaits it.
  ready.catch(() => {});
  return {
    pid: child.pid as number,
    process: child,
    ready,
    exited,
    stderr: logged,
    async kill(signal = 'SIGKILL') {
      child.kill(signal);
      await exited;
    },
  };
}

/** Waits until `check` returns something truthy without throwing, and returns that. */
export async function until<T>(
  what: string,
  check: () => T | Promise<T>,
  timeoutMs: number,
): Promise<Exclude<T, false | null | undefined>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    let seen: string;
    try {
      const value = await check();
      if (value) return value as Exclude<T, false | null | undefined>;
      seen = JSON.stringify(value) ?? String(value);
    } catch (error) {
      seen = String(error);
    }
    if (performance.now() > deadline)
      throw new Error(`Not within ${timeoutMs} ms: ${what}. Last seen: ${seen}`);
    await pause(25);
  }
}

/** Numbers in [0, 1) that depend on the seed alone (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Everything the stream of outcomes holds. */
export async function readOutcomes(place: Place): Promise<OutcomeMessage[]> {
  const { outcomesStream } = namespace(place.namespace);
  const nc = await connect({ servers: place.natsUrl.split(',') });
  try {
    const jsm = await jetstreamManager(nc);
    const { state } = await jsm.streams.info(outcomesStream);
    const found: OutcomeMessage[] = [];
    if (state.messages === 0) return found;
    const consumer = await jetstream(nc).consumers.get(outcomesStream);
    const messages = await consumer.consume({ max_messages: 1_000 });
    for await (const message of messages) {
      found.push(message.json());
      if (message.info.pending === 0) break;
    }
    return found;
  } finally {
    await nc.close();
  }
}
