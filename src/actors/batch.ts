import type { LogMessage } from '../bus/bus.ts';
import type {
  DeadLetterWrite,
  FailedAttemptWrite,
  LogPosition,
  ParkedWrite,
  PausedWrite,
  SearchableWrite,
} from '../store/elsewhere.ts';
import {
  type ActorStatus,
  type ActorWrite,
  type Address,
  addressKey,
  type OutboxRow,
  type OutboxWrite,
  type ShardCommit,
  type TimerWrite,
  type TransitionWrite,
} from '../store/store.ts';
import type { StoreTransaction } from '../store/userTransaction.ts';
import { bundled } from './bundle.ts';
import type { Effect } from './effects.ts';
import type { Invocation } from './invocation.ts';
import type { Resident } from './resident.ts';
import { loadOf, type NodeLoad, type TypeLoad } from './ring.ts';
import type { ActorSpan } from './tracing.ts';

/** A step on its way to Postgres, with what to do once it is there. */
export interface Taken {
  resident: Resident;
  write: TransitionWrite;
  status: ActorStatus;
  effects: Effect[];
  timers: readonly TimerWrite[];
  /** Ends with the commit. */
  span: ActorSpan | undefined;
}

/** What a publisher is told on its reply subject once the commit has landed. */
export interface Reply {
  subject: string;
  body: string;
}

/** What an invoke has done in a transaction of its own. */
export interface OwnTransaction {
  transaction: StoreTransaction;
  /** Idempotency key of the invoke. */
  key: string;
}

/**
 * What one commit of one shard carries. Steps are added in order; the actor's row is written once at most, at its
 * newest step, so a batch is always taken whole.
 */
export class Batch {
  readonly taken: Taken[] = [];
  readonly replies: Reply[] = [];
  readonly outbox: OutboxRow[] = [];
  /** Set off by the commit besides the steps: a retry that was recorded. */
  readonly afterwards: (() => void)[] = [];
  /** What it is committed in; it carries that one step alone then. */
  own: OwnTransaction | undefined;
  /** It says how something went that ran: should it not land, that is done again. */
  reports = false;
  /** Attempts whose results are in it. Should it not land, what they have done need not be done again here. */
  ended: Invocation[] | undefined;
  /** Something in it is waited for, though no transition is in it. */
  someoneWaits = false;
  readonly #shard: number;
  readonly #residents = new Set<Resident>();
  /** By `type/id`. */
  readonly #paused = new Map<string, PausedWrite>();
  readonly #transitions: TransitionWrite[] = [];
  readonly #timers = new Map<string, TimerWrite | { type: string; id: string; timerId: string }>();
  readonly #outboxDone = new Set<string>();
  readonly #deadLetters: DeadLetterWrite[] = [];
  readonly #parked: ParkedWrite[] = [];
  readonly #unparked: LogPosition[] = [];
  #searchable: SearchableWrite[] | undefined;
  #failedAttempts: FailedAttemptWrite[] | undefined;
  #cursor = 0;
  /** Messages that have their effect in it. They are not kept: whoever waits for a commit keeps the collector busy. */
  #consumed = 0;
  /** The last of them. */
  #last: LogMessage | undefined;
  /** When the log took the first of them. */
  #publishedAt: number | null = null;
  /** The rows as they were when it was closed. */
  #rows: ActorWrite[] | undefined;

  constructor(shard: number) {
    this.#shard = shard;
  }

  get isEmpty(): boolean {
    return (
      this.#cursor === 0 &&
      this.#residents.size === 0 &&
      this.#paused.size === 0 &&
      this.#outboxDone.size === 0 &&
      this.#unparked.length === 0 &&
      this.#timers.size === 0 &&
      this.#deadLetters.length === 0
    );
  }

  get size(): number {
    return this.#transitions.length + this.#deadLetters.length + this.#parked.length;
  }

  /** The message has its effect in this batch; the cursor may pass it. */
  consumed(message: LogMessage): void {
    if (this.#consumed++ === 0) this.#publishedAt = message.publishedAt;
    this.#last = message;
    this.#cursor = message.seq;
  }

  /** It has landed: JetStream is told. */
  acknowledge(): void {
    this.#last?.ack();
  }

  /** Where the cursor stands once this has landed; 0: unmoved. */
  get cursor(): number {
    return this.#cursor;
  }

  transition(taken: Taken): void {
    this.taken.push(taken);
    this.#transitions.push(taken.write);
    this.row(taken.resident);
    for (const timer of taken.timers) this.#timers.set(timerName(timer), timer);
  }

  /** What a new actor can be found by. */
  searchable(fields: readonly SearchableWrite[]): void {
    this.#searchable ??= [];
    this.#searchable.push(...fields);
  }

  /** How it ended has its effect in this batch. */
  settled(attempt: Invocation): void {
    this.ended ??= [];
    this.ended.push(attempt);
  }

  /** Another one will be made. */
  failedAttempt(attempt: FailedAttemptWrite): void {
    this.#failedAttempts ??= [];
    this.#failedAttempts.push(attempt);
  }

  /** What the actor's newest step causes is done after everything that is in the batch by now. */
  performLast(resident: Resident): void {
    const at = this.taken.findLastIndex((taken) => taken.resident === resident);
    if (at >= 0) this.taken.push(...this.taken.splice(at, 1));
  }

  /** Writes the actor's row without a transition. */
  row(resident: Resident): void {
    this.#residents.add(resident);
    // Its row says it.
    if (this.#paused.size > 0) this.#paused.delete(resident.key);
  }

  /** Of an actor that is not in memory: its row stays as it is otherwise. */
  pause({ type, id }: Address, paused: boolean): void {
    this.#paused.set(addressKey({ type, id }), { type, id, paused });
  }

  dropTimer(timer: { type: string; id: string; timerId: string }): void {
    const { type, id, timerId } = timer;
    this.#timers.set(timerName(timer), { type, id, timerId });
  }

  send(row: OutboxWrite): void {
    this.outbox.push({ ...row, shard: this.#shard });
  }

  /** An outbox row has reached its end. */
  delivered(messageId: string): void {
    this.#outboxDone.add(messageId);
  }

  deadLetter(letter: DeadLetterWrite): void {
    this.#deadLetters.push(letter);
  }

  /** Kept for a node that can open its actor, or until that is resumed. */
  park(message: ParkedWrite): void {
    this.#parked.push(message);
  }

  /** A parked message has its effect in this batch. */
  unpark(position: LogPosition): void {
    this.#unparked.push(position);
  }

  /** Nothing comes in any more, and what its actors do from now on is not in it. */
  close(): void {
    this.#rows = this.#write();
  }

  #write(): ActorWrite[] {
    const rows: ActorWrite[] = [];
    this.#residents.forEach((resident) => {
      const row = resident.write();
      if (row) rows.push(row);
    });
    return rows;
  }

  toCommit(epoch: number, commitNo: number, cursor: number): ShardCommit {
    const timersArmed: TimerWrite[] = [];
    const timersDropped: { type: string; id: string; timerId: string }[] = [];
    for (const timer of this.#timers.values())
      if ('event' in timer) timersArmed.push(timer);
      else timersDropped.push(timer);
    return {
      shard: this.#shard,
      epoch,
      commitNo,
      cursor: Math.max(cursor, this.#cursor),
      actors: this.#rows ?? this.#write(),
      paused: [...this.#paused.values()],
      transitions: this.#transitions,
      timersArmed,
      timersDropped,
      outboxAdded: bundled(this.outbox),
      outboxDone: [...this.#outboxDone],
      deadLetters: this.#deadLetters,
      parked: this.#parked,
      unparked: this.#unparked,
      searchable: this.#searchable,
      failedAttempts: this.#failedAttempts,
    };
  }

  /** How long the oldest of its messages has been in the log by `now`, ms; undefined when it has none. */
  waitedMs(now: number): number | undefined {
    const at = this.#publishedAt;
    // The log's clock is another machine's.
    return at === null ? undefined : Math.max(0, now - at);
  }

  /** It has landed. */
  count(load: NodeLoad): void {
    load.transitions += this.taken.length;
    load.messages += this.#consumed;
    let type: string | undefined;
    let ofType: TypeLoad | undefined;
    for (const { write, status } of this.taken) {
      if (!ofType || write.type !== type) {
        type = write.type;
        ofType = loadOf(load, type);
      }
      ofType.transitions++;
      if (write.seq === 1) ofType.started++;
      if (status !== 'active') ofType[status]++;
    }
  }

  endSpans(): void {
    for (const { span } of this.taken) span?.end();
  }

  /** Whoever has the shard now takes the messages anew. */
  neverLands(): void {
    for (const { span } of this.taken) span?.fail(new Error('not committed by this node'));
  }

  get residents(): ReadonlySet<Resident> {
    return this.#residents;
  }
}

const timerName = (timer: { type: string; id: string; timerId: string }): string =>
  `${timer.type}/${timer.id}/${timer.timerId}`;
