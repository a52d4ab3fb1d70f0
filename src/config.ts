import { PerdureError } from './errors.ts';

/**
 * Every limit of the engine, with its unit in its name (G10). Full means back-pressure or a clear error,
 * never a drop. `docs/operations.md` says what each one is for.
 */
export interface Limits {
  /** Largest body of a message in the log, bytes. Keep it below the server's max_payload (1 MiB). */
  bodyMaxBytes: number;
  /** Largest committed snapshot of one actor, bytes of JSON. */
  snapshotMaxBytes: number;
  /** Deepest nesting of input, events, context and output. */
  nestingMax: number;
  /** Messages of one shard that were delivered and not yet committed; the server stops there (max_ack_pending). */
  shardPendingMax: number;
  /** Messages of one shard that wait in Postgres for a node that can open their actors; one more is a dead letter. */
  shardParkedMax: number;
  /** Messages of one shard taken in one turn; what its running actors report goes first. */
  shardIntakeMax: number;
  /** How long JetStream waits for an acknowledgement before it delivers again, ms. */
  ackWaitMs: number;
  /** Transitions in one commit statement. */
  commitMax: number;
  /** Commit statements in flight at once, over disjoint shards. */
  commitsInFlight: number;
  /** Actors in memory of one node; above it idle ones leave at once. */
  residentsMax: number;
  /** Actors with running invokes in one node; above it the node takes in no new messages. */
  busyActorsMax: number;
  /** Promises of invokes that run at once in one node; more wait their turn in the node. */
  invocationsMax: number;
  /** Transactions of `fromTransaction` open at once in one node, each on a connection of its own; more wait their turn. */
  transactionsMax: number;
  /** Events one running child (a callback, an observable) has sent that its actor has not taken; one more ends the child. */
  childEventsMax: number;
  /** An idle actor leaves memory after this, ms. */
  passivateAfterMs: number;
  /** Event ids remembered in memory for one actor; beyond it Postgres is asked. */
  eventIdsInMemory: number;
  /** Timers due within this horizon are held in memory, ms. */
  timerHorizonMs: number;
  /** A node's lease, ms. */
  leaseMs: number;
  /** A node renews its lease this often, ms. */
  leaseRenewMs: number;
  /** A shard that has work and makes no progress for this long is stalled, ms. */
  stallMs: number;
  /**
   * How long running invokes may go on in shards that are given back, ms: when the node is drained, or another one has
   * joined. Then they are aborted and run again elsewhere.
   */
  drainMs: number;
  /** An outbox row still unapplied after this is published again, ms. */
  outboxRepublishMs: number;
  /** How long the log keeps messages that every shard has applied, ms. */
  replayWindowMs: number;
  /** Microsteps of one step before an endless always/raise loop is declared. */
  microstepsMax: number;
}

export const LIMITS: Limits = {
  bodyMaxBytes: 512 * 1024,
  snapshotMaxBytes: 1024 * 1024,
  nestingMax: 64,
  shardPendingMax: 128,
  shardParkedMax: 10_000,
  shardIntakeMax: 64,
  ackWaitMs: 30_000,
  commitMax: 4_000,
  commitsInFlight: 2,
  residentsMax: 20_000,
  busyActorsMax: 10_000,
  invocationsMax: 1_000,
  transactionsMax: 4,
  childEventsMax: 1_000,
  passivateAfterMs: 10_000,
  eventIdsInMemory: 128,
  timerHorizonMs: 60_000,
  leaseMs: 8_000,
  leaseRenewMs: 2_000,
  drainMs: 2_000,
  stallMs: 15_000,
  outboxRepublishMs: 15_000,
  replayWindowMs: 3_600_000,
  microstepsMax: 1_000,
};

/** Merges `overrides` into the defaults. @throws PerdureError `bad_options` for a value that makes no sense. */
export function resolveLimits(overrides: Partial<Limits> = {}): Limits {
  for (const [name, value] of Object.entries(overrides)) {
    if (!(name in LIMITS))
      throw new PerdureError('bad_options', `There is no limit called ${name}.`);
    if (!Number.isInteger(value) || value < 1)
      throw new PerdureError('bad_options', `Limit ${name} must be a whole number above 0.`);
  }
  const limits = Object.freeze({ ...LIMITS, ...overrides });
  if (limits.leaseRenewMs * 2 > limits.leaseMs)
    throw new PerdureError('bad_options', 'leaseMs must be at least twice leaseRenewMs.');
  return limits;
}

/** Shards of a namespace: fixed when it is created, recorded in Postgres (design §3). */
export const SHARDS = 64;

/** The names a namespace gives to what it owns in Postgres and in NATS. */
export interface Namespace {
  readonly name: string;
  /** Postgres schema. */
  readonly schema: string;
  /** Stream of what was asked. */
  readonly jobsStream: string;
  /** Stream of what came out. */
  readonly outcomesStream: string;
  /** Prefix of every subject: '' for the default namespace, else 'name.'. */
  readonly subjectPrefix: string;
}

/** @throws PerdureError `bad_options` unless the name is 1 to 32 of a-z, 0-9 and _, starting with a letter. */
export function namespace(name = 'perdure'): Namespace {
  if (!/^[a-z][a-z0-9_]{0,31}$/.test(name))
    throw new PerdureError(
      'bad_options',
      `Namespace ${JSON.stringify(name)} is not allowed: use 1 to 32 of a-z, 0-9 and _, starting with a letter.`,
    );
  const isDefault = name === 'perdure';
  return Object.freeze({
    name,
    schema: isDefault ? 'perdure' : `perdure_${name}`,
    jobsStream: isDefault ? 'JOBS' : `JOBS_${name}`,
    outcomesStream: isDefault ? 'OUTCOMES' : `OUTCOMES_${name}`,
    subjectPrefix: isDefault ? '' : `${name}.`,
  });
}
