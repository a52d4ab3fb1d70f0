import type { NatsConnection } from '@nats-io/transport-node';
import type { Publish } from './outgoing.ts';
import { takesBatches } from './topology.ts';
import { headersOf } from './wire.ts';

/** As many as the server takes (NATS ADR-50): what it does for each batch is a ninth of its work with half as many. */
const MESSAGES_MAX = 1_000;
/** What a batch may hold, bytes: the server keeps it in memory until it is whole. */
const BYTES_MAX = 1024 * 1024;
/** Batches and lone messages of one stream without an answer; while they are there, what comes gathers. */
const IN_FLIGHT_MAX = 2;
/** A stream that refused a batch gets none for this long, ms. */
const REST_MS = 5_000;

const ID = 'Nats-Batch-Id';
const SEQUENCE = 'Nats-Batch-Sequence';
const COMMIT = 'Nats-Batch-Commit';
/** What says to JetStream that a message is part of a batch; it stays on the stored message. */
export const BATCH_HEADERS: readonly string[] = [ID, SEQUENCE, COMMIT];

interface Batch {
  readonly stream: string;
  readonly entries: readonly Publish[];
  readonly sentAt: number;
}

/**
 * Messages that wait for the same stream, stored together: one sync of the disk for all of them. Source: NATS ADR-50,
 * atomic batch publish. A batch is stored whole or not at all, so that whatever goes wrong with one, its messages go
 * again alone; each has an id, and is stored once.
 */
export class Batches {
  readonly #open = new Map<string, Batch>();
  readonly #inFlight = new Map<string, number>();
  /** Streams that take no batch, until when. */
  readonly #resting = new Map<string, number>();
  #count = 0;

  /** Whether one may be sent to the stream by this server. */
  allows(stream: string, server: NatsConnection, now: number): boolean {
    return takesBatches(server.info?.version ?? '') && now >= (this.#resting.get(stream) ?? 0);
  }

  /** Whether what waits for the stream waits on. */
  isBusy(stream: string): boolean {
    return (this.#inFlight.get(stream) ?? 0) >= IN_FLIGHT_MAX;
  }

  begun(stream: string): void {
    this.#inFlight.set(stream, (this.#inFlight.get(stream) ?? 0) + 1);
  }

  ended(stream: string): void {
    // A connection that was lost has forgotten them already.
    this.#inFlight.set(stream, Math.max(0, (this.#inFlight.get(stream) ?? 0) - 1));
  }

  /** How many of these, the first at least, make one batch. */
  fitting(entries: readonly Publish[]): number {
    let bytes = 0;
    for (let i = 0; i < Math.min(entries.length, MESSAGES_MAX); i++) {
      bytes += entries[i]?.body.length ?? 0;
      if (bytes > BYTES_MAX) return Math.max(1, i);
    }
    return Math.min(entries.length, MESSAGES_MAX);
  }

  /** Sends them as one; the server answers once, to `inbox` and the token that is returned. */
  send(
    server: NatsConnection,
    inbox: string,
    stream: string,
    entries: readonly Publish[],
    now: number,
  ): string {
    // Tokens of lone messages have no capitals.
    const token = `B${(++this.#count).toString(36)}`;
    const id = `${inbox.slice(-9, -1)}${token}`;
    for (const [i, { subject, body, headers }] of entries.entries()) {
      const place = `\r\n${ID}: ${id}\r\n${SEQUENCE}: ${i + 1}`;
      const isLast = i + 1 === entries.length;
      const options = isLast
        ? { reply: inbox + token, headers: headersOf(`${headers}${place}\r\n${COMMIT}: 1`) }
        : { headers: headersOf(headers + place) };
      server.publish(subject, bytes(body), options);
    }
    this.#open.set(token, { stream, entries, sentAt: now });
    this.begun(stream);
    return token;
  }

  /** The batch that this token names, if it was still waited for; it is no more. */
  take(token: string): Batch | undefined {
    const batch = this.#open.get(token);
    if (batch !== undefined) {
      this.#open.delete(token);
      this.ended(batch.stream);
    }
    return batch;
  }

  /** Sends the stream none for a while. */
  rest(stream: string, now: number): void {
    this.#resting.set(stream, now + REST_MS);
  }

  /** Ends batches that were sent before, and have no answer. */
  endBefore(before: number): void {
    for (const [token, batch] of this.#open) if (batch.sentAt < before) this.take(token);
  }

  /** The connection was lost, and with it all answers. */
  clear(): void {
    this.#open.clear();
    this.#inFlight.clear();
    this.#resting.clear();
  }
}

/** The client's own way for a text takes several times as long. */
export const bytes = (body: Uint8Array | string): Uint8Array =>
  typeof body === 'string' ? Buffer.from(body) : body;
