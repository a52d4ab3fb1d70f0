import type { Bus } from '../bus/bus.ts';
import type { Clock } from '../clock.ts';
import type { Limits, Namespace } from '../config.ts';
import type { Logger } from '../log.ts';
import type { Address, Store } from '../store/store.ts';
import type { Committer } from './committer.ts';
import type { Invocations } from './invocation.ts';
import type { Lease } from './lease.ts';
import type { Loader } from './loader.ts';
import type { LogSource } from './logSource.ts';
import type { Marks } from './marks.ts';
import type { Newcomers } from './newcomers.ts';
import type { Others } from './others.ts';
import type { Outbox } from './outbox.ts';
import type { Pulse } from './pulse.ts';
import type { Registry } from './registry.ts';
import type { SurpriseReason } from './surpriseReason.ts';
import type { Timers } from './timers.ts';
import type { Tracing } from './tracing.ts';
import type { Transactions } from './transactions.ts';
import type { Trials } from './trials.ts';

/** A custom action of a committed transition that is about to be executed. */
export interface Acting {
  readonly address: Address;
  readonly seq: number;
  /** Among the custom actions of the transition. */
  readonly index: number;
  readonly type: string;
}

/** Executes the action by calling `run`, or keeps it from happening by throwing: the eyes and hands of the test kit. */
export type Witness = (acting: Acting, run: () => unknown) => unknown;

/** The parts of one node that its shards share; built once, by `engine.ts`. */
export interface Ring {
  readonly nodeId: string;
  readonly namespace: Namespace;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly log: Logger;
  readonly bus: Bus;
  readonly store: Store;
  readonly registry: Registry;
  readonly others: Others;
  readonly loader: Loader;
  readonly newcomers: Newcomers;
  readonly lease: Lease;
  readonly committer: Committer;
  readonly invocations: Invocations;
  readonly transactions: Transactions;
  readonly timers: Timers;
  readonly trials: Trials;
  readonly marks: Marks;
  readonly outbox: Outbox;
  /** The stream that the cursors count in. */
  readonly source: LogSource;
  /** Counts what this node has in memory and has done, for back-pressure and metrics. */
  readonly load: NodeLoad;
  readonly pulse: Pulse;
  readonly witness?: Witness;
  /** Undefined while nobody wants traces. */
  readonly tracing: Tracing | undefined;
  /** How long the oldest message of a commit was in the log before it was committed, ms. */
  readonly waited?: (ms: number) => void;
  /** The shard cannot go on as it is; opens it again. `refused`: Postgres will not have what was in its commit. */
  surprise(shard: number, reason: string, refused?: boolean): void;
  /** Somebody in the shard was resumed; opens it again soon. */
  resumed(shard: number): void;
}

export interface NodeLoad {
  /** Actors with running invokes. */
  busyActors: number;
  /** Actors in memory. */
  residents: number;
  transitions: number;
  /** Messages of the log whose effect has been committed. */
  messages: number;
  deadLetters: number;
  /** Messages kept for a node that can open their actors. */
  parked: number;
  /** Invokes started again after a takeover or a restart. */
  invokesResumed: number;
  /** Shards opened that were free. */
  claims: number;
  /** Shards opened whose owner had not given them back. */
  takeovers: number;
  /** Shards given back. */
  handovers: number;
  /** Shards opened again, by reason. */
  surprises: Record<SurpriseReason, number>;
  /** Stalls noticed. */
  stalls: number;
  /** By actor type. */
  types: Map<string, TypeLoad>;
}

/** What has been committed for the actors of one type. */
export interface TypeLoad {
  transitions: number;
  started: number;
  /** Ended, by status. */
  done: number;
  error: number;
  stopped: number;
  /** Attempts of invokes whose failure has been taken, those that are tried again included. */
  failedAttempts: number;
}

export function loadOf({ types }: NodeLoad, type: string): TypeLoad {
  let load = types.get(type);
  if (!load) {
    load = { transitions: 0, started: 0, done: 0, error: 0, stopped: 0, failedAttempts: 0 };
    types.set(type, load);
  }
  return load;
}

/** Counts of a node that has done nothing yet. */
export const emptyLoad = (): NodeLoad => ({
  busyActors: 0,
  residents: 0,
  transitions: 0,
  messages: 0,
  deadLetters: 0,
  parked: 0,
  invokesResumed: 0,
  claims: 0,
  takeovers: 0,
  handovers: 0,
  surprises: {
    delivery: 0,
    consumer: 0,
    log: 0,
    commit: 0,
    fenced: 0,
    lease: 0,
    stalled: 0,
    restored: 0,
    versions: 0,
    resumed: 0,
    mistaken: 0,
    other: 0,
  },
  stalls: 0,
  types: new Map(),
});
