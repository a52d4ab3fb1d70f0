import type {
  DeadLetterWrite,
  FailedAttemptWrite,
  LogPosition,
  MachineName,
  ParkedActor,
  ParkedPosition,
  ParkedWrite,
  PausedWrite,
  SearchableWrite,
  ShardNeeds,
  StoredParked,
} from './elsewhere.ts';
import type { Reopened } from './refused.ts';
import type { NodeInfo, OpenedShard, ShardEpoch, Standing } from './sharing.ts';
import type { StoreTransaction } from './userTransaction.ts';

/**
 * The record of what happened, as the engine sees it. Intent-level: no SQL leaks out. Two implementations
 * pass the same contract suite (`test/contract/store.contract.ts`): Postgres and the in-memory twin.
 *
 * Safety rests here (design §4–5):
 *  S1  A commit whose epoch for a shard is not the stored one writes nothing for that shard.
 *  S2  A commit is one statement: all of a shard's part lands, or none of it.
 *  S3  `reclaim` waits behind a commit in flight (row lock); after it, an older epoch can never land.
 *  S4  A transition's (type, id, seq) exists at most once, whatever the epochs say.
 *  S5  What a transaction has done lands with its commit, in one, or it never happened.
 */
export interface Store {
  /** Registers this incarnation of a node and starts holding its session lock. Gives back versions that another machine had until now. */
  register(node: NodeInfo, leaseMs: number): Promise<readonly MachineName[]>;
  /**
   * Extends the lease on the database's clock, and says whether the node reaches NATS; false: this incarnation is no
   * longer known.
   */
  renew(
    nodeId: string,
    leaseMs: number,
    natsOk: boolean,
    /** Since it began, of shards that another node owned. */
    refusedCommits?: number,
  ): Promise<boolean>;
  /** The node is about to go: it is owed no shards any more. */
  drain(nodeId: string): Promise<void>;
  /** Gives up every shard of the node, then its registration. */
  unregister(nodeId: string): Promise<void>;

  /**
   * Claims up to `max` shards that are free or orphaned (owner's lease over, or its session lock gone),
   * each with `epoch + 1`. Returns those it got, in shard order. A dead owner is one more death for the shard and for
   * each actor something ran for; a fifth one in a row, without the actor having got on, quarantines it.
   * `among`: only these; left out: any.
   */
  claim(nodeId: string, max: number, among?: readonly number[]): Promise<OpenedShard[]>;
  /**
   * Opens shards this node owns at the given epochs again with `epoch + 1`; those it lost are absent (S3). One whose commit was
   * refused has one more death: what it takes next is to blame.
   */
  reclaim(nodeId: string, shards: readonly Reopened[]): Promise<OpenedShard[]>;
  /** These are about to be tried, at most one for each shard: when the node dies, it may have died of them. */
  tryMessages(nodeId: string, trials: readonly MessageTrial[]): Promise<void>;
  /** These are about to be tried, or have stood it; each actor once. */
  tryActors(nodeId: string, trials: readonly ActorTrial[]): Promise<void>;
  /** The owner has lived long enough: earlier deaths are not held against the shard and its actors any more. */
  forgive(nodeId: string, shard: ShardEpoch): Promise<void>;
  /**
   * What whoever owns the shards this node owns at the given epochs is asked to open (`Standing.needs`), instead of what
   * was asked before. Others are left alone.
   */
  need(nodeId: string, needs: readonly ShardNeeds[]): Promise<void>;
  /** Gives shards back that this node owns at the given epochs; others are left alone. */
  release(nodeId: string, shards: readonly ShardEpoch[]): Promise<void>;
  /**
   * Says which log the cursors count in. When it is another one than before (the stream was recreated), every cursor
   * starts at 0 and every epoch moves on, so that owners open their shards again; answers true then.
   */
  adoptLog(logId: string): Promise<boolean>;
  /** How this node stands among the others. */
  standing(nodeId: string): Promise<Standing>;

  /**
   * What a newly opened shard must resume: busy actors, near timers, unapplied outbox; and for whom messages are parked.
   * Of paused families neither actors nor timers.
   */
  recover(shards: readonly number[], timerHorizonMs: number): Promise<Recovered>;
  /** Parked messages of a shard behind `after`, in the order in which they were parked. */
  parkedMessages(
    shard: number,
    after: ParkedPosition | undefined,
    limit: number,
  ): Promise<StoredParked[]>;
  /** Timers due within the horizon, oldest deadline first; not those of paused families. */
  nearTimers(
    shards: readonly number[],
    horizonMs: number,
  ): Promise<{ at: number; timers: StoredTimer[] }>;
  /** Outbox rows of the shards that are older than `olderThanMs`, the oldest first, `limit` of them at most. */
  staleOutbox(shards: readonly number[], olderThanMs: number, limit: number): Promise<OutboxRow[]>;

  /** Loads actors by address, with up to `eventIdsMax` of their event ids. Unknown ones are absent. */
  load(addresses: readonly Address[], eventIdsMax: number): Promise<StoredActor[]>;
  /** Which of these event ids their actor has already recorded, as `eventKey()` strings. */
  knownEvents(events: readonly EventKey[]): Promise<Set<string>>;
  /** Transitions `fromSeq` and later, ascending. */
  transitions(address: Address, fromSeq: number, limit: number): Promise<StoredTransition[]>;

  /**
   * One statement, one round trip; two when somebody who is taken for new is there.
   * @throws StoreUnknown when the connection died before the answer: it may have landed.
   * @throws Error when Postgres refused the statement: nothing landed.
   */
  commit(nodeId: string, commits: readonly ShardCommit[]): Promise<CommitResult>;

  /**
   * Begins a transaction for statements of the user's own, as soon as one of `transactionsMax` sessions is free; waits
   * for Postgres when it is away.
   * @throws when `signal` aborts
   */
  begin(signal: AbortSignal): Promise<StoreTransaction>;

  /**
   * Records with the time up to where every shard is done: its cursor, or `passed` for one that has nothing to do
   * before that sequence. Returns the newest such mark that is older than the window, 0 if none.
   */
  markLog(
    passed: readonly { shard: number; seq: number }[],
    replayWindowMs: number,
  ): Promise<number>;
}

/** A message of a shard that is owned at `epoch`; `seq` null: nothing of it is suspected any more. */
export interface MessageTrial extends ShardEpoch {
  seq: number | null;
}

/** An actor of a shard that is owned at `epoch`. */
export interface ActorTrial extends ShardEpoch, Address {
  onTrial: boolean;
}

/** Nodes that have to die in a row before what they may have died of is tried alone. */
export const SUSPECT_AFTER = 2;
/** Nodes that have to die in a row, the last ones of this alone, before it is kept away from further ones (G9). */
export const QUARANTINE_AFTER = 5;

/** The connection died with a statement in flight: it landed, or it never will once the epoch moved on. */
export class StoreUnknown extends Error {
  override name = 'StoreUnknown';
}

/** An actor: its type and its id, each `[A-Za-z0-9_-]{1,128}`. */
export interface Address {
  type: string;
  id: string;
}

/** `type/id`: the actor's name in keys, logs and idempotency keys. */
export const addressKey = (address: Address): string => `${address.type}/${address.id}`;

export interface EventKey extends Address {
  eventId: string;
}

export const eventKey = (event: EventKey): string => `${event.type}/${event.id}/${event.eventId}`;

export type ActorStatus = 'active' | 'done' | 'error' | 'stopped';

/** The actor's row as the engine writes it: always whole, at its newest seq in the batch. */
export interface ActorWrite extends Address {
  /** Version of the actor type that wrote the snapshot. */
  version: string;
  /** Of a machine that another one has: JSON array with one `src` for each level below the root. */
  path: string | null;
  status: ActorStatus;
  /** State value as JSON: `"paying"`, `{"a":"b"}`. */
  state: string;
  /** JSON array of the active tags. */
  tags: string;
  seq: number;
  /** Output JSON once done. */
  output: string | null;
  /** Error JSON `{name,message,…}` once failed. */
  error: string | null;
  /** Something runs for it that a crash would cut short: load it when its shard is opened. */
  busy: boolean;
  /** Custom actions of transitions up to this seq have been executed. */
  actedSeq: number;
  /** JSON of invokes that wait for another attempt: `{invokeId: {attempt, nextAt, error}}`. */
  retries: string | null;
  /** Whether it is paused from now on; left out: as before. */
  paused?: boolean | undefined;
  /**
   * Whether there is a row of it already; left out: that is not known. Where `false` is untrue nothing of its shard lands;
   * where `true` is, the statement is refused.
   */
  stored?: boolean | undefined;
}

export interface StoredActor extends ActorWrite {
  /**
   * Envelope JSON: machine, version, XState version and snapshot (`actors/envelope`). That of its last transition, and kept
   * there only.
   */
  snapshot: string;
  shard: number;
  epoch: number;
  /** Event ids already recorded; all of them when `eventIdsComplete`. */
  eventIds: string[];
  eventIdsComplete: boolean;
  /** Nodes that died while something ran for it, one after the other without it having got on. */
  crashes: number;
  quarantined: boolean;
  /** Nothing is done for it, nor for machines of its family, until it is resumed. Said of roots alone. */
  paused: boolean;
}

/** Who caused a transition. */
export type Origin =
  | 'start'
  | 'event'
  | 'actor'
  | 'invoke'
  | 'child'
  | 'family'
  | 'timer'
  | 'self'
  | 'cancel'
  | 'engine';

export interface TransitionWrite extends Address {
  seq: number;
  eventType: string;
  /** The event as encoded JSON; for the first transition `{"type":"xstate.init","input":…}`. */
  event: string;
  /** Id the event is deduplicated by within the actor's life; null for what only the owner can cause. */
  eventId: string | null;
  origin: Origin;
  fromState: string | null;
  toState: string;
  /** JSON array of the edges taken: `["#order.idle|PAY|#order.paying"]`. */
  edges: string;
  /** How many custom actions the transition has to execute. */
  actions: number;
  /** Envelope JSON after the transition. */
  snapshot: string;
}

export interface StoredTransition extends TransitionWrite {
  epoch: number;
  nodeId: string;
  /** Commit time on the database clock, ms since 1970. */
  at: number;
}

export interface TimerKey extends Address {
  timerId: string;
}

export interface TimerWrite extends TimerKey {
  /** Deadline = the commit's time on the database clock + delay (G6). */
  delayMs: number;
  /** The transition that armed it; with the id it names one arming. */
  armedSeq: number;
  /** Order among timers of one transition with the same deadline. */
  position: number;
  /** Encoded event to deliver. */
  event: string;
}

export interface StoredTimer extends TimerKey {
  shard: number;
  armedSeq: number;
  position: number;
  /** Deadline on the database clock, ms since 1970. */
  fireAt: number;
  event: string;
}

/** Something committed that still has to reach JetStream. */
export interface OutboxWrite {
  /** What it is part of, for the header; in memory only, see `actors/tracing`. */
  trace?: string | undefined;
  /** `type/id/seq/index` of the sender: the target's event id, the same on every attempt. */
  messageId: string;
  /**
   * `send`: stays until the target's shard applied it. `outcome`: stays until JetStream acknowledged it. `outcomes`: several of
   * one commit in one row (`actors/bundle`).
   */
  kind: 'send' | 'outcome' | 'outcomes';
  /** The target. */
  type: string;
  id: string;
  body: string;
}

export interface OutboxRow extends OutboxWrite {
  /** Sender's shard. */
  shard: number;
  /** Id of the row it is in together with others; in memory only. */
  bundle?: string;
}

export interface ShardCommit {
  shard: number;
  epoch: number;
  /** The shard's last landed commit number + 1. */
  commitNo: number;
  cursor: number;
  /**
   * At most one for each actor. Whoever has a transition here and no row is there, busy, and stays so: only where it stands changes
   * (seq, epoch, state, and when), which its newest transition says. Everybody who reads sees it there.
   */
  actors: ActorWrite[];
  /** Never names one of `actors`. */
  paused: PausedWrite[];
  transitions: TransitionWrite[];
  /** Armed and dropped never name the same timer. */
  timersArmed: TimerWrite[];
  timersDropped: TimerKey[];
  outboxAdded: OutboxWrite[];
  /** Message ids, of any shard's rows. Never names one of `outboxAdded`. */
  outboxDone: string[];
  deadLetters: DeadLetterWrite[];
  parked: ParkedWrite[];
  /** Parked messages that were applied, or are dead letters. Never names one of `parked`. */
  unparked: LogPosition[];
  /** Left out where no actor is created whose type marks a field. */
  searchable?: SearchableWrite[] | undefined;
  /** Left out where no attempt has failed. */
  failedAttempts?: FailedAttemptWrite[] | undefined;
}

export interface CommitResult {
  /** Shards whose part landed; the others were fenced (S1), or are `mistaken`. */
  committed: ReadonlySet<number>;
  /** Shards whose part did not land because an actor with `stored: false` has a row. */
  mistaken: ReadonlySet<number>;
  /** The statement's time on the database clock, ms since 1970; base of the armed deadlines. */
  at: number;
}

export interface Recovered {
  /** Time on the database clock, ms since 1970. */
  at: number;
  actors: StoredActor[];
  timers: StoredTimer[];
  outbox: OutboxRow[];
  parked: ParkedActor[];
}
