import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { isAlive, signal, stopProcess, waitUntilGone } from './process.ts';

export interface DaemonOptions {
  command: string;
  args: readonly string[];
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  uid?: number;
  gid?: number;
  /**
   * Gets stdout and stderr; our own stderr when absent. Never a pipe: it would break when we die and take the
   * server along.
   */
  logFile?: string;
  /** Without `logFile`: its stdout goes to ours. */
  ownStdout?: boolean;
  /** Opens Node's channel to the process and hears what it sends. */
  onMessage?: (message: unknown) => void;
  /**
   * What the watcher does once we are gone: wait so many seconds, send the signal, and so on. Nothing: the
   * process is meant to stay.
   */
  orphaned: readonly { afterSeconds: number; signal: 'TERM' | 'INT' | 'KILL' }[];
}

/** Those of this process that run. */
const daemons = new Set<number>();

/** Kills every daemon of this process at once; for the impatient second Ctrl-C. */
export function killDaemons(): void {
  for (const pid of daemons) signal(pid, 'SIGKILL');
}

/** A server process in a session of its own, so that Ctrl-C in the terminal reaches us and not it. */
export interface Daemon {
  readonly pid: number;
  /** Resolves when it is gone, for whatever reason, with words for the log. */
  readonly exited: Promise<string>;
  readonly running: boolean;
  /** Sends each signal in turn until it is gone, `graceMs` apart. */
  stop(signals: readonly NodeJS.Signals[], graceMs: number): Promise<void>;
}

/**
 * Starts a server that outlives neither us nor our murder: beside it runs a watcher, a shell that waits for
 * the end of a pipe only we hold open. The pipe closes when we die, even by kill -9; then the watcher stops
 * the server.
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const log = options.logFile === undefined ? 2 : openSync(options.logFile, 'a');
  const out = log === 2 && options.ownStdout ? 1 : log;
  let child: ChildProcess;
  try {
    child = spawn(options.command, options.args, {
      detached: true,
      stdio: ['ignore', out, log, ...(options.onMessage === undefined ? [] : ['ipc' as const])],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.uid === undefined ? {} : { uid: options.uid }),
      ...(options.gid === undefined ? {} : { gid: options.gid }),
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
  } finally {
    if (log !== 2) closeSync(log);
  }
  const pid = child.pid as number;
  if (options.onMessage !== undefined) child.on('message', options.onMessage);
  daemons.add(pid);
  child.unref();
  child.channel?.unref();
  const watcher = options.orphaned.length === 0 ? undefined : startWatcher(pid, options.orphaned);
  let running = true;
  const exited = new Promise<string>((resolve) => {
    child.once('exit', (code, killedBy) => {
      running = false;
      daemons.delete(pid);
      // The watcher must not live to signal a later process with the same pid.
      watcher?.end();
      const ended = () => resolve(killedBy === null ? `exit code ${code}` : `signal ${killedBy}`);
      // Its last words may still be on their way.
      if (child.connected) child.once('disconnect', ended);
      else ended();
    });
  });
  return {
    pid,
    exited,
    get running() {
      return running;
    },
    async stop(signals, graceMs) {
      if (!running) return;
      child.ref();
      await stopProcess(pid, signals, graceMs);
      // A process nothing can kill (it waits for a dead disk) does not hold us.
      if (!isAlive(pid)) await exited;
    },
  };
}

/**
 * Waits for stdin to end, then sends the signals to pid $1: pairs of seconds and name in $2, $3, … A zombie
 * counts as gone, or the watcher would linger where nobody reaps. It reads with what the shell itself can do: a
 * program of its own would be left as a zombie where we are the first process of a container.
 */
const WATCHER = `
while read -r line; do :; done
pid=$1; shift
alive() { kill -0 "$pid" 2>/dev/null && ! grep -qs '^State:.Z' "/proc/$pid/status"; }
while [ $# -gt 0 ]; do
  wait=$1
  while [ "$wait" -gt 0 ]; do alive || exit; sleep 1; wait=$((wait - 1)); done
  alive && kill -s "$2" "$pid" 2>/dev/null
  shift 2
done
`;

function startWatcher(pid: number, orphaned: DaemonOptions['orphaned']): { end(): void } {
  const steps = orphaned.flatMap((step) => [String(step.afterSeconds), step.signal]);
  const watcher = spawn('/bin/sh', ['-c', WATCHER, 'perdure-watcher', String(pid), ...steps], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  watcher.on('error', () => {});
  watcher.stdin.on('error', () => {});
  watcher.unref();
  (watcher.stdin as unknown as { unref?(): void }).unref?.();
  return {
    // The whole group: the shell and whatever it waits for.
    end: () => {
      if (watcher.pid !== undefined) signal(-watcher.pid, 'SIGKILL');
    },
  };
}

/** Stops a server a killed parent left behind. */
export async function stopStale(pid: number, signals: readonly NodeJS.Signals[]): Promise<void> {
  await stopProcess(pid, signals, 5_000);
  await waitUntilGone(pid, 1_000);
}

/** The last lines of a log file, for an error message. */
export function tail(file: string, lines = 15): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '';
  }
}
