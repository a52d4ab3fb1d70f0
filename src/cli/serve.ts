import type { Command } from 'commander';
import { asError, InvariantViolation, PerdureError } from '../errors.ts';
import { createLogger } from '../log.ts';
import { createNode, type PerdureNode } from '../node.ts';
import { loadActorTypes } from './actorFile.ts';
import { type ConnectionFlags, connectionOf, connectionOptions } from './connection.ts';

/** What a node tells the `perdure dev` that started it. */
export type NodeMessage =
  | { ready: true; nodeId: string; pid: number; shards: number }
  | { ready: false; code: string; message: string };

type Flags = ConnectionFlags & { json?: true; replicas?: number };

/** `perdure serve FILE`: one node in this process. */
export function register(program: Command): void {
  connectionOptions(program.command('serve'))
    .description('Run one node with every actor type FILE exports.')
    .argument('<file>', 'TypeScript or JavaScript')
    .option(
      '--replicas <n>',
      'copies of each stream, when this node creates them (default 1)',
      Number,
    )
    .option('--json', 'print one JSON line when ready')
    .addHelpText(
      'after',
      `
Example:
  $ PERDURE_NATS_URL=nats://127.0.0.1:4222 PERDURE_DATABASE_URL=postgres://… perdure serve actors.ts

SIGTERM or Ctrl-C drains the node: its actors go on elsewhere. The second one ends it at once.`,
    )
    .action(serve);
}

async function serve(file: string, flags: Flags): Promise<void> {
  try {
    await run(file, flags);
  } catch (thrown) {
    const error = asError(thrown);
    const code = error instanceof PerdureError ? error.code : 'unexpected';
    // perdure dev prints it, once.
    if (!tell({ ready: false, code, message: error.message }, () => process.exit(1))) throw thrown;
  }
}

/**
 * A promise that user code started and nobody waits for must not end the node: Node would, and again after each
 * restart, because the action is redone. It is logged, loudly; a broken invariant of our own still ends the process.
 */
function surviveFloatingRejections(): void {
  const log = createLogger();
  process.on('unhandledRejection', (reason) => {
    if (reason instanceof InvariantViolation) throw reason;
    log.error(
      { error: asError(reason).stack },
      'a promise that nobody waits for was rejected; await it, or return it from the action',
    );
  });
}

async function run(file: string, flags: Flags): Promise<void> {
  surviveFloatingRejections();
  const connection = connectionOf(flags);
  const asked = stopRequested();
  const actors = await loadActorTypes(file);
  const replicas = flags.replicas === undefined ? {} : { replicas: flags.replicas };
  const node = createNode({ actors, ...connection, ...replicas });
  const started = node.start().then(() => announce(node, flags.json));
  await Promise.race([started.then(() => asked), asked]);
  await node.stop();
  // Nothing of ours is left to do; what the user's file opened, or a start that still waits for Postgres, must not
  // hold the process.
  process.exit(0);
}

function announce(node: PerdureNode, json: true | undefined): void {
  const { nodeId } = node;
  const shards = node.status().shards.length;
  if (tell({ ready: true, nodeId, pid: process.pid, shards })) return;
  process.stdout.write(
    json
      ? `${JSON.stringify({ ready: true, nodeId, pid: process.pid, shards })}\n`
      : `node ${nodeId} (pid ${process.pid}) is ready with ${shards} shards\n`,
  );
}

/**
 * Resolves at the first SIGTERM, SIGINT or SIGHUP, or when the `perdure dev` that started us is gone; the second
 * signal ends the process.
 */
function stopRequested(): Promise<void> {
  return new Promise((resolve) => {
    let asked = false;
    const stop = () => {
      if (asked) process.exit(1);
      asked = true;
      resolve();
    };
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, stop);
    // Its end of the channel closes when it dies, however it dies.
    process.once('disconnect', () => {
      asked = true;
      resolve();
    });
  });
}

/** Sends a message to the `perdure dev` that started us; false when nobody did. */
function tell(message: NodeMessage, sent?: () => void): boolean {
  if (process.send === undefined || !process.connected) return false;
  process.send(message, undefined, undefined, sent);
  return true;
}
