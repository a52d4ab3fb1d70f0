import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { namespace, SHARDS } from '../config.ts';
import { asError, invariant, PerdureError } from '../errors.ts';
import { startInspectServer } from '../inspect/server.ts';
import { createLogger } from '../log.ts';
import { migrate } from '../store/migrate.ts';
import type { TextCodec } from '../textCodec.ts';
import { type DevFile, readStaleDevFile, removeDevFile, writeDevFile } from './devFile.ts';
import { tryLock } from './lock.ts';
import { startNats } from './natsServer.ts';
import { checkFile, type NodeProcess, startNode } from './nodeProcess.ts';
import { startPostgres } from './postgres.ts';
import {
  freePort,
  isSame,
  lastPort,
  mark,
  type ProcessMark,
  rememberPort,
  stopProcess,
  waitUntilGone,
} from './process.ts';
import { type Service, type Supervised, supervise } from './supervise.ts';

export interface DevOptions {
  /** File with the actor types; needed unless `nodes` is 0. */
  file?: string | undefined;
  /** Data directory. */
  data: string;
  nodes: number;
  /** Name of the namespace. */
  namespace: string;
  portNats?: number | undefined;
  portPostgres?: number | undefined;
  /** Leave Postgres and nats-server running at the end. */
  keep: boolean;
  /** What the nodes' texts go through; for the inspector. */
  codec?: TextCodec | undefined;
  log: (line: string) => void;
  /** Once aborted, nothing more is started and what was started is stopped. */
  signal: AbortSignal;
}

/** A development cluster that runs. */
export interface Dev {
  readonly info: DevFile;
  /** Stops nodes first, then nats-server, then Postgres. */
  stop(): Promise<void>;
}

/** Nodes a killed run left behind know it and drain; they get this long, ms. */
const LEFT_OVER_MS = 3_000;
/** For a file that only wants to see addresses while it is looked at: nobody listens there. */
const NOWHERE = {
  PERDURE_NATS_URL: 'nats://127.0.0.1:9',
  PERDURE_DATABASE_URL: 'postgres://127.0.0.1:9/perdure',
};

/**
 * Starts Postgres, nats-server, nodes and the inspector on this machine, and keeps them running.
 *
 * @throws PerdureError `already_running` when another process has the data directory; else what went wrong,
 *   once all that was started is stopped again
 */
export async function startDev(options: DevOptions): Promise<Dev> {
  const data = resolve(options.data);
  mkdirSync(data, { recursive: true });
  const lock = tryLock(join(data, 'lock'));
  if ('pid' in lock)
    throw new PerdureError(
      'already_running',
      `perdure dev runs on ${options.data} already (pid ${lock.pid}); stop it, or choose another directory with --data.`,
    );
  const undo = new UndoStack();
  undo.push(lock.release);
  try {
    return await startAll(options, data, undo);
  } catch (error) {
    await undo.run().catch((also) => options.log(`while stopping: ${asError(also).message}`));
    throw error;
  }
}

async function startAll(options: DevOptions, data: string, undo: UndoStack): Promise<Dev> {
  const { log, keep, signal } = options;
  await stopLeftOver(readStaleDevFile(data)?.nodes ?? [], log);
  if (options.file !== undefined) await checkFile({ file: options.file, env: NOWHERE, signal });

  let changed = () => {};
  const start = async <S extends Service>(name: string, run: () => Promise<S>, stays = false) => {
    const service = await supervise({ name, start: run, log, restarted: () => changed() });
    if (!stays) undo.push(() => service.stop());
    return service;
  };
  // NATS is started after Postgres to be stopped before it; both take a fraction of a second.
  let portPostgres = options.portPostgres;
  const postgres = await start(
    'Postgres',
    () =>
      startPostgres({
        dir: join(data, 'postgres'),
        port: portPostgres,
        keep,
        log,
      }),
    keep,
  );
  portPostgres = postgres.current.port;
  signal.throwIfAborted();
  let portNats = options.portNats;
  const nats = await start(
    'nats-server',
    () =>
      startNats({
        dir: join(data, 'nats'),
        port: portNats,
        keep,
        log,
      }),
    keep,
  );
  portNats = nats.current.port;
  signal.throwIfAborted();

  const { url: databaseUrl } = postgres.current;
  const { url: natsUrl } = nats.current;
  const quiet = createLogger({ level: 'warn' });
  const space = namespace(options.namespace);
  await migrate({ databaseUrl, namespace: space, shards: SHARDS, log: quiet });
  signal.throwIfAborted();

  const portFile = join(data, 'inspect-port');
  const portInspect = await freePort(lastPort(portFile));
  const inspector = await startInspectServer({
    codec: options.codec,
    databaseUrl,
    natsUrl,
    namespace: space.name,
    port: portInspect,
  });
  rememberPort(portFile, portInspect);
  undo.push(() => inspector.close());

  const nodes: Supervised<NodeProcess>[] = [];
  const info = (): DevFile => {
    const alive = mark(keep ? postgres.current.pid : process.pid);
    invariant(alive !== undefined, 'A process that was just started is there.');
    const pids = nodes.map((node) => node.current.pid);
    return {
      natsUrl,
      databaseUrl,
      inspectUrl: inspector.url,
      monitorUrl: nats.current.monitorUrl,
      namespace: space.name,
      pids: {
        dev: process.pid,
        postgres: postgres.current.pid,
        nats: nats.current.pid,
        nodes: pids,
      },
      alive,
      nodes: pids.map(mark).filter((node) => node !== undefined),
    };
  };
  changed = () => writeDevFile(data, info());
  undo.push(() => {
    changed = () => {};
    if (!keep) removeDevFile(data);
  });

  const env = {
    // What dev itself says is enough for the eye.
    PERDURE_LOG_LEVEL: process.env.PERDURE_LOG_LEVEL ?? 'warn',
    PERDURE_NATS_URL: natsUrl,
    PERDURE_DATABASE_URL: databaseUrl,
    PERDURE_NAMESPACE: space.name,
  };
  // All together: each drains for itself.
  undo.push(() => Promise.all(nodes.map((node) => node.stop())));
  for (let n = 1; n <= options.nodes; n++) {
    const name = options.nodes === 1 ? 'node' : `node ${n}`;
    const run = () => startNode({ file: options.file as string, env, args: ['--name', name] });
    nodes.push(await supervise({ name, start: run, log, restarted: () => changed() }));
  }
  await Promise.race([Promise.all(nodes.map((node) => node.current.ready)), aborted(signal)]);
  changed();
  return {
    get info() {
      return info();
    },
    stop: () => undo.run(),
  };
}

/** Steps that undo others, last first. One that fails does not keep the rest from being done. */
class UndoStack {
  readonly #steps: (() => unknown)[] = [];

  push(step: () => unknown): void {
    this.#steps.push(step);
  }

  async run(): Promise<void> {
    const failed: unknown[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step();
      } catch (error) {
        failed.push(error);
      }
    }
    if (failed.length > 0) throw failed[0];
  }
}

/** Ends the nodes of a run that was killed, which are draining by themselves. */
async function stopLeftOver(
  nodes: readonly ProcessMark[],
  log: (line: string) => void,
): Promise<void> {
  await Promise.all(
    nodes.filter(isSame).map(async ({ pid }) => {
      log(`waiting for a node an earlier run left behind (pid ${pid})`);
      if (!(await waitUntilGone(pid, LEFT_OVER_MS))) await stopProcess(pid, ['SIGKILL'], 1_000);
    }),
  );
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
  });
}
