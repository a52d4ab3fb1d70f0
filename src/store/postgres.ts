import type { Clock } from '../clock.ts';
import { systemClock } from '../clock.ts';
import { LIMITS, type Limits, type Namespace, SHARDS } from '../config.ts';
import { createLogger, type Logger } from '../log.ts';
import { commit } from './commit.ts';
import { type SessionOptions, waitUntilReachable } from './connection.ts';
import { PostgresReadStore } from './inspect.ts';
import { Lane } from './lane.ts';
import { Leases } from './lease.ts';
import { knownEvents, load, markLog, nearTimers, outboxOf, recover, transitions } from './load.ts';
import { checkSchema } from './migrate.ts';
import type { ReadStore } from './read.ts';
import type {
  Address,
  CommitResult,
  EventKey,
  NodeInfo,
  OpenedShard,
  OutboxRow,
  Recovered,
  ShardCommit,
  ShardEpoch,
  Store,
  StoredActor,
  StoredTimer,
  StoredTransition,
} from './store.ts';

/** Connections for loading actors, timers and outbox rows. */
const LOAD_CONNECTIONS = 2;
/** Connections for people's questions. */
const READ_CONNECTIONS = 2;
/** What is in flight when the store is closed has this long to end, ms. */
const CLOSE_GRACE_MS = 2_000;

export interface StoreOptions {
  databaseUrl: string;
  namespace: Namespace;
  /** Shards this node expects the namespace to have; default `SHARDS`. */
  shards?: number;
  limits?: Limits;
  clock?: Clock;
  log?: Logger;
  /** Told every few seconds while Postgres cannot be reached at the start. */
  onWaiting?: (reason: string) => void;
  /** Gives the waiting up. */
  signal?: AbortSignal;
}

/**
 * Opens the store of one node, waiting until Postgres can be reached.
 * @throws PerdureError `wrong_credentials`, `schema_missing`, `schema_newer`, `shards_differ`, `server_too_old`
 */
export async function openStore(options: StoreOptions): Promise<PostgresStore> {
  const session = sessionOptions(options, 'node');
  const { session: first, waited } = await waitUntilReachable({
    ...session,
    ...(options.onWaiting && { onWaiting: options.onWaiting }),
    ...(options.signal && { signal: options.signal }),
  });
  try {
    await checkSchema(first.client, {
      namespace: options.namespace,
      shards: options.shards ?? SHARDS,
    });
  } finally {
    await first.client.end();
  }
  return new PostgresStore(session, options.limits ?? LIMITS, waited);
}

/**
 * Opens the reading side, on connections of its own; Postgres must be reachable or become so.
 * @throws PerdureError `wrong_credentials`, `schema_missing`
 */
export async function openReadStore(
  options: Pick<
    StoreOptions,
    'databaseUrl' | 'namespace' | 'clock' | 'log' | 'onWaiting' | 'signal'
  >,
): Promise<PostgresReadStore & ReadStore> {
  const session = sessionOptions(options, 'read');
  const { session: first } = await waitUntilReachable({
    ...session,
    ...(options.onWaiting && { onWaiting: options.onWaiting }),
    ...(options.signal && { signal: options.signal }),
  });
  try {
    await checkSchema(first.client, { namespace: options.namespace });
  } finally {
    await first.client.end();
  }
  return new PostgresReadStore(new Lane({ ...session, size: READ_CONNECTIONS }));
}

function sessionOptions(
  options: { databaseUrl: string; namespace: Namespace; clock?: Clock; log?: Logger },
  role: string,
): SessionOptions {
  return {
    databaseUrl: options.databaseUrl,
    schema: options.namespace.schema,
    applicationName: `perdure ${role} ${options.namespace.name}`,
    clock: options.clock ?? systemClock,
    log: options.log ?? createLogger(),
  };
}

/** `Store` on Postgres: each kind of work has its own connections, so that none can hold up another. */
export class PostgresStore implements Store {
  readonly #limits: Limits;
  readonly #lease: Lane;
  readonly #ownership: Lane;
  readonly #commits: Lane;
  readonly #loads: Lane;
  readonly #leases: Leases;

  /** `waited`: Postgres was away when we came, so the owners of its shards may be on their way back. */
  constructor(session: SessionOptions, limits: Limits, waited: boolean) {
    const { clock } = session;
    this.#limits = limits;
    let calmAt = waited ? clock.monotonic() + limits.leaseMs : 0;
    this.#lease = new Lane({
      ...session,
      size: 1,
      onConnect: async (connected, reconnected) => {
        if (reconnected) calmAt = clock.monotonic() + limits.leaseMs;
        await this.#leases.hold(connected, limits.leaseMs);
      },
    });
    this.#ownership = new Lane({ ...session, size: 1 });
    this.#commits = new Lane({ ...session, size: limits.commitsInFlight, indexPlans: true });
    this.#loads = new Lane({ ...session, size: LOAD_CONNECTIONS, indexPlans: true });
    this.#leases = new Leases(this.#lease, this.#ownership, () => clock.monotonic() >= calmAt);
  }

  /** Whether Postgres answers, for readiness and the inspector; `error` is the last trouble when it does not. */
  health(): { up: boolean; error: string | null } {
    const lanes = [this.#lease, this.#commits, this.#loads].map((lane) => lane.health);
    return lanes.find((health) => !health.up) ?? { up: true, error: null };
  }

  register(node: NodeInfo, leaseMs: number): Promise<void> {
    return this.#leases.register(node, leaseMs);
  }

  renew(nodeId: string, leaseMs: number): Promise<boolean> {
    return this.#leases.renew(nodeId, leaseMs);
  }

  unregister(nodeId: string): Promise<void> {
    return this.#leases.unregister(nodeId);
  }

  claim(nodeId: string, max: number): Promise<OpenedShard[]> {
    return this.#leases.claim(nodeId, max);
  }

  reclaim(nodeId: string, shards: readonly ShardEpoch[]): Promise<OpenedShard[]> {
    return this.#leases.reclaim(nodeId, shards);
  }

  release(nodeId: string, shards: readonly ShardEpoch[]): Promise<void> {
    return this.#leases.release(nodeId, shards);
  }

  adoptLog(logId: string): Promise<boolean> {
    return this.#leases.adoptLog(logId);
  }

  liveNodes(): Promise<number> {
    return this.#leases.liveNodes();
  }

  recover(shards: readonly number[], timerHorizonMs: number): Promise<Recovered> {
    return recover(this.#loads, shards, timerHorizonMs, this.#limits.eventIdsInMemory);
  }

  nearTimers(
    shards: readonly number[],
    horizonMs: number,
  ): Promise<{ at: number; timers: StoredTimer[] }> {
    return nearTimers(this.#loads, shards, horizonMs);
  }

  staleOutbox(shards: readonly number[], olderThanMs: number): Promise<OutboxRow[]> {
    return outboxOf(this.#loads, shards, olderThanMs);
  }

  load(addresses: readonly Address[], eventIdsMax: number): Promise<StoredActor[]> {
    return load(this.#loads, addresses, eventIdsMax);
  }

  knownEvents(events: readonly EventKey[]): Promise<Set<string>> {
    return knownEvents(this.#loads, events);
  }

  transitions(address: Address, fromSeq: number, limit: number): Promise<StoredTransition[]> {
    return transitions(this.#loads, address, fromSeq, limit);
  }

  commit(nodeId: string, commits: readonly ShardCommit[]): Promise<CommitResult> {
    return commit(this.#commits, nodeId, commits);
  }

  markLog(
    passed: readonly { shard: number; seq: number }[],
    replayWindowMs: number,
  ): Promise<number> {
    return markLog(this.#ownership, passed, replayWindowMs);
  }

  /** Lets what is in flight end, then closes; calls that wait for Postgres are rejected. Does not unregister. */
  async close(): Promise<void> {
    await Promise.all(this.#lanes().map((lane) => lane.close(CLOSE_GRACE_MS)));
  }

  /** Cuts every connection at once, as a killed process would; for tests of what the others do then. */
  destroy(): void {
    for (const lane of this.#lanes()) lane.destroy();
  }

  #lanes(): Lane[] {
    return [this.#lease, this.#ownership, this.#commits, this.#loads];
  }
}
