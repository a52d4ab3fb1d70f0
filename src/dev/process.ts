import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { PerdureError } from '../errors.ts';

/** A process that can be told from a later one with the same pid. */
export interface ProcessMark {
  readonly pid: number;
  /** When it started, in the words of the operating system. */
  readonly started: string;
}

const PROC = existsSync('/proc/self/stat');

/** The fields of /proc/PID/stat after the command name, which may itself hold spaces and brackets. */
function stat(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

function ps(column: 'lstart' | 'command', pid: number): string {
  try {
    return execFileSync('ps', ['-o', `${column}=`, '-p', String(pid)], { encoding: 'utf8' }).trim();
  } catch {
    return '';
  }
}

/** Whether the process runs. A zombie (dead, not yet reaped by its parent) does not. */
export function isAlive(pid: number): boolean {
  if (PROC) {
    const state = stat(pid)?.[0];
    return state !== undefined && state !== 'Z' && state !== 'X';
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Marks a running process; undefined when there is none. */
export function mark(pid: number): ProcessMark | undefined {
  if (!isAlive(pid)) return undefined;
  const started = PROC ? (stat(pid)?.[19] ?? '') : ps('lstart', pid);
  return started === '' ? undefined : { pid, started };
}

/** Whether the very process that was marked still runs: pids are used again. */
export function isSame(marked: ProcessMark): boolean {
  return mark(marked.pid)?.started === marked.started;
}

/** The command line of a process, '' when it is gone. */
export function commandLine(pid: number): string {
  if (!PROC) return ps('command', pid);
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return '';
  }
}

/** Direct children of a process; [] where there is no /proc to tell. */
export function childrenOf(pid: number): number[] {
  if (!PROC) return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => stat(child)?.[1] === String(pid));
}

/** Sends a signal; harmless when the process is gone. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Waits until the process is gone; false when it still runs after `timeoutMs`. */
export async function waitUntilGone(pid: number, timeoutMs: number): Promise<boolean> {
  const until = performance.now() + timeoutMs;
  while (isAlive(pid)) {
    if (performance.now() > until) return false;
    await pause(10);
  }
  return true;
}

/** Sends each signal in turn until the process is gone, waiting `graceMs` after each. */
export async function stopProcess(
  pid: number,
  signals: readonly NodeJS.Signals[],
  graceMs: number,
): Promise<void> {
  for (const name of signals) {
    signal(pid, name);
    if (await waitUntilGone(pid, graceMs)) return;
  }
}

/** A promise that settles after `ms`. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Whether nothing listens on this port of 127.0.0.1. */
function portIsFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () =>
      probe.close(() => resolve(true)),
    );
  });
}

/**
 * A free port of 127.0.0.1, drawn below the range that outgoing connections use (32768 and up on Linux):
 * a client that reconnects to a server which is down would sooner or later take such a port for itself,
 * and the server could not come back.
 *
 * @param preferred taken when it is free
 */
export async function freePort(preferred?: number): Promise<number> {
  if (preferred !== undefined && (await portIsFree(preferred))) return preferred;
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (await portIsFree(port)) return port;
  }
  throw new PerdureError('service_missing', 'No free port between 20000 and 32000 on 127.0.0.1.');
}

/** A port that was asked for and cannot be had. `flag` is the option of `perdure dev` that chooses another one. */
export const portTaken = (server: string, port: number, flag: string): PerdureError =>
  new PerdureError(
    'bad_options',
    `${server} cannot listen on port ${port} of 127.0.0.1, another program has it. Choose another port with ${flag}, or leave it out for a free one.`,
  );

/** The port `rememberPort` wrote: whoever knows a URL of the last run can go on using it. */
export function lastPort(file: string): number | undefined {
  try {
    const port = Number(readFileSync(file, 'utf8'));
    return Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps the port of a server in a file for the next run. */
export function rememberPort(file: string, port: number): void {
  writeFileSync(file, `${port}\n`);
}
