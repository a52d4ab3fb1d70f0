import type { Bus } from '../bus/bus.ts';
import { assertToken, OUTBOX_HEADER, subjects } from '../bus/subjects.ts';
import { backoff, type Clock } from '../clock.ts';
import type { Limits, Namespace } from '../config.ts';
import { asError, type ErrorCode, PerdureError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { OutboxRow } from '../store/store.ts';
import { Bundles } from './bundle.ts';
import { traceHeaders } from './tracing.ts';
import type { Undeliverable } from './undeliverable.ts';

interface Sending {
  row: OutboxRow;
  /** Sender and target of a message; undefined for an outcome. */
  pair: string | undefined;
  /** Nats-Msg-Id of this round. */
  messageId: string;
  failures: number;
}

/** Rows that are being published at once; more wait for their turn. */
const IN_FLIGHT_MAX = 2_000;
/**
 * Rows held from which on nothing new is taken from the log: jobs that end faster than JetStream takes their outcomes pile up
 * here. And the number below which it is taken again, so that it comes in large pieces.
 */
const [FULL_AT, ROOM_AT] = [16_000, 8_000];
/** No later try can pass. */
const FOR_GOOD: ReadonlySet<ErrorCode> = new Set(['bad_subject', 'bad_event', 'body_too_large']);
/** Rows held in memory; more stay in Postgres until the next sweep finds them. */
const HELD_MAX = 20_000;

/**
 * Publishes committed outbox rows. What one actor sends another is published one after the other, each when the log has the
 * one before (G5). A `send` row stays until its target's shard applied it (that commit deletes the
 * row); an `outcome` row until JetStream acknowledged it. A row that stays is published again with a fresh
 * Nats-Msg-Id, since JetStream answers a repeated one without delivering it. What can never be published is handed to
 * `refused`, and holds up nothing.
 */
export class Outbox {
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #limits: Limits;
  readonly #namespace: Namespace;
  readonly #log: Logger;
  readonly #traceOf: ((row: OutboxRow) => Promise<string | undefined>) | undefined;
  readonly #published: (shard: number, messageId: string) => void;
  readonly #refused: (refused: Undeliverable) => void;
  readonly #bundles = new Bundles();
  /** Rows on their way to JetStream. */
  readonly #held = new Map<string, Sending>();
  /** Rows that were published and stayed: how often again, and when (monotonic, ms) the next time. */
  readonly #stale = new Map<string, { rounds: number; nextAt: number }>();
  /** What is next, in order. */
  readonly #ready = new Set<Sending>();
  /** What waits behind the message of its pair that is on its way. */
  readonly #behind = new Map<string, Sending[]>();
  /** Pairs of which a row was left in Postgres, and when the last time, monotonic, ms: only sweeps publish theirs. */
  readonly #left = new Map<string, number>();
  /** For metrics. */
  readonly counts = { published: 0, failed: 0 };
  #full = false;
  #inFlight = 0;
  #stopped = false;

  constructor(options: {
    bus: Bus;
    clock: Clock;
    limits: Limits;
    namespace: Namespace;
    log: Logger;
    /** Finds the trace of a row that was read from Postgres; given only while tracing is on. */
    traceOf?: (row: OutboxRow) => Promise<string | undefined>;
    /** All outcomes of a row have reached JetStream: it may go. */
    published: (shard: number, messageId: string) => void;
    /** It can never reach JetStream. */
    refused: (refused: Undeliverable) => void;
  }) {
    this.#bus = options.bus;
    this.#clock = options.clock;
    this.#limits = options.limits;
    this.#namespace = options.namespace;
    this.#log = options.log;
    this.#traceOf = options.traceOf;
    this.#published = options.published;
    this.#refused = options.refused;
  }

  /** Rows on their way to JetStream. */
  get held(): number {
    return this.#held.size;
  }

  /** So many are on their way that nothing should be taken that causes more. */
  get isFull(): boolean {
    return this.#full;
  }

  /** Publishes rows, in the order they were sent, as soon as there is room; rows that are already on their way are left alone. */
  relay(rows: readonly OutboxRow[]): void {
    this.#bundles.add(rows);
    for (const row of rows) {
      const pair = pairOf(row);
      if (pair !== undefined && this.#left.has(pair)) this.#left.set(pair, this.#clock.monotonic());
      else this.#hold(row, row.messageId, pair);
    }
  }

  /** Publishes what an earlier owner of a shard has left. */
  resume(rows: readonly OutboxRow[]): void {
    this.relay(inOrder(this.#bundles.rest(rows)));
  }

  /**
   * Publishes rows again that have stayed too long. A target may just be far behind in the log, so each round waits
   * twice as long as the one before. When `rows` are `all` there are, what is not among them is forgotten.
   */
  relayAgain(rows: readonly OutboxRow[], all: boolean): void {
    const now = this.#clock.monotonic();
    const present = new Set<string>();
    const waiting = new Set<string>();
    const rest = this.#bundles.rest(rows);
    this.#bundles.add(rest);
    for (const row of inOrder(rest)) {
      const pair = pairOf(row);
      present.add(row.messageId);
      if (pair !== undefined && !this.#held.has(row.messageId)) waiting.add(pair);
      const known = this.#stale.get(row.messageId) ?? { rounds: 0, nextAt: now };
      if (known.nextAt > now || this.#held.has(row.messageId)) continue;
      const waitMs = this.#limits.outboxRepublishMs * 2 ** Math.min(known.rounds, 6);
      this.#stale.set(row.messageId, { rounds: known.rounds + 1, nextAt: now + waitMs });
      this.#hold(row, `${row.messageId}~${this.#clock.uuid().slice(0, 8)}`, pair);
    }
    if (!all) return;
    // All that was left of them has been seen by a sweep, and has arrived.
    for (const [pair, leftAt] of this.#left)
      if (!waiting.has(pair) && now > leftAt + 2 * this.#limits.outboxRepublishMs)
        this.#left.delete(pair);
    for (const messageId of this.#stale.keys())
      if (!present.has(messageId)) this.#stale.delete(messageId);
  }

  stop(): void {
    this.#stopped = true;
    this.#held.clear();
    this.#behind.clear();
    this.#ready.clear();
  }

  #hold(row: OutboxRow, messageId: string, pair: string | undefined): void {
    if (this.#held.has(row.messageId)) return;
    if (this.#held.size >= HELD_MAX) {
      // The rest is in Postgres and comes back with the stale ones.
      if (pair !== undefined) this.#left.set(pair, this.#clock.monotonic());
      return;
    }
    const sending = { row, messageId, pair, failures: 0 };
    this.#held.set(row.messageId, sending);
    if (this.#held.size >= FULL_AT) this.#full = true;
    const behind = pair === undefined ? undefined : this.#behind.get(pair);
    if (behind) return void behind.push(sending);
    if (pair !== undefined) this.#behind.set(pair, []);
    this.#queue(sending);
  }

  /** The log has it: the next one of the pair may go. */
  #next(pair: string | undefined): void {
    if (pair === undefined) return;
    const next = this.#behind.get(pair)?.shift();
    if (next) this.#queue(next);
    else this.#behind.delete(pair);
  }

  #queue(sending: Sending): void {
    this.#ready.add(sending);
    this.#drain();
  }

  #drain(): void {
    for (const next of this.#ready) {
      if (this.#inFlight >= IN_FLIGHT_MAX || this.#stopped) return;
      this.#ready.delete(next);
      this.#inFlight++;
      // Every job has an outcome: what is not made for each of them is felt.
      this.#publish(next).then(
        () => this.#ended(next),
        (error) => this.#ended(next, asError(error)),
      );
    }
  }

  #ended(sending: Sending, error?: Error): void {
    try {
      if (error) this.#failed(sending, error);
      else this.#arrived(sending);
    } finally {
      this.#inFlight--;
      this.#drain();
    }
  }

  #publish({ row, messageId }: Sending): Promise<unknown> {
    const { kind, type, id } = row;
    const isSend = kind === 'send';
    try {
      assertToken('type', type);
      assertToken('id', id);
      const subject = (isSend ? subjects.event : subjects.outcome)(this.#namespace, type, id);
      if (this.#traceOf)
        return this.#tracedHeaders(row, this.#traceOf).then((headers) =>
          this.#bus.publish(subject, row.body, { messageId, headers }),
        );
      const headers = isSend ? { headers: { [OUTBOX_HEADER]: row.messageId } } : undefined;
      return this.#bus.publish(subject, row.body, { messageId, ...headers });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #failed(sending: Sending, error: Error): void {
    const { row, messageId } = sending;
    if (this.#stopped) return;
    sending.failures++;
    this.counts.failed++;
    if (error instanceof PerdureError && FOR_GOOD.has(error.code)) {
      this.#leave(sending);
      const done = row.kind === 'send' ? row.messageId : this.#bundles.published(row);
      return this.#refused({ row, done, error });
    }
    const waitMs = 250 + backoff(this.#clock, sending.failures, 250, 5_000);
    if (sending.failures === 1) {
      const { sender, seq } = placeOf(row);
      const place = { actor: sender, shard: row.shard, seq, message: messageId };
      this.#log.warn({ ...place, error: error.message }, 'outbox: not published yet');
    }
    this.#clock.after(waitMs, () => {
      if (!this.#stopped) this.#queue(sending);
    });
  }

  /** The log has it. */
  #arrived(sending: Sending): void {
    const { row } = sending;
    this.#leave(sending);
    this.counts.published++;
    const done = row.kind === 'send' ? undefined : this.#bundles.published(row);
    if (done !== undefined && !this.#stopped) this.#published(row.shard, done);
  }

  #leave({ row, pair }: Sending): void {
    this.#held.delete(row.messageId);
    if (this.#held.size < ROOM_AT) this.#full = false;
    this.#next(pair);
  }

  async #tracedHeaders(
    row: OutboxRow,
    traceOf: (row: OutboxRow) => Promise<string | undefined>,
  ): Promise<Record<string, string>> {
    // A message does not wait for its trace.
    const trace = row.trace ?? (await traceOf(row).catch(() => undefined));
    return {
      ...(row.kind === 'send' && { [OUTBOX_HEADER]: row.messageId }),
      ...(trace !== undefined && traceHeaders(trace)),
    };
  }
}

/** `type/id/seq/index`: where a message comes from is part of its id. */
function pairOf({ kind, messageId, type, id }: OutboxRow): string | undefined {
  if (kind !== 'send') return undefined;
  const [senderType, senderId] = messageId.split('/', 2);
  return `${senderType}/${senderId} ${type}/${id}`;
}

/** Each sender's rows in the order they were sent: by transition, then by place in it. */
function inOrder(rows: readonly OutboxRow[]): OutboxRow[] {
  const placed = rows.map((row) => ({ row, place: placeOf(row) }));
  placed.sort(({ place: a }, { place: b }) =>
    a.sender === b.sender ? a.seq - b.seq || a.index - b.index : a.sender < b.sender ? -1 : 1,
  );
  return placed.map(({ row }) => row);
}

function placeOf({ messageId }: OutboxRow): { sender: string; seq: number; index: number } {
  const [type, id, seq, index] = messageId.split('/');
  return { sender: `${type}/${id}`, seq: Number(seq) || 0, index: Number(index) || 0 };
}
