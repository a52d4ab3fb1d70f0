import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FeedEntry } from '../client.ts';
import { asError } from '../errors.ts';
import type { Logger } from '../log.ts';

/** Transitions a page that was away can catch up with. */
const KEPT_MAX = 5_000;
/** Transitions in one message; of more that happen at once only the last ones are told, and how many were left out. */
const BATCH_MAX = 200;
const FLUSH_MS = 100;
/** A page that reads slower than this much behind is let go, bytes; it comes back by itself. */
const BEHIND_MAX = 4_000_000;
/** Goes on listening for so long after the last page has gone, so that it can resume, ms. */
const LINGER_MS = 60_000;

/** Hears something until it is stopped by what it resolves to. */
export type Listening<T> = (hear: (heard: T) => void) => Promise<() => void>;

interface Stream {
  response: ServerResponse;
  /** Number of the last transition it was told. */
  sent: number;
}

/**
 * Pages that want to be told of the same transitions. Every message has an id, and a page that comes back with the last one
 * it has got is told what it missed; when that is gone, `reset` says that it has to look for itself.
 */
export class Channel {
  readonly #listen: Listening<FeedEntry> | undefined;
  readonly #log: Logger;
  readonly #over: () => void;
  /** Ids of another channel mean nothing here. */
  readonly #incarnation = randomUUID().slice(0, 8);
  readonly #streams = new Set<Stream>();
  #kept: FeedEntry[] = [];
  /** Number of the newest. */
  #last = 0;
  #listening: Promise<() => void> | undefined;
  #flush: NodeJS.Timeout | undefined;
  #linger: NodeJS.Timeout | undefined;

  /** @param listen left out: it tells of no transitions. @param over nobody has looked on for a while; it is not to be used again. */
  constructor(listen: Listening<FeedEntry> | undefined, log: Logger, over: () => void) {
    this.#listen = listen;
    this.#log = log;
    this.#over = over;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** Begins to listen, unless it does already. */
  async begin(): Promise<void> {
    clearTimeout(this.#linger);
    this.#linger = undefined;
    if (!this.#listen) return;
    if (!this.#listening) {
      this.#listening = this.#listen((entry) => this.#hear(entry));
      this.#flush = setInterval(() => this.#flushAll(), FLUSH_MS).unref();
      this.#listening.catch(() => this.close());
    }
    await this.#listening;
  }

  /** Answers with a stream of events that ends when the caller goes; `hello` is told to one that comes for the first time. */
  add(request: IncomingMessage, response: ServerResponse, hello: object): void {
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-accel-buffering': 'no',
    });
    const stream: Stream = { response, sent: this.#last };
    this.#resume(stream, request.headers['last-event-id'], hello);
    this.#streams.add(stream);
    response.on('close', () => this.#gone(stream));
    request.socket.setTimeout(0);
  }

  /** Tells all of them. */
  say(event: string, data: object): void {
    this.#flushAll();
    if (this.#streams.size === 0) return;
    const message = this.#message(event, data);
    for (const stream of this.#streams) write(stream, message);
  }

  /** Ends all streams, and listens no more. */
  close(): void {
    for (const { response } of this.#streams) response.end();
    clearTimeout(this.#linger);
    clearInterval(this.#flush);
    this.#listening?.then(
      (stop) => stop(),
      (error) => this.#log.warn({ reason: asError(error).message }, 'inspect: cannot listen'),
    );
    this.#listening = undefined;
    this.#over();
  }

  #resume(stream: Stream, lastId: string | string[] | undefined, hello: object): void {
    stream.response.write('retry: 1000\n\n');
    // One that is told of no transitions has missed none, and is told of the seconds before once more.
    if (lastId === undefined || !this.#listen) return write(stream, this.#message('hello', hello));
    const [incarnation, number] = String(lastId).split('-');
    const seen = Number(number);
    const oldest = this.#last - Math.min(this.#kept.length, KEPT_MAX);
    if (incarnation !== this.#incarnation || !(seen >= oldest && seen <= this.#last))
      return write(stream, this.#message('reset', {}));
    // What it has missed it is told whole.
    for (let from = seen; from < this.#last; from += BATCH_MAX) {
      const at = this.#kept.length - (this.#last - from);
      const entries = this.#kept.slice(at, at + BATCH_MAX);
      write(stream, this.#message('transitions', { entries, skipped: 0 }, from + entries.length));
    }
  }

  #gone(stream: Stream): void {
    this.#streams.delete(stream);
    if (this.#streams.size > 0 || this.#linger) return;
    this.#linger = setTimeout(() => this.close(), LINGER_MS).unref();
  }

  #hear(entry: FeedEntry): void {
    this.#last++;
    this.#kept.push(entry);
    if (this.#kept.length >= 2 * KEPT_MAX) this.#kept = this.#kept.slice(-KEPT_MAX);
  }

  #flushAll(): void {
    // What many pages are told is written once: on a busy cluster that is most of what telling them costs.
    const written = new Map<number, string | undefined>();
    for (const stream of this.#streams) {
      const { sent } = stream;
      if (sent >= this.#last) continue;
      if (!written.has(sent)) written.set(sent, this.#news(sent));
      stream.sent = this.#last;
      write(stream, written.get(sent));
    }
  }

  /** What happened after that one; undefined when nothing did. */
  #news(sent: number): string | undefined {
    if (sent >= this.#last) return undefined;
    const from = this.#kept.length - (this.#last - sent);
    if (from < 0) return this.#message('reset', {});
    const entries = this.#kept.slice(Math.max(from, this.#kept.length - BATCH_MAX));
    const skipped = this.#kept.length - from - entries.length;
    return this.#message('transitions', { entries, skipped });
  }

  #message(event: string, data: object, number = this.#last): string {
    return `id: ${this.#incarnation}-${number}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
  }
}

function write({ response }: Stream, message: string | undefined): void {
  if (message === undefined) return;
  if (response.writableLength > BEHIND_MAX) return void response.destroy();
  response.write(message);
}
