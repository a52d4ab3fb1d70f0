import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';
import { Journal } from './cluster.ts';
import type { JournalLine } from './history.ts';

/** What actors of a node in a process of its own write down: in `PERDURE_TEST_DIR`, beside the database. */

const file = join(process.env.PERDURE_TEST_DIR ?? '.', 'journal.jsonl');
let lines: JournalLine[] | undefined;
/** Opened when the first line is written, so that only nodes leave files behind. */
const journal = new Journal<JournalLine>(file);

export function write(line: JournalLine): void {
  if (lines) lines.push(line);
  else journal.write({ ...line, pid: process.pid });
}

/** Runs an action and returns what it would have written. */
export function capture(run: () => unknown): JournalLine[] {
  lines = [];
  try {
    run();
    return lines;
  } finally {
    lines = undefined;
  }
}

/** Ends the process as `kill -9` does, when the environment names this place; not while an action is captured. */
export function crashAt(place: string): void {
  if (lines || process.env.PERDURE_TEST_CRASH !== place) return;
  process.kill(process.pid, 'SIGKILL');
  // The signal is on its way; nothing after it may run.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

const HOLD_FILE = 'hold';

/** From here on what begins to run in that process does not end, so that it can be killed at leisure. */
export const hold = (dir: string, pid: number) => writeFileSync(join(dir, HOLD_FILE), `${pid}`);

/** Waits where this process is held; throws when the signal is aborted. */
export async function whileHeld(signal: AbortSignal): Promise<void> {
  while (heldPid() === process.pid) await pause(20, undefined, { signal });
}

function heldPid(): number | undefined {
  const { PERDURE_TEST_DIR: dir } = process.env;
  try {
    return dir === undefined ? undefined : Number(readFileSync(join(dir, HOLD_FILE), 'utf8'));
  } catch {
    return undefined;
  }
}

let client: Promise<Client> | undefined;

async function connect(): Promise<Client> {
  const { PERDURE_DATABASE_URL: url, PERDURE_NAMESPACE: namespace } = process.env;
  const opened = new Client({ connectionString: url });
  const forget = () => {
    client = undefined;
  };
  opened.on('error', forget).on('end', forget);
  await opened.connect();
  await opened.query(`SET search_path = perdure_${namespace}`);
  return opened;
}

/** Whether the transition an idempotency key names can be seen in Postgres, from a connection of our own. */
export async function isCommitted(key: string): Promise<boolean> {
  const [type, id, , seq] = key.split('/');
  for (;;)
    try {
      client ??= connect();
      const { rows } = await (await client).query({
        name: 'committed',
        text: 'SELECT EXISTS (SELECT FROM transition WHERE type = $1 AND id = $2 AND seq = $3) AS seen',
        values: [type, id, seq],
      });
      return rows[0]?.seen;
    } catch {
      // Postgres is away; the question can wait.
      client = undefined;
      await new Promise((done) => setTimeout(done, 50));
    }
}
