import type { IncomingMessage, ServerResponse } from 'node:http';
import { rootOf } from '../actors/kin.ts';
import type { PulseWord } from '../actors/pulse.ts';
import type { FeedEntry } from '../client.ts';
import type { Logger } from '../log.ts';
import { Channel, type Listening } from './channel.ts';
import { HttpError } from './httpError.ts';

const RATES_MS = 1_000;
/** Nodes tell of themselves once a second: when none has for so long, there is none, or nobody hears them. */
const SILENT_MS = 3_000;
/** Pulses of a node that wait for their second: one, so that one that comes a little late leaves no gap. */
const WAITING_MAX = 1;
/** Seconds that a page which comes is told of. */
const RATES_KEPT = 90;
const STREAMS_MAX = 64;
/** Transitions that are told with the rates. */
const RECENT = 10;

/** Where transitions and pulses are heard. */
export interface Sources {
  /** Transitions of one type, or of one actor's family; of all. */
  listen(of: { type?: string; id?: string }, hear: (entry: FeedEntry) => void): Promise<() => void>;
  pulses: Listening<PulseWord>;
}

export interface Wanted {
  type?: string | undefined;
  id?: string | undefined;
  /** No transitions but the last ones, once a second. */
  only?: 'rates' | undefined;
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

/** Tells pages what is committed, as it happens, and how much. */
export class Live {
  readonly #sources: Sources;
  readonly #log: Logger;
  /** By what they want. */
  readonly #channels = new Map<string, Channel>();
  /** What each node has told and is not told on yet, oldest first. */
  readonly #pulses = new Map<string, PulseWord[]>();
  #told: Second[] = [];
  /** Transitions that were told with pulses since the last second. */
  #recent: FeedEntry[] = [];
  /** When a node was heard the last time, of `performance.now()`. */
  #heardAt = 0;
  #listening: Promise<() => void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(sources: Sources, log: Logger) {
    this.#sources = sources;
    this.#log = log;
  }

  /** Answers with a stream of events that ends when the caller goes. @throws HttpError when too many look on */
  async open(request: IncomingMessage, response: ServerResponse, wanted: Wanted): Promise<void> {
    const all = [...this.#channels.values()].reduce((sum, { size }) => sum + size, 0);
    if (all >= STREAMS_MAX)
      throw new HttpError(503, 'too_many_streams', `${STREAMS_MAX} pages look on already.`);
    const channel = this.#channelOf(wanted);
    await Promise.all([channel.begin(), this.#begin()]);
    channel.add(request, response, { seconds: this.#told });
  }

  close(): void {
    for (const channel of [...this.#channels.values()]) channel.close();
  }

  #channelOf({ type, id, only }: Wanted): Channel {
    const root = id === undefined ? undefined : rootOf({ type: type ?? '', id }).id;
    const key = only ?? `${type ?? '*'}/${root ?? '*'}`;
    const known = this.#channels.get(key);
    if (known) return known;
    const of = { ...(type !== undefined && { type }), ...(root !== undefined && { id: root }) };
    const channel = new Channel(
      only ? undefined : (hear) => this.#sources.listen(of, hear),
      this.#log,
      () => {
        this.#channels.delete(key);
        if (this.#channels.size === 0) this.#stop();
      },
    );
    this.#channels.set(key, channel);
    return channel;
  }

  async #begin(): Promise<void> {
    if (!this.#listening) {
      this.#listening = this.#sources.pulses((told) => this.#hear(told));
      this.#heardAt = performance.now();
      this.#timer = setInterval(() => this.#tellRates(), RATES_MS).unref();
      this.#listening.catch(() => this.#stop());
    }
    await this.#listening;
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#listening?.then(
      (stop) => stop(),
      () => {},
    );
    this.#listening = undefined;
    this.#pulses.clear();
    this.#recent = [];
    this.#told = [];
  }

  #hear(told: PulseWord): void {
    this.#heardAt = performance.now();
    const waiting = this.#pulses.get(told.node);
    if (waiting) waiting.push(told);
    // The first one waits: the second one is heard a second later, more or less.
    else this.#pulses.set(told.node, [NOTHING, told]);
    this.#recent.push(...(told.recent as FeedEntry[]));
  }

  /** One of each node, each of them once; more when they have piled up. */
  #dueNow(): PulseWord[] {
    const due: PulseWord[] = [];
    for (const [node, waiting] of this.#pulses) {
      due.push(...waiting.splice(0, Math.max(1, waiting.length - WAITING_MAX)));
      if (waiting.length === 0) this.#pulses.delete(node);
    }
    return due;
  }

  #tellRates(): void {
    const told = this.#dueNow();
    const second = { types: ratesOf(told), latency: latencyOf(told.flatMap((one) => one.waited)) };
    this.#told = [...this.#told.slice(1 - RATES_KEPT), second];
    const recent = this.#recent.splice(0).sort((a, b) => (a.at ?? 0) - (b.at ?? 0));
    const silent = performance.now() - this.#heardAt > SILENT_MS;
    const message = { ...second, recent: recent.slice(-RECENT), silent };
    for (const channel of this.#channels.values()) channel.say('rates', message);
  }
}

const NOTHING: PulseWord = { node: '', word: 'pulse', types: {}, waited: [], recent: [] };

function ratesOf(told: readonly PulseWord[]): Record<string, Rate> {
  const rates = new Map<string, Rate>();
  for (const { types } of told)
    for (const [type, { transitions, started, done, error }] of Object.entries(types)) {
      const rate = rates.get(type) ?? { transitions: 0, started: 0, done: 0, failed: 0 };
      rates.set(type, {
        transitions: rate.transitions + transitions,
        started: rate.started + started,
        done: rate.done + done,
        failed: rate.failed + error,
      });
    }
  return Object.fromEntries(rates);
}

/** Pure; each is one of the values. */
function latencyOf(waited: readonly number[]): Latency | null {
  if (waited.length === 0) return null;
  const sorted = waited.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.ceil(share * sorted.length) - 1] as number;
  return { p50: at(0.5), p95: at(0.95) };
}
