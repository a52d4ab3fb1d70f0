import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** The JSON line of `perdure dev --json`. */
interface Ready {
  natsUrl: string;
  databaseUrl: string;
  pids: { dev: number; postgres: number; nats: number; nodes: number[] };
}

/** A `perdure dev` in a process of its own. */
export interface PerdureDev {
  /** Rejects, with the end of its log, when it ends before it is ready. */
  readonly ready: Promise<Ready>;
  /** Rejects when it ends unasked; never resolves. */
  readonly ended: Promise<never>;
  /** Asks it to stop and waits; asking again kills. */
  stop(): Promise<void>;
}

const CLI = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const ACTORS = fileURLToPath(new URL('./actors.ts', import.meta.url));
export const NAMESPACE = 'perdure';

const logFile = (data: string) => join(data, 'dev.log');

/** The end of what it and its nodes said. */
export const logTail = (data: string): string => readFileSync(logFile(data), 'utf8').slice(-4_000);

export function startPerdureDev(data: string, journal: string): PerdureDev {
  const log = openSync(logFile(data), 'a');
  const child: ChildProcess = spawn(
    process.execPath,
    [CLI, 'dev', ACTORS, '--data', data, '--namespace', NAMESPACE, '--json'],
    {
      // A Ctrl-C is for us to hear and to pass on.
      detached: true,
      // The channel is never used: when it closes because we were killed, the other side stops.
      stdio: ['ignore', 'pipe', log, 'ipc'],
      env: { ...process.env, AUDIT_JOURNAL: journal },
    },
  );
  closeSync(log);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const ended = exited.then(() => {
    throw new Error(`perdure dev ended:\n${logTail(data)}`);
  });
  // Whoever does not wait for it now asks later, or has stopped it.
  ended.catch(() => {});
  const line = new Promise<Ready>((resolve) => {
    if (child.stdout)
      createInterface(child.stdout).once('line', (text) => resolve(JSON.parse(text) as Ready));
  });
  return {
    ready: Promise.race([line, ended]),
    ended,
    async stop() {
      if (child.pid !== undefined) child.kill('SIGINT');
      await exited;
    },
  };
}
