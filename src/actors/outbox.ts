import type { Bus } from '../bus/bus.ts';
import { OUTBOX_HEADER, subjects } from '../bus/subjects.ts';
import { backoff, type Clock } from '../clock.ts';
import type { Limits, Namespace } from '../config.ts';
import { asError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { OutboxRow } from '../store/store.ts';

interface Sending {
  row: OutboxRow;
  attempt: number;
  /** Monotonic time of the next attempt, ms. */
  nextAt: number;
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
  readonly #held = new Map<string, Sending>();
  readonly #ready: Sending[] = [];
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

  /** Publishes rows as soon as there is room; rows that are already on their way are left alone. */
  relay(rows: readonly OutboxRow[]): void {
    for (const row of rows) {
      const known = this.#held.get(row.messageId);
      if (known) {
        if (known.nextAt <= this.#clock.monotonic()) this.#queue(known);
        continue;
      }
      if (this.#held.size >= HELD_MAX) return;
      const sending = { row, attempt: 0, nextAt: 0 };
      this.#held.set(row.messageId, sending);
      this.#queue(sending);
    }
  }

  /** The row is gone. */
  forget(messageId: string): void {
    this.#held.delete(messageId);
  }

  stop(): void {
    this.#stopped = true;
    this.#held.clear();
    this.#ready.length = 0;
  }

  #queue(sending: Sending): void {
    sending.nextAt = Number.POSITIVE_INFINITY;
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
    const { row } = sending;
    sending.attempt++;
    const messageId =
      sending.attempt === 1 ? row.messageId : `${row.messageId}~${this.#clock.uuid().slice(0, 8)}`;
    const subject =
      row.kind === 'send'
        ? subjects.event(this.#namespace, row.type, row.id)
        : subjects.outcome(this.#namespace, row.type, row.id);
    try {
      await this.#bus.publish(subject, row.body, {
        messageId,
        ...(row.kind === 'send' ? { headers: { [OUTBOX_HEADER]: row.messageId } } : {}),
      });
    } catch (error) {
      if (this.#stopped) return;
      const waitMs = 250 + backoff(this.#clock, sending.attempt, 250, 5_000);
      this.#log.warn(
        { messageId: row.messageId, error: asError(error).message },
        'outbox: not published yet',
      );
      sending.nextAt = this.#clock.monotonic() + waitMs;
      this.#clock.after(waitMs, () => {
        if (
          this.#held.get(row.messageId) === sending &&
          sending.nextAt !== Number.POSITIVE_INFINITY
        )
          this.#queue(sending);
      });
      return;
    }
    if (this.#stopped) return;
    if (row.kind === 'outcome') {
      this.#held.delete(row.messageId);
      this.#published(row);
    } else {
      // Its target may be far behind in the log: each republish waits twice as long as the one before.
      sending.nextAt =
        this.#clock.monotonic() +
        this.#limits.outboxRepublishMs * 2 ** Math.min(sending.attempt - 1, 6);
    }
  }
}
