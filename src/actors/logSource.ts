import type { Bus } from '../bus/bus.ts';
import { fnv1a } from '../bus/subjects.ts';
import type { Logger } from '../log.ts';
import type { Store } from '../store/store.ts';

/** Eight hex digits are enough to tell one stream from its predecessor. */
export const logTag = (logId: string): string => fnv1a(logId).toString(16).padStart(8, '0');

/**
 * The stream this node reads, by name and creation time. A stream that was lost and made again counts from 1: cursors
 * of the old one would skip what is in the new one, so they start over, and what had not been applied is published
 * again from the outbox when the shards are opened.
 */
export class LogSource {
  readonly #bus: Bus;
  readonly #store: Store;
  readonly #log: Logger;
  /** Every shard must be opened again. */
  readonly #onOther: () => void;
  #id = '';
  #tag = '';
  #checking: Promise<void> | undefined;

  constructor(bus: Bus, store: Store, log: Logger, onOther: () => void) {
    this.#onOther = onOther;
    this.#bus = bus;
    this.#store = store;
    this.#log = log;
  }

  get id(): string {
    return this.#id;
  }

  /** Short name of the identity; part of the ids of messages that came without one. */
  get tag(): string {
    return this.#tag;
  }

  /**
   * Looks which stream there is now; callers at the same time share one look.
   * @throws PerdureError when NATS does not answer
   */
  check(): Promise<void> {
    this.#checking ??= this.#look().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  async #look(): Promise<void> {
    const id = await this.#bus.logId();
    if (id === this.#id) return;
    const startedOver = await this.#store.adoptLog(id);
    if (startedOver)
      this.#log.warn({ log: id }, 'log: the stream was recreated, reading it from its start');
    const isFirst = this.#id === '';
    this.#id = id;
    this.#tag = logTag(id);
    if (!isFirst) this.#onOther();
  }
}
