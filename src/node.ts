import { hostname } from 'node:os';
import type { ActorType } from './actors/define.ts';
import { composeEngine } from './actors/engine.ts';
import type { Ownership } from './actors/ownership.ts';
import { Registry } from './actors/registry.ts';
import { emptyLoad, type NodeLoad } from './actors/ring.ts';
import { StallWatch } from './actors/stallWatch.ts';
import type { Bus } from './bus/bus.ts';
import { openBus } from './bus/nats.ts';
import { atMost, type Clock, systemClock } from './clock.ts';
import { type Limits, namespace, resolveLimits, SHARDS } from './config.ts';
import { PerdureError } from './errors.ts';
import type { Metrics } from './inspect/metrics.ts';
import type { HttpOptions } from './inspect/nodeServer.ts';
import { Vitals } from './inspect/vitals.ts';
import { createLogger, type Logger } from './log.ts';
import { startTracing } from './nodeTracing.ts';
import { migrate } from './store/migrate.ts';
import { openStore } from './store/postgres.ts';
import type { Store } from './store/store.ts';
import { wrappingStore } from './store/wrapping.ts';
import type { TextCodec } from './textCodec.ts';
import { VERSION } from './version.ts';

export interface NodeOptions {
  /** The actor types this node runs; of one name, the last is what new actors start with. */
  actors: readonly ActorType[];
  /** `nats://user:password@host:4222`, several separated by commas. Default: PERDURE_NATS_URL. */
  natsUrl?: string;
  /** `postgres://user:password@host:5432/database`. Default: PERDURE_DATABASE_URL. */
  databaseUrl?: string;
  /** Keeps several installations apart on the same servers. Default: PERDURE_NAMESPACE, else `perdure`. */
  namespace?: string;
  /** Name for people in `perdure nodes`. Default: `host/pid`. */
  name?: string;
  limits?: Partial<Limits>;
  /** Copies of each stream; 3 on a cluster. Used when the streams are created. Default 1. */
  replicas?: number;
  /** What an actor's data goes through on its way to Postgres and back: encryption, compression. Default: nothing. */
  codec?: TextCodec;
  /** Creates or upgrades the schema at start. Default false: `perdure migrate` does it. */
  migrate?: boolean;
  logger?: Logger;
  clock?: Clock;
  /** Answers `/livez`, `/readyz` and `/metrics` there, from the start until the node has stopped. Default: nowhere. */
  http?: HttpOptions;
}

/** What a node is doing. */
export interface NodeStatus extends Readonly<NodeLoad> {
  nodeId: string;
  shards: number[];
  /** Where `/livez`, `/readyz` and `/metrics` are, with option `http`. */
  httpUrl?: string;
}

/** One process's worth of Perdure: owns shards, runs their actors. */
export interface PerdureNode {
  readonly nodeId: string;
  /** Connects (waits for servers that are not there yet), claims shards and opens them. */
  start(): Promise<void>;
  /** Gives every shard back; what runs is aborted and runs again elsewhere. */
  stop(): Promise<void>;
  status(): NodeStatus;
}

/**
 * Builds a node; nothing happens before `start()`. This is the one place that knows the implementations of bus and
 * store.
 * @throws PerdureError `bad_options`. From `start()`: `wrong_credentials`, `schema_missing`, `schema_newer`,
 *   `shards_differ`, `server_too_old`.
 */
export function createNode(options: NodeOptions): PerdureNode {
  const ns = namespace(options.namespace ?? process.env.PERDURE_NAMESPACE);
  const limits = resolveLimits(options.limits);
  const registry = new Registry(options.actors);
  const natsUrl = required('natsUrl', 'PERDURE_NATS_URL', options.natsUrl);
  const databaseUrl = required('databaseUrl', 'PERDURE_DATABASE_URL', options.databaseUrl);
  const clock = options.clock ?? systemClock;
  const nodeId = clock.uuid();
  const log = (options.logger ?? createLogger()).child({ node: nodeId.slice(0, 8) });
  const load = emptyLoad();
  for (const { name, warnings, searchable } of options.actors) {
    for (const warning of warnings) log.warn(warning);
    if (options.codec && searchable.length > 0)
      log.warn(
        { type: name, fields: searchable },
        'codec: searchable fields are recorded as they are',
      );
  }
  const vitals = new Vitals(clock, nodeId, limits.leaseMs, load);
  let metrics: Metrics | undefined;
  let httpUrl: string | undefined;
  /** What was started, newest last; stopped in reverse. */
  const started: (() => Promise<void> | void)[] = [];
  let ownership: Ownership | undefined;
  /** Ends the waiting for servers that are not there. */
  const stopping = new AbortController();

  let starting: Promise<void> | undefined;

  function start(): Promise<void> {
    starting = startParts();
    return starting;
  }

  async function startParts(): Promise<void> {
    const { signal } = stopping;
    try {
      await serveVitals();
      unlessStopped();
      if (options.migrate)
        await migrate({ databaseUrl, namespace: ns, shards: SHARDS, log, signal });
      unlessStopped();
      const store = await openStore({
        databaseUrl,
        namespace: ns,
        shards: SHARDS,
        limits,
        clock,
        log,
        signal,
        onWaiting: (reason) => {
          vitals.waiting.postgres = reason;
        },
      });
      vitals.store = store;
      started.push(() => store.close());
      unlessStopped();
      const bus = await openBus({
        natsUrl,
        namespace: ns,
        shards: SHARDS,
        clock,
        log,
        signal,
        onWaiting: (reason) => {
          vitals.waiting.nats = reason;
        },
        ...(options.replicas === undefined ? {} : { replicas: options.replicas }),
      });
      vitals.bus = bus;
      started.push(() => bus.close());
      unlessStopped();
      await startEngine(wrappingStore(store, options.codec, log), bus);
      unlessStopped();
      vitals.enter('started');
    } catch (error) {
      vitals.enter('draining');
      await stopParts();
      throw error;
    }
  }

  function unlessStopped(): void {
    if (stopping.signal.aborted)
      throw new PerdureError('store_unavailable', 'The node was stopped before it had started.');
  }

  /** First to start and last to stop, so that who asks is always answered. */
  async function serveVitals(): Promise<void> {
    if (!options.http) return;
    // Only now: what they need takes a quarter of the time in which everything else is loaded.
    const [{ createMetrics }, { startNodeServer }] = await Promise.all([
      import('./inspect/metrics.ts'),
      import('./inspect/nodeServer.ts'),
    ]);
    metrics = createMetrics(vitals);
    const server = await startNodeServer({
      ...options.http,
      readiness: () => vitals.readiness(),
      metrics: metrics.registry,
      log,
    });
    httpUrl = server.url;
    started.push(() => server.close());
  }

  async function startEngine(store: Store, bus: Bus): Promise<void> {
    const name = options.name ?? `${hostname()}/${process.pid}`;
    const engine = composeEngine({
      node: {
        nodeId,
        name,
        host: hostname(),
        pid: process.pid,
        version: VERSION,
        opens: registry.opens,
        machines: registry.machines,
      },
      namespace: ns,
      shards: SHARDS,
      limits,
      registry,
      bus,
      store,
      clock,
      log,
      load,
      landed: metrics?.commitLanded,
      waited: metrics?.messageCommitted,
      tracing: startTracing(nodeId),
    });
    const { ring } = engine;
    ownership = engine.ownership;
    const watch = new StallWatch(ring, ownership, () => {
      const { nats, postgres } = vitals.breakers();
      return { nats: nats.state, postgres: postgres.state };
    });
    vitals.running = { ring, ownership, watch };
    started.push(() => engine.stop());
    await engine.start();
    watch.start();
    started.push(() => watch.stop());
    log.info({ shards: ownership.shards.size, types: String(registry) }, 'node: ready');
  }

  async function stop(): Promise<void> {
    vitals.enter('draining');
    stopping.abort();
    // What is on its way would be started behind our back.
    if (starting) await atMost(clock, STARTING_MAX_MS, starting);
    await stopParts();
  }

  async function stopParts(): Promise<void> {
    for (let part = started.pop(); part; part = started.pop()) await part();
  }

  return {
    nodeId,
    start,
    stop,
    status: () => ({
      nodeId,
      shards: [...(ownership?.shards.keys() ?? [])],
      ...(httpUrl === undefined ? {} : { httpUrl }),
      ...load,
    }),
  };
}

/** How long a start that is under way is waited for before what it has started is stopped, ms. */
const STARTING_MAX_MS = 5_000;

function required(option: string, variable: string, given: string | undefined): string {
  const value = given ?? process.env[variable];
  if (value) return value;
  throw new PerdureError('bad_options', `${option} is missing: pass it, or set ${variable}.`);
}
