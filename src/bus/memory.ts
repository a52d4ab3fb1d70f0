import type { Cancel, Clock } from '../clock.ts';
import { type Namespace, namespace } from '../config.ts';
import { PerdureError } from '../errors.ts';
import type { LogMessage, PublishAck, ReaderOptions } from './bus.ts';
import { MemoryBus } from './memoryBus.ts';
import { shardOf } from './subjects.ts';

export interface MemoryLogOptions {
  clock: Clock;
  shards: number;
  namespace?: Namespace;
  /** How long message ids are remembered, ms. Default 2 min. */
  duplicateWindowMs?: number;
  /** Largest message, bytes. Default 1 MiB, as nats-server. */
  bodyMaxBytes?: number;
  /** Messages the log holds before it is full. Default unlimited. */
  messagesMax?: number;
  /** How long one way between a node and the log takes, ms; 0 is "once what waits has been taken in". Default 0. */
  delayMs?: () => number;
}

/** A message at rest. */
export interface Stored {
  readonly seq: number;
  readonly subject: string;
  readonly body: Uint8Array;
  readonly messageId: string | null;
  readonly headers: Record<string, string>;
  /** ms since 1970 */
  readonly at: number;
}

/** Creates a log in memory, for simulation and tests. Many buses share one: `log.connect()`. */
export function createMemoryLog(options: MemoryLogOptions): MemoryLog {
  return new MemoryLog(options);
}

/**
 * The twin of a nats-server with one namespace: streams, consumers, and core NATS. It can be made to fail the
 * ways the real one does.
 */
export class MemoryLog {
  readonly clock: Clock;
  readonly namespace: Namespace;
  readonly bodyMaxBytes: number;
  /** Everything that was published as an outcome. */
  readonly outcomes: Stored[] = [];
  readonly buses = new Set<MemoryBus>();
  readonly #options: MemoryLogOptions;
  readonly #consumers = new Set<MemoryConsumer>();
  #shards: Stored[][];
  #ids = new Map<string, { seq: number; until: number }>();
  #generation = 1;
  #end = 0;
  #held = 0;
  #down = false;

  constructor(options: MemoryLogOptions) {
    this.#options = options;
    this.clock = options.clock;
    this.namespace = options.namespace ?? namespace();
    this.bodyMaxBytes = options.bodyMaxBytes ?? 1024 * 1024;
    this.#shards = Array.from({ length: options.shards }, () => []);
  }

  /** A bus of its own, as one node or client has it. */
  connect(): MemoryBus {
    const bus = new MemoryBus(this);
    this.buses.add(bus);
    return bus;
  }

  get down(): boolean {
    return this.#down;
  }

  /** The server dies and comes back: the log survives, the consumers' state does not. */
  setDown(down: boolean): void {
    if (this.#down === down) return;
    this.#down = down;
    for (const consumer of this.#consumers) consumer.lose('the server was restarted');
    for (const bus of this.buses) bus.wake();
  }

  /** The stream is lost and made again, empty, with another identity. */
  recreate(): void {
    this.#generation++;
    this.#end = 0;
    this.#held = 0;
    this.#ids = new Map();
    this.#shards = this.#shards.map(() => []);
    for (const consumer of this.#consumers) consumer.lose('the stream was deleted');
  }

  /** Deletes the consumers of a shard behind their readers' backs. */
  surprise(shard: number, reason = 'the consumer was deleted'): void {
    for (const consumer of this.#consumers)
      if (consumer.options.shard === shard) consumer.lose(reason);
  }

  /** The next delivery to the shard's readers gets lost on the way. */
  loseNext(shard: number): void {
    for (const consumer of this.#consumers)
      if (consumer.options.shard === shard) consumer.loseNext = true;
  }

  get id(): string {
    return `${this.namespace.jobsStream}@memory-${this.#generation}`;
  }

  get end(): number {
    return this.#end;
  }

  /** Runs `run` after one way over the network. */
  travel(run: () => void): void {
    const delay = this.#options.delayMs?.() ?? 0;
    if (delay > 0) this.clock.after(delay, run);
    else this.clock.soon(run);
  }

  /** @throws PerdureError `log_full`, `bad_subject` */
  store(
    subject: string,
    body: Uint8Array,
    messageId: string | null,
    headers: Record<string, string>,
  ): PublishAck {
    const prefix = this.namespace.subjectPrefix;
    const inner = subject.startsWith(prefix) ? subject.slice(prefix.length) : '';
    const [kind, type, id, ...rest] = inner.split('.');
    if (!type || !id || rest.length > 0 || !/^(jobs|events|outcomes)$/.test(kind ?? ''))
      throw new PerdureError('bad_subject', `No stream takes ${JSON.stringify(subject)}.`);
    const isOutcome = kind === 'outcomes';
    const idKey = messageId === null ? null : `${isOutcome ? 'o' : 'j'}:${messageId}`;
    const duplicate = idKey === null ? undefined : this.#ids.get(idKey);
    const now = this.clock.monotonic();
    if (duplicate && duplicate.until > now) return { seq: duplicate.seq, duplicate: true };
    if (!isOutcome && this.#held >= (this.#options.messagesMax ?? Number.POSITIVE_INFINITY))
      throw new PerdureError('log_full', 'maximum messages exceeded');
    const seq = isOutcome ? this.outcomes.length + 1 : ++this.#end;
    const stored: Stored = { seq, subject: inner, body, messageId, headers, at: this.clock.now() };
    if (idKey !== null) {
      this.#ids.delete(idKey);
      this.#ids.set(idKey, { seq, until: now + (this.#options.duplicateWindowMs ?? 120_000) });
      for (const [old, { until }] of this.#ids)
        if (until <= now) this.#ids.delete(old);
        else break;
    }
    if (isOutcome) this.outcomes.push(stored);
    else {
      const shard = shardOf(type, id, this.#options.shards);
      this.#shards[shard]?.push(stored);
      this.#held++;
      for (const consumer of this.#consumers) if (consumer.options.shard === shard) consumer.wake();
    }
    return { seq, duplicate: false };
  }

  trim(seq: number): void {
    this.#shards = this.#shards.map((stored) => stored.filter((message) => message.seq > seq));
    this.#held = this.#shards.reduce((sum, stored) => sum + stored.length, 0);
  }

  /** Messages of a shard from `seq` on. */
  *from(shard: number, seq: number): Generator<Stored> {
    const stored = this.#shards[shard] ?? [];
    let low = 0;
    let high = stored.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((stored[middle]?.seq ?? 0) < seq) low = middle + 1;
      else high = middle;
    }
    for (; low < stored.length; low++) yield stored[low] as Stored;
  }

  addConsumer(bus: MemoryBus, options: ReaderOptions): MemoryConsumer {
    for (const other of this.#consumers)
      if (other.options.shard === options.shard && other.options.epoch <= options.epoch)
        other.lose('the consumer was deleted');
    const consumer = new MemoryConsumer(this, bus, options);
    this.#consumers.add(consumer);
    consumer.wake();
    return consumer;
  }

  removeConsumer(consumer: MemoryConsumer): void {
    this.#consumers.delete(consumer);
  }
}

/** Consumer and reader in one: what the server believes (`#pending`) and what the reader holds (`#held`). */
export class MemoryConsumer {
  readonly options: ReaderOptions;
  loseNext = false;
  readonly #log: MemoryLog;
  readonly #bus: MemoryBus;
  /** Delivered and not acknowledged, as the server sees it, with the time it was delivered. */
  readonly #pending = new Map<number, number>();
  readonly #held = new Set<number>();
  #next: number;
  #gap = false;
  #lost: string | null = null;
  #stopped = false;
  #scheduled = false;
  #ackWait: Cancel = () => {};

  constructor(log: MemoryLog, bus: MemoryBus, options: ReaderOptions) {
    this.#log = log;
    this.#bus = bus;
    this.options = options;
    this.#next = options.startSeq;
    this.#nextAckWait();
  }

  /** Looks at the shard again, soon. */
  wake(): void {
    if (this.#scheduled || this.#stopped) return;
    this.#scheduled = true;
    this.#log.travel(() => {
      this.#scheduled = false;
      this.#deliver();
    });
  }

  /** The server loses the consumer; its reader learns of it as soon as it is connected. */
  lose(reason: string): void {
    this.#lost ??= reason;
    this.wake();
  }

  stop(): void {
    this.#stopped = true;
    this.#ackWait();
    this.#log.removeConsumer(this);
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Messages of the shard that were not delivered yet. */
  get waiting(): number {
    let count = 0;
    for (const _ of this.#log.from(this.options.shard, this.#next)) count++;
    return count;
  }

  #surprise(reason: string) {
    if (this.#stopped) return;
    this.stop();
    this.options.onSurprise(reason);
  }

  #deliver() {
    if (this.#stopped || !this.#bus.connected) return;
    if (this.#lost !== null) return this.#surprise(this.#lost);
    for (const stored of this.#log.from(this.options.shard, this.#next)) {
      if (this.#pending.size >= this.options.pendingMax) return;
      this.#next = stored.seq + 1;
      this.#pending.set(stored.seq, this.#log.clock.monotonic());
      if (this.loseNext) {
        this.loseNext = false;
        this.#gap = true;
        continue;
      }
      if (this.#gap) return this.#surprise('a delivery is missing');
      this.#held.add(stored.seq);
      try {
        this.options.onMessage(this.#message(stored));
      } catch (thrown) {
        return this.#surprise(`onMessage threw: ${String(thrown)}`);
      }
      if (this.#stopped || this.#lost !== null) return;
    }
  }

  #message(stored: Stored): LogMessage {
    const names = stored.headers;
    return {
      shard: this.options.shard,
      seq: stored.seq,
      subject: stored.subject,
      body: stored.body,
      messageId: stored.messageId,
      publishedAt: stored.at,
      header: (name) => names[name] ?? null,
      headers: () => ({ ...names }),
      ack: () => {
        if (!this.#held.has(stored.seq) || this.#stopped) return;
        const { connected } = this.#bus;
        for (const seq of this.#held)
          if (seq <= stored.seq) {
            this.#held.delete(seq);
            // Otherwise the word gets lost; ack-wait asks for it again.
            if (connected) this.#pending.delete(seq);
          }
        if (connected) this.wake();
      },
    };
  }

  /** Redelivery: to the reader it is a message it still holds, one it is done with, or one that got lost. */
  #nextAckWait() {
    this.#ackWait = this.#log.clock.after(this.options.ackWaitMs, () => {
      this.#nextAckWait();
      if (!this.#bus.connected) return;
      const now = this.#log.clock.monotonic();
      for (const [seq, at] of this.#pending) {
        if (this.#held.has(seq)) this.#pending.set(seq, now);
        else if (now - at >= this.options.ackWaitMs) {
          if (this.#gap) return this.#surprise(`message ${seq} came again`);
          this.#pending.delete(seq);
        }
      }
      this.wake();
    });
  }
}
