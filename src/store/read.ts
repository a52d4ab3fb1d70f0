import type { LetterStore } from './letters.ts';
import type { SearchStore } from './search.ts';

/** Reading what is recorded, for the CLI, queries and the inspector. Never used by the engine's own path. */
export interface ReadStore extends SearchStore, LetterStore {
  listActors(filter: ActorFilter): Promise<ActorSummary[]>;
  actor(type: string, id: string): Promise<ActorDetail | undefined>;
  history(
    type: string,
    id: string,
    options?: { fromSeq?: number; limit?: number },
  ): Promise<HistoryRow[]>;
  counts(): Promise<{ type: string; status: string; count: number }[]>;
  shards(): Promise<ShardRow[]>;
  nodes(): Promise<NodeRow[]>;
  /** Actors nothing runs for until somebody releases them, the last quarantined first. */
  quarantined(filter?: { limit?: number }): Promise<QuarantinedRow[]>;
  /**
   * Rows of the outbox that are older than `olderThanMs`: the oldest first, `limit` of them at most (default 50, at most
   * 10,000).
   */
  lateOutbox(filter: { olderThanMs: number; limit?: number }): Promise<LateRow[]>;
  /**
   * Versions of active actors that some live node cannot open, or has not, and those that messages wait for. Looks at
   * every active actor.
   */
  parked(filter?: { type?: string }): Promise<ParkedRow[]>;
  /**
   * False: `parked` has nothing to tell, when active actors have these versions and no others. Looks at no actor but those
   * something runs for.
   */
  mayBeParked(versions: readonly { type: string; version: string }[]): Promise<boolean>;
  /** Messages that are parked for one actor, or for one that is still to come; null: none. */
  parkedFor(type: string, id: string): Promise<ParkedFor | null>;
}

export interface ActorFilter {
  type?: string;
  status?: string;
  /** A state value or a prefix of its dotted path: `paying`, `open.waiting`. */
  state?: string;
  /** Machines that other machines have invoked or spawned: of this root, or all of them; left out: none. */
  children?: 'all' | { of: string };
  paused?: boolean;
  /** Default 50, at most 10,000. */
  limit?: number;
}

export interface ActorSummary {
  type: string;
  id: string;
  status: string;
  /** XState state value. */
  state: unknown;
  version: string;
  seq: number;
  shard: number;
  epoch: number;
  tags: string[];
  output: unknown;
  error: unknown;
  /** ISO 8601. */
  created_at: string;
  updated_at: string;
  /** Since when nothing is done for it and its family, ISO 8601; null: it is not paused. */
  paused_at: string | null;
}

export interface ActorDetail extends ActorSummary {
  /** The snapshot's context as stored (encoded JSON). */
  context: unknown;
  /** The envelope as stored: JSON text. */
  snapshot: string;
  retries: unknown;
  /** Nodes that died in a row while something ran for it. */
  crashes: number;
  /** Since when nothing runs for it; null: it is in no quarantine. */
  quarantined_at: string | null;
  parked: ParkedFor | null;
  /** Messages of other actors that are on their way to it. */
  outbox: number;
  timers: { timer_id: string; fire_at: string; event: unknown }[];
}

export interface HistoryRow {
  seq: number;
  epoch: number;
  node_id: string;
  event_type: string;
  event: unknown;
  event_id: string | null;
  origin: string;
  from_state: unknown;
  to_state: unknown;
  edges: string[];
  /** Custom actions the transition had to execute. */
  actions: number;
  at: string;
  /** Envelope JSON text after the transition. */
  snapshot: string;
  /** Of the invokes it started: attempts that failed and were made again, the first one first. */
  failed_attempts: FailedAttemptRow[];
}

export interface FailedAttemptRow {
  invoke_id: string;
  attempt: number;
  at: string;
  /** How long it ran, ms. */
  ran_ms: number;
  node_id: string;
  error: unknown;
}

export interface ShardRow {
  shard: number;
  owner: string | null;
  epoch: number;
  cursor: number;
  commit_no: number;
  opened_at: string | null;
  /** Since when the owner has not changed. */
  owned_since: string | null;
  /** Owners that died one after the other without getting the cursor on. */
  crashes: number;
  /** Log sequence of the message that is being tried alone. */
  suspect_seq: number | null;
}

export interface NodeRow {
  node_id: string;
  name: string;
  host: string;
  pid: number;
  version: string;
  started_at: string;
  expires_at: string;
  /** What is left of its lease on the database's clock, ms; below 0 when it is over. */
  lease_left_ms: number;
  live: boolean;
  shards: number;
  /** Asked to end. */
  draining: boolean;
  /** Reaches NATS. */
  nats_ok: boolean;
  /** Of shards another node had taken meanwhile, since it began. */
  refused_commits: number;
}

export interface ParkedFor {
  messages: number;
  /** When the oldest of them was parked. */
  since: string;
}

export interface ParkedRow {
  type: string;
  /** Null: of messages for actors that are still to come. */
  version: string | null;
  /** Active actors of this version. */
  actors: number;
  /** Those something should run for, and the owner of their shard has not opened them. */
  waiting: number;
  /** Nodes that live. */
  nodes: number;
  /** Those of them that can open it. */
  opened_by: number;
  /** Parked messages. */
  messages: number;
  /** When the oldest of them was parked. */
  since: string | null;
}

/** Something committed that has not arrived. */
export interface LateRow {
  message_id: string;
  /** `send`: a message between actors; `outcome`: how an actor has ended; `outcomes`: several of these, `type` and `id` the first's. */
  kind: string;
  type: string;
  id: string;
  /** The sender's. */
  shard: number;
  created_at: string;
}

export interface QuarantinedRow {
  type: string;
  id: string;
  /** XState state value. */
  state: unknown;
  version: string;
  seq: number;
  shard: number;
  /** Nodes that died while something ran for it. */
  crashes: number;
  quarantined_at: string;
}
