import { fileURLToPath } from 'node:url';
import type { NodeMessage } from '../cli/serve.ts';
import { ERRORS, type ErrorCode, PerdureError } from '../errors.ts';
import { startDaemon } from './daemon.ts';
import type { Service } from './supervise.ts';

/** A node in a process of its own: `perdure serve FILE`. */
export interface NodeProcess extends Service {
  /** Resolves when the node works; rejects with its own error when it ends before. */
  readonly ready: Promise<void>;
}

/** Draining takes half a second; a user's effect that ignores its AbortSignal gets this long, ms. */
const DRAIN_MS = 15_000;

/**
 * Starts a node. It drains when we ask it to and when its channel to us closes, as it does when we are killed;
 * should it hang, the watcher kills it.
 */
export async function startNode(file: string, env: Record<string, string>): Promise<NodeProcess> {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const main = fileURLToPath(new URL(`../cli/main.${extension}`, import.meta.url));
  let hear: (message: NodeMessage) => void = () => {};
  const heard = new Promise<NodeMessage>((resolve) => {
    hear = resolve;
  });
  const daemon = await startDaemon({
    command: process.execPath,
    args: [...process.execArgv, main, 'serve', file],
    env: { ...process.env, ...env },
    onMessage: (message) => hear(message as NodeMessage),
    orphaned: [{ afterSeconds: DRAIN_MS / 1000, signal: 'KILL' }],
  });
  let reason = '';
  void heard.then((told) => {
    if (!told.ready) reason = ` (${told.code}: ${told.message})`;
  });
  const ready = Promise.race([heard, daemon.exited]).then((first) => {
    if (typeof first === 'string')
      throw new PerdureError(
        'bad_options',
        `A node with ${file} ended before it was ready: ${first}`,
      );
    if (first.ready) return;
    if (first.code in ERRORS) throw new PerdureError(first.code as ErrorCode, first.message);
    throw new Error(first.message);
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
