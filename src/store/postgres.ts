import type { Clock } from '../clock.ts';
import { systemClock } from '../clock.ts';
import { LIMITS, type Limits, type Namespace, SHARDS } from '../config.ts';
import { createLogger, type Logger } from '../log.ts';
import { commit } from './commit.ts';
import { type SessionOptions, waitUntilReachable } from './connection.ts';
import type { MachineName, ParkedPosition, ShardNeeds, StoredParked } from './elsewhere.ts';
import { PostgresReadStore } from './inspect.ts';
import { Lane, type LaneHealth } from './lane.ts';
import { Leases } from './lease.ts';
import { knownEvents, load, markLog, nearTimers, outboxOf, recover, transitions } from './load.ts';
import { checkSchema } from './migrate.ts';
import { need, parkedMessages } from './parked.ts';
import type { ReadStore } from './read.ts';
import type { Reopened } from './refused.ts';
import type { NodeInfo, OpenedShard, ShardEpoch, Standing } from './sharing.ts';
import type {
  ActorTrial,
  Address,
  CommitResult,
  EventKey,
  MessageTrial,
  OutboxRow,
  Recovered,
  ShardCommit,
  Store,
  StoredActor,
  StoredTimer,
  StoredTransition,
} from './store.ts';
import { TransactionPool } from './transactionPool.ts';
import { forgive, tryActors, tryMessages } from './trials.ts';
import type { StoreTransaction } from './userTransaction.ts';

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
  return new PostgresReadStore(new Lane({ ...session, size: READ_CONNECTIONS }), session.clock);
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
  readonly #transactions: TransactionPool;
  readonly #leases: Leases;
  readonly #clock: Clock;
  /** What this side knows of the node's lease; `at` is monotonic time, before the statement was sent. */
  #held: { at: number; since: number } | undefined;

  /** `waited`: Postgres was away when we came. */
  constructor(session: SessionOptions, limits: Limits, waited: boolean) {
    const { clock } = session;
    this.#limits = limits;
    this.#clock = clock;
    this.#lease = new Lane({
      ...session,
      size: 1,
      onConnect: async (connected) => {
        const sentAt = clock.monotonic();
        await this.#leases.hold(connected, limits.leaseMs);
        if (this.#held) this.#extended(sentAt);
      },
    });
    this.#ownership = new Lane({ ...session, size: 1 });
    this.#commits = new Lane({ ...session, size: limits.commitsInFlight, indexPlans: true });
    this.#loads = new Lane({ ...session, size: LOAD_CONNECTIONS, indexPlans: true });
    this.#transactions = new TransactionPool(session, limits.transactionsMax);
    this.#leases = new Leases(this.#lease, this.#ownership, limits.leaseMs, waited);
  }

  /**
   * Whether Postgres can be used, for readiness and metrics: as good as the worst lane. The lease's renewals are the
   * probe that finds out when nothing else is asked.
   */
  health(): LaneHealth {
    const all = this.#lanes().map((lane) => lane.health);
    const [first, ...rest] = all as [LaneHealth, ...LaneHealth[]];
    const worst = rest.reduce((a, b) => (severity(b) > severity(a) ? b : a), first);
    const reconnects = all.reduce((sum, lane) => sum + lane.reconnects, 0);
    const { state } = worst;
    // It works since the last of them does; it does not since the first of them does not.
    const alike = all.filter((lane) => (lane.state === 'closed') === (state === 'closed'));
    const times = alike.map(({ since }) => since);
    const since = state === 'closed' ? Math.max(...times) : Math.min(...times);
    const error = worst.error ?? all.find((lane) => lane.error !== null)?.error ?? null;
    return { state, since, error, reconnects };
  }

  /** Statements that wait for a connection, by lane, and transactions that do. */
  waiting(): Record<'lease' | 'ownership' | 'commits' | 'loads' | 'transactions', number> {
    return {
      lease: this.#lease.waiting,
      ownership: this.#ownership.waiting,
      commits: this.#commits.waiting,
      loads: this.#loads.waiting,
      transactions: this.#transactions.waiting,
    };
  }

  /**
   * The lease as far as this side knows: it ends no later here than in Postgres. `ageMs`: since it was last extended;
   * `since`: since when it is held without a break, wall time. Undefined before it was given.
   */
  lease(): { ageMs: number; since: number } | undefined {
    return (
      this.#held && { ageMs: this.#clock.monotonic() - this.#held.at, since: this.#held.since }
    );
  }

  #extended(sentAt: number): void {
    const held = this.#held;
    const unbroken = held && this.#clock.monotonic() - held.at < this.#limits.leaseMs;
    this.#held = { at: sentAt, since: unbroken ? held.since : this.#clock.now() };
  }

  async register(node: NodeInfo, leaseMs: number): Promise<readonly MachineName[]> {
    const sentAt = this.#clock.monotonic();
    const changed = await this.#leases.register(node, leaseMs);
    this.#extended(sentAt);
    return changed;
  }

  async renew(
    nodeId: string,
    leaseMs: number,
    natsOk: boolean,
    refusedCommits?: number,
  ): Promise<boolean> {
    const sentAt = this.#clock.monotonic();
    const known = await this.#leases.renew(nodeId, leaseMs, natsOk, refusedCommits);
    if (known) this.#extended(sentAt);
    return known;
  }

  drain(nodeId: string): Promise<void> {
    return this.#leases.drain(nodeId);
  }

  unregister(nodeId: string): Promise<void> {
    this.#held = undefined;
    return this.#leases.unregister(nodeId);
  }

  claim(nodeId: string, max: number, among?: readonly number[]): Promise<OpenedShard[]> {
    return this.#leases.claim(nodeId, max, among);
  }

  reclaim(nodeId: string, shards: readonly Reopened[]): Promise<OpenedShard[]> {
    return this.#leases.reclaim(nodeId, shards);
  }

  need(nodeId: string, needs: readonly ShardNeeds[]): Promise<void> {
    return need(this.#ownership, nodeId, needs);
  }

  release(nodeId: string, shards: readonly ShardEpoch[]): Promise<void> {
    return this.#leases.release(nodeId, shards);
  }

  adoptLog(logId: string): Promise<boolean> {
    return this.#leases.adoptLog(logId);
  }

  tryMessages(nodeId: string, trials: readonly MessageTrial[]): Promise<void> {
    return tryMessages(this.#ownership, nodeId, trials);
  }

  tryActors(nodeId: string, trials: readonly ActorTrial[]): Promise<void> {
    return tryActors(this.#ownership, nodeId, trials);
  }

  forgive(nodeId: string, shard: ShardEpoch): Promise<void> {
    return forgive(this.#ownership, nodeId, shard);
  }

  standing(nodeId: string): Promise<Standing> {
    return this.#leases.standing(nodeId);
  }

  recover(shards: readonly number[], timerHorizonMs: number): Promise<Recovered> {
    return recover(this.#loads, shards, timerHorizonMs, this.#limits.eventIdsInMemory);
  }

  parkedMessages(
    shard: number,
    after: ParkedPosition | undefined,
    limit: number,
  ): Promise<StoredParked[]> {
    return parkedMessages(this.#loads, shard, after, limit);
  }

  nearTimers(
    shards: readonly number[],
    horizonMs: number,
  ): Promise<{ at: number; timers: StoredTimer[] }> {
    return nearTimers(this.#loads, shards, horizonMs);
  }

  staleOutbox(shards: readonly number[], olderThanMs: number, limit: number): Promise<OutboxRow[]> {
    return outboxOf(this.#loads, shards, { olderThanMs, limit });
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

  begin(signal: AbortSignal): Promise<StoreTransaction> {
    return this.#transactions.begin(signal);
  }

  markLog(
    passed: readonly { shard: number; seq: number }[],
    replayWindowMs: number,
  ): Promise<number> {
    return markLog(this.#ownership, passed, replayWindowMs);
  }

  /** Lets what is in flight end, then closes; calls that wait for Postgres are rejected. Does not unregister. */
  async close(): Promise<void> {
    const lanes = this.#lanes().map((lane) => lane.close(CLOSE_GRACE_MS));
    await Promise.all([...lanes, this.#transactions.close()]);
  }

  /** Cuts every connection at once, as a killed process would; for tests of what the others do then. */
  destroy(): void {
    for (const lane of this.#lanes()) lane.destroy();
    this.#transactions.destroy();
  }

  #lanes(): Lane[] {
    return [this.#lease, this.#ownership, this.#commits, this.#loads];
  }
}

const severity = ({ state }: LaneHealth): number => ['closed', 'half-open', 'open'].indexOf(state);
