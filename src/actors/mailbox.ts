import type { EventObject } from 'xstate';
import type { LogMessage } from '../bus/bus.ts';
import type { Address } from '../store/store.ts';
import type { Outcome } from './invocation.ts';
import type { Undeliverable } from './undeliverable.ts';

/** Told by what runs for an actor since its transition `seq`. */
interface FromChild {
  address: Address;
  invokeId: string;
  seq: number;
}

/** Everything a shard can be told. Only the shard's pump takes it out. */
export type Item =
  | { kind: 'message'; message: LogMessage }
  | { kind: 'settled'; address: Address; invokeId: string; seq: number; outcome: Outcome }
  | (FromChild & { kind: 'sent'; eventId: string; event: EventObject })
  | (FromChild & { kind: 'next'; eventId: string; value: unknown })
  | (FromChild & {
      kind: 'stepped';
      name: string;
      /** Encoded. */
      result: string;
      recorded: (refused: Error | undefined) => void;
    })
  | { kind: 'timer'; address: Address; timerId: string; armedSeq: number; event: string }
  | { kind: 'self'; address: Address; eventId: string; event: { type: string } }
  | { kind: 'failed'; address: Address; error: Error }
  | { kind: 'acted'; address: Address; seq: number }
  | { kind: 'published'; messageId: string }
  | ({ kind: 'undeliverable' } & Undeliverable);

export type Message = Extract<Item, { kind: 'message' }>;

/**
 * A shard's mailbox: two lanes, each first in, first out. What the shard's own effects report goes ahead of the log,
 * so that running actors are never stuck behind a backlog of new ones. The log lane is bounded by the reader
 * (`shardPendingMax`: the server stops delivering), the other by what this node runs.
 */
export class Mailbox {
  #inner: Item[] = [];
  #log: Message[] = [];

  push(item: Item): void {
    if (item.kind === 'message') this.#log.push(item);
    else this.#inner.push(item);
  }

  /**
   * Takes everything of the inner lane and up to `logMax` of the log lane, so that what runs finishes before more is
   * started.
   */
  take(logMax: number): Item[] {
    const items = this.#inner;
    this.#inner = [];
    if (logMax <= 0 || this.#log.length === 0) return items;
    const log = this.takeMessages(logMax);
    return items.length === 0 ? log : [...items, ...log];
  }

  /** The oldest messages of the log lane. */
  takeMessages(max: number): Message[] {
    const log = this.#log;
    if (log.length <= max) {
      this.#log = [];
      return log;
    }
    this.#log = log.slice(max);
    return log.slice(0, max);
  }

  /** Messages of the log that wait. */
  get messages(): number {
    return this.#log.length;
  }

  /** How much of it is for one actor. */
  waitingFor({ type, id }: Address): number {
    let waiting = 0;
    for (const item of this.#inner)
      if ('address' in item && item.address.type === type && item.address.id === id) waiting++;
    const ending = `.${type}.${id}`;
    for (const { message } of this.#log) if (message.subject.endsWith(ending)) waiting++;
    return waiting;
  }

  /** Nothing of this node's own waits. */
  get innerIsEmpty(): boolean {
    return this.#inner.length === 0;
  }

  get size(): number {
    return this.#inner.length + this.#log.length;
  }
}
