import type { Bus } from '../bus/bus.ts';
import { OUTBOX_HEADER, subjects } from '../bus/subjects.ts';
import { backoff, type Clock } from '../clock.ts';
import type { Limits, Namespace } from '../config.ts';
import { asError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { OutboxRow } from '../store/store.ts';

interface Sending {
  row: OutboxRow;
  /** Nats-Msg-Id of this round. */
  messageId: string;
  failures: number;
}

/** Rows that are being published at once; more wait for their turn. */
const IN_FLIGHT_MAX = 500;
/** Rows held in memory; more stay in Postgres until the next sweep finds them. */
const HELD_MAX = 20_000;

/**
 * Publishes committed outbox rows. A `send` row stays until its target's shard applied it (that commit deletes the
 * row); an `outcome` row until JetStream acknowledged it. A row that stays is published again with a fresh
 * Nats-Msg-Id, since JetStream answers a repeated one without delivering it.
 */
export class Outbox {
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #limits: Limits;
  readonly #namespace: Namespace;
  readonly #log: Logger;
  readonly #published: (row: OutboxRow) => void;
  /** Rows on their way to JetStream. */
  readonly #held = new Map<string, Sending>();
  /** Rows that were published and stayed: how often again, and when (monotonic, ms) the next time. */
  readonly #stale = new Map<string, { rounds: number; nextAt: number }>();
  readonly #ready: Sending[] = [];
  /** For metrics. */
  readonly counts = { published: 0, failed: 0 };
  #inFlight = 0;
  #stopped = false;

  constructor(options: {
    bus: Bus;
    clock: Clock;
    limits: Limits;
    namespace: Namespace;
    log: Logger;
    /** An outcome reached JetStream: its row may go. */
    published: (row: OutboxRow) => void;
  }) {
    this.#bus = options.bus;
    this.#clock = options.clock;
    this.#limits = options.limits;
    this.#namespace = options.namespace;
    this.#log = options.log;
    this.#published = options.published;
  }

  /** Rows on their way to JetStream. */
  get held(): number {
    return this.#held.size;
  }

  /** Publishes rows as soon as there is room; rows that are already on their way are left alone. */
  relay(rows: readonly OutboxRow[]): void {
    for (const row of rows) this.#hold(row, row.messageId);
  }

  /**
   * Publishes rows again that have stayed too long. A target may just be far behind in the log, so each round waits
   * twice as long as the one before. `rows` are all there are: what is not among them is forgotten.
   */
  relayAgain(rows: readonly OutboxRow[]): void {
    const now = this.#clock.monotonic();
    const present = new Set<string>();
    for (const row of rows) {
      present.add(row.messageId);
      const known = this.#stale.get(row.messageId) ?? { rounds: 0, nextAt: now };
      if (known.nextAt > now || this.#held.has(row.messageId)) continue;
      const waitMs = this.#limits.outboxRepublishMs * 2 ** Math.min(known.rounds, 6);
      this.#stale.set(row.messageId, { rounds: known.rounds + 1, nextAt: now + waitMs });
      this.#hold(row, `${row.messageId}~${this.#clock.uuid().slice(0, 8)}`);
    }
    for (const messageId of this.#stale.keys())
      if (!present.has(messageId)) this.#stale.delete(messageId);
  }

  stop(): void {
    this.#stopped = true;
    this.#held.clear();
    this.#ready.length = 0;
  }

  #hold(row: OutboxRow, messageId: string): void {
    // The rest is in Postgres and comes back with the stale ones.
    if (this.#held.has(row.messageId) || this.#held.size >= HELD_MAX) return;
    const sending = { row, messageId, failures: 0 };
    this.#held.set(row.messageId, sending);
    this.#queue(sending);
  }

  #queue(sending: Sending): void {
    this.#ready.push(sending);
    this.#drain();
  }

  #drain(): void {
    while (this.#inFlight < IN_FLIGHT_MAX && !this.#stopped) {
      const next = this.#ready.shift();
      if (!next) return;
      this.#inFlight++;
      void this.#publish(next).finally(() => {
        this.#inFlight--;
        this.#drain();
      });
    }
  }

  async #publish(sending: Sending): Promise<void> {
    const { row, messageId } = sending;
    const isSend = row.kind === 'send';
    const subject = isSend
      ? subjects.event(this.#namespace, row.type, row.id)
      : subjects.outcome(this.#namespace, row.type, row.id);
    try {
      const headers = isSend ? { headers: { [OUTBOX_HEADER]: row.messageId } } : undefined;
      await this.#bus.publish(subject, row.body, { messageId, ...headers });
    } catch (error) {
      if (this.#stopped) return;
      sending.failures++;
      this.counts.failed++;
      const waitMs = 250 + backoff(this.#clock, sending.failures, 250, 5_000);
      if (sending.failures === 1)
        this.#log.warn(
          { message: messageId, error: asError(error).message },
          'outbox: not published yet',
        );
      this.#clock.after(waitMs, () => {
        if (!this.#stopped) this.#queue(sending);
      });
      return;
    }
    this.#held.delete(row.messageId);
    this.counts.published++;
    if (!isSend && !this.#stopped) this.#published(row);
  }
}
