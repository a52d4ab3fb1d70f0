import type { Bus } from '../bus/bus.ts';
import type { Clock } from '../clock.ts';
import type { Limits, Namespace } from '../config.ts';
import type { Logger } from '../log.ts';
import type { Store } from '../store/store.ts';
import type { Committer } from './committer.ts';
import type { Invocations } from './invocation.ts';
import type { Loader } from './loader.ts';
import type { LogSource } from './logSource.ts';
import type { Outbox } from './outbox.ts';
import type { Registry } from './registry.ts';
import type { Timers } from './timers.ts';

/** The parts of one node that its shards share; built once, by `node.ts`. */
export interface Ring {
  readonly nodeId: string;
  readonly namespace: Namespace;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly log: Logger;
  readonly bus: Bus;
  readonly store: Store;
  readonly registry: Registry;
  readonly loader: Loader;
  readonly committer: Committer;
  readonly invocations: Invocations;
  readonly timers: Timers;
  readonly outbox: Outbox;
  /** The stream that the cursors count in. */
  readonly source: LogSource;
  /** Counts what this node has in memory and has done, for back-pressure and metrics. */
  readonly load: NodeLoad;
  /** The shard cannot go on as it is; opens it again. */
  surprise(shard: number, reason: string): void;
}

export interface NodeLoad {
  /** Actors with running invokes. */
  busyActors: number;
  /** Actors in memory. */
  residents: number;
  transitions: number;
  deadLetters: number;
  /** Invokes started again after a takeover or a restart. */
  invokesResumed: number;
}
