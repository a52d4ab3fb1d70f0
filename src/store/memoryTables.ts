import type {
  DeadLetterWrite,
  FailedAttemptWrite,
  MachineRecord,
  StoredParked,
} from './elsewhere.ts';
import type { NodeInfo } from './sharing.ts';
import {
  type ActorWrite,
  type Address,
  addressKey,
  type OutboxRow,
  type StoredTimer,
  type StoredTransition,
} from './store.ts';

export interface ShardState {
  shard: number;
  owner: string | null;
  previousOwner: string | null;
  epoch: number;
  /** Epoch of the claim since which the owner has not changed. */
  claimedEpoch: number;
  cursor: number;
  passed: number;
  commitNo: number;
  openedAt: number | null;
  ownedSince: number | null;
  crashes: number;
  suspectSeq: number | null;
  needs: readonly string[];
  /** When they were told; null: never. */
  needsAt: number | null;
}

export interface NodeState extends NodeInfo {
  startedAt: number;
  expiresAt: number;
  /** Its session lock is held. */
  session: boolean;
  draining: boolean;
  natsOk: boolean;
  refusedCommits: number;
}

export interface ActorState extends Omit<ActorWrite, 'paused'> {
  shard: number;
  epoch: number;
  createdAt: number;
  updatedAt: number;
  crashes: number;
  onTrial: boolean;
  quarantinedAt: number | null;
  pausedAt: number | null;
}

export interface DeadLetterState extends DeadLetterWrite {
  id: number;
  shard: number;
  at: number;
  redrivenAt: number | null;
}

export interface ParkedState extends StoredParked {
  at: number;
}

/** What the tables are in Postgres. */
export interface Tables {
  shards: ShardState[];
  nodes: Map<string, NodeState>;
  /** By `type/id`. */
  actors: Map<string, ActorState>;
  /** By `type/id`, in the order of seq. */
  transitions: Map<string, StoredTransition[]>;
  /** Event ids recorded, by `type/id`. */
  eventIds: Map<string, Set<string>>;
  /** By `type/id/timerId`. */
  timers: Map<string, StoredTimer>;
  /** By message id. */
  outbox: Map<string, OutboxRow & { createdAt: number }>;
  /** By `logId/logSeq`. */
  deadLetters: Map<string, DeadLetterState>;
  /** By `logId/logSeq`. */
  parked: Map<string, ParkedState>;
  marks: { at: number; seq: number }[];
  /** Values by field, by `type/id`. */
  searchable: Map<string, Map<string, string>>;
  /** By `type/id`, as they were recorded. */
  failedAttempts: Map<string, (FailedAttemptWrite & { nodeId: string; at: number })[]>;
  /** By `type@version`. */
  machines: Map<string, MachineRecord & { recordedAt: number }>;
}

/** Nobody's. */
export const freeShard = (shard: number): ShardState => ({
  shard,
  owner: null,
  previousOwner: null,
  epoch: 0,
  claimedEpoch: 0,
  cursor: 0,
  passed: 0,
  commitNo: 0,
  openedAt: null,
  ownedSince: null,
  crashes: 0,
  suspectSeq: null,
  needs: [],
  needsAt: null,
});

export const iso = (ms: number) => new Date(ms).toISOString();
export const isoOrNull = (ms: number | null) => (ms === null ? null : iso(ms));

/** Like `<` in the database: byte by byte, which for what is compared here is JavaScript's order. */
export const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The row is of a paused family. */
export const isPaused = ({ actors }: Tables, { type, id }: Address): boolean => {
  const [root = id] = id.split('.');
  return (actors.get(addressKey({ type, id: root }))?.pausedAt ?? null) !== null;
};
