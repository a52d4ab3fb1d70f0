import type { OpenedVersion, ShardEpoch } from './sharing.ts';
import type { Address } from './store.ts';

/** What nodes leave to each other, and to whoever comes later: part of the contract in `store.ts`. */

/** What the owner of a shard is asked to open: `type@version`, or `type` for one no actor has yet. */
export interface ShardNeeds extends ShardEpoch {
  needs: readonly string[];
}

/** Needs that were last told longer ago count for nothing, ms. */
export const NEEDS_LAST_MS = 600_000;

/** Other nodes that say the same about what they can open. */
export interface OtherNodes {
  opens: readonly OpenedVersion[];
  /** Nothing tells that they are dead; their leases run in either case. */
  alive: boolean;
  /** How many of them share the shards. */
  sharing: number;
}

/** A message of the log that waits for a node that can open its actor, or until that is resumed. */
export interface ParkedWrite extends Address, LogPosition {
  subject: string;
  /** JSON object of the message's headers. */
  headers: string;
  body: Uint8Array;
  messageId: string | null;
}

/** An actor whose row stays as it is, but for this. */
export interface PausedWrite extends Address {
  paused: boolean;
}

/** A version of an actor type as data; `definition` is JSON the engine never reads again. */
export interface MachineRecord extends MachineName {
  definition: string;
}

export interface MachineName {
  type: string;
  version: string;
}

/** Which stream (name and creation time) and sequence. */
export interface LogPosition {
  logId: string;
  logSeq: number;
}

/** Where a parked message stands in its shard. */
export interface ParkedPosition {
  /** Of the shard when it was parked. */
  epoch: number;
  logSeq: number;
}

export interface StoredParked extends ParkedWrite {
  shard: number;
  epoch: number;
}

/** An actor, or one that may come to be, with parked messages. */
export interface ParkedActor extends Address {
  shard: number;
  /** Of the actor's row; null when there is none. */
  version: string | null;
  /** They wait until it is resumed. */
  paused: boolean;
  messages: number;
  /** When the oldest of them was parked, on the database clock, ms since 1970. */
  since: number;
}

/** One for each position in the log. */
export interface DeadLetterWrite extends LogPosition {
  /** Error code (`src/errors.ts`). */
  reason: string;
  detail: string;
  subject: string;
  /** JSON object of the message's headers. */
  headers: string;
  body: Uint8Array;
  messageId: string | null;
}

/** So many failed attempts of one invoke are kept: the first ones, and the newest. */
export const FAILED_ATTEMPTS_MAX = 100;

/** An attempt of an invoke that failed; another one will be made. */
export interface FailedAttemptWrite extends Address {
  /** The transition that started the invoke. */
  startedSeq: number;
  invokeId: string;
  attempt: number;
  ranMs: number;
  /** JSON of name, message and code. */
  error: string;
}

/** A field of its input that an actor can be found by; written once, by the commit that creates it. */
export interface SearchableWrite extends Address {
  field: string;
  value: string;
}
