import { fileURLToPath } from 'node:url';
import type { FileMessage, NodeMessage, NodeReady } from '../cli/serve.ts';
import { ERRORS, type ErrorCode, PerdureError } from '../errors.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import type { Service } from './supervise.ts';

/** A node in a process of its own: `perdure serve FILE`. */
export interface NodeProcess extends Service {
  /** Resolves when the node works; rejects with its own error when it ends before. */
  readonly ready: Promise<NodeReady>;
}

export interface NodeProcessOptions {
  /** File with the actor types. */
  file: string;
  /** Added to our own. */
  env: Record<string, string>;
  /** Further options of `perdure serve`. */
  args?: readonly string[];
  /** Its stdout goes to ours; else to our stderr. */
  ownStdout?: boolean;
}

/** Draining takes half a second; a user's effect that ignores its AbortSignal gets this long, ms. */
const DRAIN_MS = 15_000;

/**
 * Starts a node. It drains when we ask it to and when its channel to us closes, as it does when we are killed;
 * should it hang, the watcher kills it.
 */
export async function startNode(options: NodeProcessOptions): Promise<NodeProcess> {
  const { daemon, heard } = await startServe<NodeMessage>(options);
  let reason = '';
  void heard.then((told) => {
    if (!told.ready) reason = ` (${told.code}: ${told.message})`;
  });
  const ready = Promise.race([heard, daemon.exited]).then((first) => {
    if (typeof first === 'string')
      throw new PerdureError(
        'bad_options',
        `A node with ${options.file} ended before it was ready: ${first}`,
      );
    if (!first.ready) throw errorOf(first);
    return first;
  });
  // Whoever started it again after a crash does not wait for it.
  ready.catch(() => {});
  return {
    pid: daemon.pid,
    exited: daemon.exited.then((words) => `${words}${reason}`),
    ready,
    stop: () => daemon.stop(['SIGTERM', 'SIGKILL'], DRAIN_MS),
  };
}

/**
 * Loads FILE in a process of its own, which ends then: what is wrong with it is known before anything else is started.
 * What a server that does not run yet could cure is left to the node.
 *
 * @throws PerdureError what `perdure serve` would say of the file
 */
export async function checkFile(
  options: NodeProcessOptions & { signal: AbortSignal },
): Promise<void> {
  const { signal } = options;
  const { daemon, heard } = await startServe<FileMessage>({ ...options, args: ['--check-file'] });
  const stop = () => void daemon.stop(['SIGKILL'], 1_000);
  signal.addEventListener('abort', stop, { once: true });
  try {
    if (signal.aborted) stop();
    const first = await Promise.race([heard, daemon.exited]);
    signal.throwIfAborted();
    if (typeof first !== 'string' && !first.good) throw errorOf(first);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

async function startServe<Message>(
  options: NodeProcessOptions,
): Promise<{ daemon: Daemon; heard: Promise<Message> }> {
  const { file, env, args = [], ownStdout = false } = options;
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const main = fileURLToPath(new URL(`../cli/main.${extension}`, import.meta.url));
  let hear: (message: Message) => void = () => {};
  const heard = new Promise<Message>((resolve) => {
    hear = resolve;
  });
  const daemon = await startDaemon({
    command: process.execPath,
    args: [...process.execArgv, main, 'serve', file, ...args],
    env: { ...process.env, ...env },
    ownStdout,
    onMessage: (message) => hear(message as Message),
    orphaned: [{ afterSeconds: DRAIN_MS / 1000, signal: 'KILL' }],
  });
  return { daemon, heard };
}

/** An error as it was in the other process. */
function errorOf({ code, message }: { code: string; message: string }): Error {
  return code in ERRORS ? new PerdureError(code as ErrorCode, message) : new Error(message);
}
