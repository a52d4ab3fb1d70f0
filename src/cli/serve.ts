import { availableParallelism } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { asError, InvariantViolation, PerdureError } from '../errors.ts';
import { createLogger } from '../log.ts';
import { createNode, type PerdureNode } from '../node.ts';
import { loadActorTypes } from './actorFile.ts';
import { withAdvice } from './advice.ts';
import { whole } from './arguments.ts';
import { codecOption, loadCodec, passCodecOn } from './codecFile.ts';
import { type ConnectionFlags, connectionOf, connectionOptions } from './connection.ts';
import { watchForHangs } from './hangWatch.ts';
import { keepHeapSmall } from './heap.ts';
import { untilAborted } from './interrupt.ts';
import { stopRequest } from './stopRequest.ts';

/** What a node tells the process that started it: `perdure dev`, `perdure serve --workers`. */
export type NodeMessage = NodeReady | { ready: false; code: string; message: string };

/** It works. */
export interface NodeReady {
  ready: true;
  nodeId: string;
  pid: number;
  shards: number;
  /** Where `/livez` and the others are, with --http. */
  httpUrl?: string;
}

/** What a process that was asked to look at a file only says of it. */
export type FileMessage = { good: true } | { good: false; code: string; message: string };

export interface ServeFlags extends ConnectionFlags {
  workers?: number;
  name?: string;
  http?: number;
  httpHost?: string;
  replicas?: number;
  blockedMaxMs: number;
  json?: true;
  checkFile?: true;
}

const WORKERS_MAX = 256;
/** Default of --blocked-max-ms: far more than the lease, after which others have taken over anyway. */
const BLOCKED_MS = 30_000;
const BLOCKED_MAX_MS = 86_400_000;
export const PORT_MAX = 65_535;

/** `perdure serve FILE`: a node in this process, or several in processes of their own. */
export function register(program: Command): void {
  codecOption(connectionOptions(program.command('serve')))
    .description('Run nodes with every actor type FILE exports.')
    .argument('<file>', 'TypeScript or JavaScript')
    .option(
      '--workers <n>',
      'run so many nodes, each in a process that is started again when it dies; auto: one for each core',
      workers,
    )
    .option('--name <name>', 'shown by perdure nodes; workers get NAME-1, NAME-2, …')
    .option(
      '--http <port>',
      '/livez, /readyz and /metrics; 0: any free port; workers get PORT, PORT+1, …',
      whole(0, PORT_MAX),
    )
    .option('--http-host <host>', 'address to listen on for --http')
    .option(
      '--replicas <n>',
      'copies of each stream, when this node creates them (default 1)',
      Number,
    )
    .option(
      '--blocked-max-ms <ms>',
      'end the process when user code has blocked its event loop for so long; 0: never',
      whole(0, BLOCKED_MAX_MS),
      BLOCKED_MS,
    )
    .option('--json', 'print one JSON line when ready; with --workers one for each')
    .addOption(new Option('--check-file').hideHelp())
    .addHelpText(
      'after',
      `
Examples:
  $ PERDURE_NATS_URL=nats://127.0.0.1:4222 PERDURE_DATABASE_URL=postgres://… perdure serve actors.ts
  $ perdure serve actors.ts --workers auto --name web --http 9090

SIGTERM or Ctrl-C drains: the actors go on elsewhere. The second one ends it at once. With --workers it drains all
workers together, and exits with 0 when all of them have drained. Workers end with the process that started them.`,
    )
    .action(serve);
}

function workers(text: string): number {
  if (text === 'auto') return Math.min(availableParallelism(), WORKERS_MAX);
  try {
    return whole(1, WORKERS_MAX)(text);
  } catch {
    throw new InvalidArgumentError(`It must be auto, or a whole number from 1 to ${WORKERS_MAX}.`);
  }
}

async function serve(file: string, flags: ServeFlags): Promise<void> {
  if (flags.checkFile) return checkFile(file);
  if (flags.httpHost !== undefined && flags.http === undefined)
    throw new PerdureError('bad_options', '--http-host needs --http PORT.');
  if (flags.workers !== undefined) {
    passCodecOn(flags);
    const { serveWorkers } = await import('./workers.ts');
    return serveWorkers(file, flags, flags.workers);
  }
  try {
    await run(file, flags);
  } catch (thrown) {
    const error = asError(withAdvice(thrown));
    const code = error instanceof PerdureError ? error.code : 'unexpected';
    // Whoever started us prints it, once.
    if (!tell({ ready: false, code, message: error.message }, () => process.exit(1))) throw error;
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

async function run(file: string, flags: ServeFlags): Promise<void> {
  surviveFloatingRejections();
  keepHeapSmall();
  watchForHangs(flags.blockedMaxMs);
  const connection = connectionOf(flags);
  // Whoever started us kills when it is out of patience; a service manager signals it and us alike.
  const asked = stopRequest(process.send === undefined ? () => process.exit(1) : () => {});
  const actors = await loadActorTypes(file);
  const codec = await loadCodec(flags);
  const node = createNode({
    actors,
    ...connection,
    ...nodeOptions(flags),
    ...(codec && { codec }),
  });
  const started = node.start().then(() => announce(node, flags.json));
  await Promise.race([started.then(() => untilAborted(asked)), untilAborted(asked)]);
  await node.stop();
  // Nothing of ours is left to do; what the user's file opened, or a start that still waits for Postgres, must not
  // hold the process.
  process.exit(0);
}

function nodeOptions({ name, http, httpHost, replicas }: ServeFlags) {
  const host = httpHost === undefined ? {} : { host: httpHost };
  return {
    ...(name === undefined ? {} : { name }),
    ...(http === undefined ? {} : { http: { port: http, ...host } }),
    ...(replicas === undefined ? {} : { replicas }),
  };
}

function announce(node: PerdureNode, json: true | undefined): void {
  const { shards, httpUrl } = node.status();
  const message = {
    ready: true as const,
    nodeId: node.nodeId,
    pid: process.pid,
    shards: shards.length,
    ...(httpUrl === undefined ? {} : { httpUrl }),
  };
  if (tell(message)) return;
  process.stdout.write(json ? `${JSON.stringify(message)}\n` : `${readyLine(message)}\n`);
}

export function readyLine({ nodeId, pid, shards, httpUrl }: NodeReady): string {
  const at = httpUrl === undefined ? '' : `, ${httpUrl}`;
  return `node ${nodeId} (pid ${pid}) is ready with ${shards} shards${at}`;
}

/** Loads the file, says whether that can ever go well, and ends. */
async function checkFile(file: string): Promise<void> {
  surviveFloatingRejections();
  try {
    await loadActorTypes(file);
    if (!tell({ good: true }, () => process.exit(0))) process.exit(0);
  } catch (thrown) {
    const { code, message, cause } = thrown as PerdureError;
    const said: FileMessage = isLasting(cause) ? { good: false, code, message } : { good: true };
    if (!tell(said, () => process.exit(0))) throw thrown;
  }
}

/** Whether it is wrong with the file itself; anything else may come from a server it speaks to while it loads. */
function isLasting(cause: unknown): boolean {
  const code = (cause as { code?: unknown } | undefined)?.code;
  return (
    cause === undefined ||
    cause instanceof SyntaxError ||
    (typeof code === 'string' && code.startsWith('ERR_'))
  );
}

/** Sends a message to the process that started us; false when none did with a channel. */
function tell(message: NodeMessage | FileMessage, sent?: () => void): boolean {
  if (process.send === undefined || !process.connected) return false;
  process.send(message, undefined, undefined, sent);
  return true;
}
