import { fork } from 'node:child_process';
import { familyOf } from './cpu.ts';
import type { Place } from './peer.ts';

/** A worker's or a client's process, as the harness sees it. */
export interface Child {
  readonly pid: number;
  /** Resolves when it takes work. */
  readonly ready: Promise<void>;
  /** What a worker has done so far. */
  readonly units: number;
  /** Calls the listener whenever `units` has changed. */
  onUnits(listener: () => void): void;
  offUnits(listener: () => void): void;
  /** Calls a client. */
  call<T>(name: string, ...args: number[]): Promise<T>;
  /** Asks it to end; kills it, and all it started, when it does not. */
  stop(): Promise<void>;
  /** kill -9, with all it started. */
  kill(): Promise<void>;
}

const STOP_GRACE_MS = 10_000;
const READY_TIMEOUT_MS = 60_000;

export interface ChildOptions {
  /** Of `module`, this one of its `peers`. */
  module: string;
  peer: string;
  role: 'worker' | 'client';
  place: Place;
  execArgv?: readonly string[];
}

export function startChild({ module, peer, role, place, execArgv = [] }: ChildOptions): Child {
  const child = fork(
    new URL('./process.ts', import.meta.url),
    [module, peer, role, JSON.stringify(place)],
    { execArgv: [...execArgv], stdio: ['ignore', 'ignore', 'pipe', 'ipc'] },
  );
  let words = '';
  child.stderr?.on('data', (data: Buffer) => {
    words = (words + data.toString()).slice(-4_000);
    if (process.env.BENCH_VERBOSE) process.stderr.write(`[${peer} ${role}] ${data}`);
  });
  const listeners = new Set<() => void>();
  const calls = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  let units = 0;
  let ended: Error | undefined;
  let nextId = 0;
  const ready = new Promise<void>((resolve, reject) => {
    calls.set(-1, { resolve: () => resolve(), reject });
    setTimeout(
      () => reject(new Error(`${peer}: its ${role} was not ready in time`)),
      READY_TIMEOUT_MS,
    ).unref();
  });
  ready.catch(() => {});
  child.on('message', (message: Message) => {
    if (message.ready) settle(-1, { result: undefined });
    if (message.units !== undefined) {
      units = message.units;
      for (const listener of listeners) listener();
    }
    if (message.id !== undefined) settle(message.id, message);
  });
  const settle = (id: number, { result, error }: Message) => {
    const call = calls.get(id);
    calls.delete(id);
    if (error === undefined) call?.resolve(result);
    else call?.reject(new Error(`${peer}: ${error}`));
  };
  const gone = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      ended = new Error(`${peer}: its ${role} ended (${signal ?? code})\n${words}`);
      for (const call of calls.values()) call.reject(ended);
      resolve();
    });
  });
  return {
    pid: child.pid as number,
    ready,
    get units() {
      if (ended) throw ended;
      return units;
    },
    onUnits: (listener) => listeners.add(listener),
    offUnits: (listener) => listeners.delete(listener),
    async call<T>(name: string, ...args: number[]) {
      if (ended) throw ended;
      const id = nextId++;
      const answer = new Promise<unknown>((resolve, reject) => calls.set(id, { resolve, reject }));
      child.send({ id, call: name, args });
      return (await answer) as T;
    },
    async stop() {
      const family = familyOf(child.pid as number);
      if (!ended) child.kill('SIGTERM');
      const late = setTimeout(() => killAll(family), STOP_GRACE_MS);
      await gone;
      clearTimeout(late);
      // What it started and did not stop.
      killAll(family.slice(1));
    },
    async kill() {
      killAll(familyOf(child.pid as number));
      await gone;
    },
  };
}

interface Message {
  ready?: true;
  units?: number;
  id?: number;
  result?: unknown;
  error?: string;
}

function killAll(pids: readonly number[]): void {
  for (const pid of pids)
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Gone already.
    }
}
