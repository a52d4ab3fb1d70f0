import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { rootOf } from '../actors/kin.ts';
import type { FeedEntry } from '../client.ts';
import { asError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { HttpError } from './httpError.ts';

/** Transitions a page that was away can catch up with. */
const KEPT_MAX = 5_000;
/** Transitions in one message; of more only the last ones are shown, and how many were left out. */
const BATCH_MAX = 200;
const FLUSH_MS = 100;
const RATES_MS = 1_000;
/** Seconds that a page which comes is told of. */
const RATES_KEPT = 90;
const STREAMS_MAX = 64;
/** A page that reads slower than this much behind is let go, bytes; it comes back by itself. */
const BEHIND_MAX = 1_000_000;
/** Goes on listening for so long after the last page has gone, so that it can resume, ms. */
const LINGER_MS = 60_000;

/** Where transitions are heard. */
export type Listen = (hear: (entry: FeedEntry) => void) => Promise<() => void>;

interface Stream {
  response: ServerResponse;
  wants: (entry: FeedEntry) => boolean;
  /** Streams with the same one want the same. */
  key: string;
  /** Number of the last one it was sent. */
  sent: number;
}

interface Rate {
  transitions: number;
  started: number;
  done: number;
  failed: number;
}

/** How long messages took from the log to their commit, ms: of half, and of 19 in 20. */
export interface Latency {
  p50: number;
  p95: number;
}

interface Second {
  types: Record<string, Rate>;
  /** Null when no message was committed. */
  latency: Latency | null;
}

/**
 * Tells pages what is committed, as it happens. Every message has an id, and a page that comes back with the last one
 * it has got is told what it missed; when that is gone, `reset` says that it has to look for itself.
 */
export class Live {
  readonly #listen: Listen;
  readonly #log: Logger;
  /** Ids of another incarnation mean nothing here. */
  readonly #incarnation = randomUUID().slice(0, 8);
  readonly #streams = new Set<Stream>();
  #kept: FeedEntry[] = [];
  /** Number of the newest. */
  #last = 0;
  #rates = new Map<string, Rate>();
  #waited: number[] = [];
  #told: Second[] = [];
  #listening: Promise<() => void> | undefined;
  #timers: NodeJS.Timeout[] = [];
  #linger: NodeJS.Timeout | undefined;

  constructor(listen: Listen, log: Logger) {
    this.#listen = listen;
    this.#log = log;
  }

  /** Answers with a stream of events that ends when the caller goes. @throws HttpError when too many look on */
  async open(
    request: IncomingMessage,
    response: ServerResponse,
    filter: { type?: string | undefined; id?: string | undefined },
  ): Promise<void> {
    if (this.#streams.size >= STREAMS_MAX)
      throw new HttpError(503, 'too_many_streams', `${STREAMS_MAX} pages look on already.`);
    await this.#begin();
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-accel-buffering': 'no',
    });
    const { type, id } = filter;
    const root = id === undefined ? undefined : rootOf({ type: type ?? '', id }).id;
    const wants = (entry: FeedEntry) =>
      (type === undefined || entry.type === type) &&
      (root === undefined || rootOf(entry).id === root);
    const key = `${type ?? ''}/${root ?? ''}`;
    const stream: Stream = { response, wants, key, sent: this.#last };
    this.#resume(stream, request.headers['last-event-id']);
    this.#streams.add(stream);
    response.on('close', () => this.#gone(stream));
    request.socket.setTimeout(0);
  }

  close(): void {
    for (const { response } of this.#streams) response.end();
    this.#stop();
  }

  #resume(stream: Stream, lastId: string | string[] | undefined): void {
    stream.response.write('retry: 1000\n\n');
    if (lastId === undefined) return this.#say(stream, 'hello', { seconds: this.#told });
    const [incarnation, number] = String(lastId).split('-');
    const seen = Number(number);
    const oldest = this.#last - this.#kept.length;
    if (incarnation !== this.#incarnation || !(seen >= oldest && seen <= this.#last))
      return this.#say(stream, 'reset', {});
    stream.sent = seen;
    this.#flush(stream);
  }

  async #begin(): Promise<void> {
    clearTimeout(this.#linger);
    this.#linger = undefined;
    if (!this.#listening) {
      this.#listening = this.#listen((entry) => this.#hear(entry));
      this.#timers = [
        setInterval(() => this.#flushAll(), FLUSH_MS).unref(),
        setInterval(() => this.#tellRates(), RATES_MS).unref(),
      ];
      this.#listening.catch(() => this.#stop());
    }
    await this.#listening;
  }

  #gone(stream: Stream): void {
    this.#streams.delete(stream);
    if (this.#streams.size > 0 || this.#linger) return;
    this.#linger = setTimeout(() => this.#stop(), LINGER_MS).unref();
  }

  #stop(): void {
    clearTimeout(this.#linger);
    this.#linger = undefined;
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    this.#listening?.then(
      (stop) => stop(),
      (error) => this.#log.warn({ reason: asError(error).message }, 'inspect: cannot listen'),
    );
    this.#listening = undefined;
    // What is not heard from here on leaves a gap, which nobody may resume over.
    this.#kept = [];
    this.#told = [];
    this.#last++;
  }

  #hear(entry: FeedEntry): void {
    this.#last++;
    this.#kept.push(entry);
    if (this.#kept.length >= 2 * KEPT_MAX) this.#kept = this.#kept.slice(-KEPT_MAX);
    const rate = this.#rates.get(entry.type) ?? { transitions: 0, started: 0, done: 0, failed: 0 };
    rate.transitions++;
    if (entry.seq === 1) rate.started++;
    if (entry.status === 'done') rate.done++;
    if (entry.status === 'error') rate.failed++;
    this.#rates.set(entry.type, rate);
    if (entry.waited !== undefined) this.#waited.push(entry.waited);
  }

  #flushAll(): void {
    // What many pages are told is written once: on a busy cluster that is most of what telling them costs.
    const written = new Map<string, string | undefined>();
    for (const stream of this.#streams) {
      if (stream.sent >= this.#last) continue;
      const key = `${stream.key}/${stream.sent}`;
      if (!written.has(key)) written.set(key, this.#news(stream));
      stream.sent = this.#last;
      this.#write(stream, written.get(key));
    }
  }

  #flush(stream: Stream): void {
    const news = this.#news(stream);
    stream.sent = this.#last;
    this.#write(stream, news);
  }

  /** What a stream has not been told yet; undefined when nothing of it is wanted. */
  #news({ sent, wants }: Stream): string | undefined {
    const from = this.#kept.length - (this.#last - sent);
    if (from < 0) return this.#message('reset', {});
    const entries: FeedEntry[] = [];
    let wanted = 0;
    // From the newest on: of many, most are only counted.
    for (let at = this.#kept.length - 1; at >= from; at--) {
      const entry = this.#kept[at] as FeedEntry;
      if (wants(entry) && ++wanted <= BATCH_MAX) entries.push(entry);
    }
    if (wanted === 0) return undefined;
    const skipped = wanted - entries.length;
    return this.#message('transitions', { entries: entries.reverse(), skipped });
  }

  #tellRates(): void {
    const second = { types: Object.fromEntries(this.#rates), latency: latencyOf(this.#waited) };
    this.#rates = new Map();
    this.#waited = [];
    this.#told = [...this.#told.slice(1 - RATES_KEPT), second];
    this.#flushAll();
    const message = this.#message('rates', second);
    for (const stream of this.#streams) this.#write(stream, message);
  }

  #say(stream: Stream, event: string, data: object): void {
    this.#write(stream, this.#message(event, data, stream.sent));
  }

  #message(event: string, data: object, sent = this.#last): string {
    return `id: ${this.#incarnation}-${sent}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
  }

  #write({ response }: Stream, message: string | undefined): void {
    if (message === undefined) return;
    if (response.writableLength > BEHIND_MAX) return void response.destroy();
    response.write(message);
  }
}

/** Pure; each is one of the values. */
function latencyOf(waited: readonly number[]): Latency | null {
  if (waited.length === 0) return null;
  const sorted = waited.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.ceil(share * sorted.length) - 1] as number;
  return { p50: at(0.5), p95: at(0.95) };
}
