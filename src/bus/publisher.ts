import { createInbox, errors, type Msg } from '@nats-io/transport-node';
import type { Cancel, Clock } from '../clock.ts';
import { asError, type ErrorCode, PerdureError } from '../errors.ts';
import { judge, readAck } from './ack.ts';
import { Batches, bytes } from './batches.ts';
import type { PublishAck, PublishOptions } from './bus.ts';
import type { Connection } from './connection.ts';
import { checked, first, type Publish, Waiting } from './outgoing.ts';
import { headersOf } from './wire.ts';

/** Publishes without an answer yet, at most; more wait their turn. */
const IN_FLIGHT_MAX = 2_000;
const TIMEOUT_MS = 5_000;
/** A publish with a message id that has no answer yet is sent again after this, ms. */
const RESEND_MS = 2_000;
/** Pauses between tries while no stream answers, ms: 50, 100, … up to this. */
const PAUSE_MAX_MS = 800;
/** Deadlines are checked this often, ms; one timer for all is far cheaper than one each. */
const SWEEP_MS = 100;
/** JetStream's error code: one of the batch's ids is stored already, or occurs twice. */
const DUPLICATE_IN_BATCH = 10201;

interface PublishTrouble {
  /** Wall time, ms since 1970. */
  since: number;
  error: string;
}

/** Publishes to streams, many at once: one subscription for all answers, one timer for all deadlines. */
export class Publisher {
  readonly #connection: Connection;
  readonly #clock: Clock;
  /** The stream of this namespace that takes a subject. */
  readonly #streamOf: (subject: string) => string | undefined;
  readonly #onNoStream: () => void;
  readonly #inbox = `${createInbox()}.`;
  readonly #all = new Map<string, Publish>();
  readonly #waiting = new Waiting();
  readonly #batches = new Batches();
  readonly #undo: Cancel[];
  #sweep: Cancel | null = null;
  #inFlight = 0;
  #tokens = 0;
  #pumping = false;
  #pumpsSoon = false;
  #closed = false;
  #trouble: PublishTrouble | undefined;

  constructor(
    connection: Connection,
    clock: Clock,
    streamOf: (subject: string) => string | undefined,
    onNoStream: () => void,
  ) {
    this.#connection = connection;
    this.#clock = clock;
    this.#streamOf = streamOf;
    this.#onNoStream = onNoStream;
    this.#undo = [
      connection.subscribe(`${this.#inbox}*`, (error, msg) => {
        if (error === null) this.#onAnswer(msg);
      }),
      connection.onChange((connected) => {
        this.#trouble = undefined;
        if (connected) this.#pump();
        else this.#onDisconnect();
      }),
    ];
  }

  publish(
    subject: string,
    body: Uint8Array | string,
    options: PublishOptions,
  ): Promise<PublishAck> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new PerdureError('bus_unavailable', 'The bus is closed.'));
      const headers = checked(subject, options);
      const token = (++this.#tokens).toString(36);
      const entry: Publish = {
        token,
        subject,
        body,
        headers,
        hasId: options.messageId !== undefined,
        stream: options.messageId === undefined ? undefined : this.#streamOf(subject),
        deadline: this.#clock.monotonic() + (options.timeoutMs ?? TIMEOUT_MS),
        state: 'waiting',
        counted: false,
        batch: undefined,
        sentAt: 0,
        tries: 0,
        unknown: false,
        reason: 'not connected to NATS',
        resolve,
        reject,
      };
      this.#all.set(token, entry);
      this.#waiting.add(entry);
      this.#sweep ??= this.#clock.after(SWEEP_MS, () => this.#sweepAll());
      this.#pumpSoon();
    });
  }

  /** Publishes without an answer yet. */
  get pending(): number {
    return this.#all.size;
  }

  /** Why JetStream stores nothing although it can be reached; undefined once it has stored something. */
  get trouble(): Readonly<PublishTrouble> | undefined {
    return this.#trouble;
  }

  /** Fails whatever has no answer yet. */
  close(): void {
    this.#closed = true;
    for (const undo of this.#undo) undo();
    this.#sweep?.();
    for (const entry of this.#all.values()) this.#giveUp(entry, 'the bus was closed');
  }

  /** Once for all that is published in one go: it may be one batch. */
  #pumpSoon() {
    if (this.#pumpsSoon) return;
    this.#pumpsSoon = true;
    queueMicrotask(() => {
      this.#pumpsSoon = false;
      this.#pump();
    });
  }

  #pump() {
    if (this.#pumping || !this.#connection.connected) return;
    this.#pumping = true;
    const { nc } = this.#connection;
    const now = this.#clock.monotonic();
    for (const [stream, waiting] of this.#waiting.streams())
      while (waiting.size > 0 && this.#inFlight < IN_FLIGHT_MAX) {
        if (stream === undefined || !this.#batches.allows(stream, nc, now))
          this.#sendAlone(first(waiting, 1));
        else if (this.#batches.isBusy(stream)) break;
        else this.#sendSome(stream, first(waiting, IN_FLIGHT_MAX - this.#inFlight));
      }
    this.#pumping = false;
  }

  #sendSome(stream: string, waiting: readonly Publish[]) {
    const entries = waiting.slice(0, this.#batches.fitting(waiting));
    if (entries.length === 1) {
      for (const entry of entries) entry.counted = true;
      this.#batches.begun(stream);
      return this.#sendAlone(entries);
    }
    const now = this.#clock.monotonic();
    for (const entry of entries) {
      this.#leave(entry);
      entry.sentAt = now;
      entry.tries++;
      entry.unknown = true;
    }
    try {
      const token = this.#batches.send(this.#connection.nc, this.#inbox, stream, entries, now);
      for (const entry of entries) entry.batch = token;
    } catch {
      // One of them cannot be sent; alone each finds out.
      for (const entry of entries) this.#again(entry);
    }
  }

  #sendAlone(entries: readonly Publish[]) {
    for (const entry of entries) {
      this.#leave(entry);
      this.#send(entry);
    }
  }

  /** It is on its way. */
  #leave(entry: Publish) {
    this.#waiting.delete(entry);
    entry.state = 'sent';
    this.#inFlight++;
  }

  /** It is on its way no more. */
  #back(entry: Publish) {
    if (entry.state === 'sent') this.#inFlight--;
    if (entry.counted && entry.stream !== undefined) this.#batches.ended(entry.stream);
    entry.counted = false;
    this.#waiting.delete(entry);
  }

  /** Its batch was not stored: it goes alone. */
  #again(entry: Publish) {
    this.#back(entry);
    entry.stream = undefined;
    this.#waiting.add(entry);
  }

  #send(entry: Publish) {
    entry.sentAt = this.#clock.monotonic();
    entry.tries++;
    entry.batch = undefined;
    const { subject, body, headers } = entry;
    const reply = this.#inbox + entry.token;
    try {
      this.#connection.nc.publish(
        subject,
        bytes(body),
        headers === '' ? { reply } : { reply, headers: headersOf(headers) },
      );
      entry.unknown = true;
    } catch (thrown) {
      const error = asError(thrown);
      const code: ErrorCode = /max_payload/.test(error.message)
        ? 'body_too_large'
        : error instanceof errors.InvalidSubjectError
          ? 'bad_subject'
          : 'bus_unavailable';
      const max = this.#connection.nc.info?.max_payload;
      this.#fail(
        entry,
        code,
        code === 'body_too_large'
          ? `The message is larger than the server's max_payload of ${max} bytes.`
          : error.message,
      );
    }
  }

  #onAnswer(msg: Msg) {
    const token = msg.subject.slice(this.#inbox.length);
    const batch = this.#batches.take(token);
    if (batch !== undefined) return this.#onBatchAnswer(batch.stream, token, batch.entries, msg);
    const entry = this.#all.get(token);
    if (entry === undefined) return; // the answer to a second try, or too late
    if (msg.data.length === 0) return this.#onNoResponders(entry);
    const ack = readAck(msg);
    if (ack === undefined)
      return this.#fail(entry, 'bus_unavailable', 'JetStream answered something unreadable.');
    if (ack.error === undefined && typeof ack.seq === 'number') {
      this.#forget(entry);
      this.#trouble = undefined;
      entry.resolve({ seq: ack.seq, duplicate: ack.duplicate === true });
      return this.#pump();
    }
    entry.unknown = false;
    const verdict = judge(ack.error ?? {});
    if (verdict === 'again') this.#rest(entry, ack.error?.description ?? 'refused');
    else {
      const reason = `JetStream refused it: ${ack.error?.description}.`;
      if (verdict === 'log_full') this.#troubled(reason);
      this.#fail(entry, verdict, reason);
    }
  }

  #onBatchAnswer(stream: string, token: string, entries: readonly Publish[], msg: Msg) {
    const waiting = entries.filter((entry) => entry.batch === token && entry.state === 'sent');
    if (msg.data.length === 0) return waiting.forEach((entry) => this.#onNoResponders(entry));
    const ack = readAck(msg);
    if (ack?.error === undefined && ack?.count === entries.length && ack.seq !== undefined) {
      this.#trouble = undefined;
      for (const [i, entry] of entries.entries()) {
        if (!this.#all.has(entry.token)) continue;
        this.#forget(entry);
        // They are stored one behind the other.
        entry.resolve({ seq: ack.seq - (entries.length - 1 - i), duplicate: false });
      }
    } else {
      if (ack?.error?.err_code !== DUPLICATE_IN_BATCH)
        this.#batches.rest(stream, this.#clock.monotonic());
      for (const entry of waiting) this.#again(entry);
    }
    this.#pump();
  }

  #onNoResponders(entry: Publish) {
    entry.unknown = false;
    if (this.#streamOf(entry.subject) === undefined)
      return this.#fail(entry, 'bad_subject', `No stream takes ${JSON.stringify(entry.subject)}.`);
    // A leader is being elected, the server has just started, or the stream is gone.
    if (entry.tries === 3) this.#onNoStream();
    this.#rest(entry, 'no stream answers');
  }

  #rest(entry: Publish, reason: string) {
    entry.reason = reason;
    this.#back(entry);
    entry.state = 'resting';
    this.#clock.after(Math.min(PAUSE_MAX_MS, 25 * 2 ** Math.min(entry.tries, 10)), () => {
      if (entry.state !== 'resting' || !this.#all.has(entry.token)) return;
      this.#waiting.add(entry);
      this.#pump();
    });
    this.#pump();
  }

  #onDisconnect() {
    this.#batches.clear();
    for (const entry of this.#all.values()) {
      if (entry.state !== 'sent') continue;
      if (entry.hasId) {
        this.#back(entry);
        entry.reason = 'the connection was lost';
        this.#waiting.add(entry);
      } else this.#giveUp(entry, 'the connection was lost before JetStream answered');
    }
  }

  #sweepAll() {
    const now = this.#clock.monotonic();
    // Their messages go again alone, below.
    this.#batches.endBefore(now - RESEND_MS);
    for (const entry of this.#all.values()) {
      if (now >= entry.deadline) {
        // So does nats-server 2.15 once its disk was full, until it is started again.
        if (entry.state === 'sent') this.#troubled('JetStream does not answer what is published');
        this.#giveUp(entry, entry.reason);
      } else if (entry.state === 'sent' && entry.hasId && now - entry.sentAt > RESEND_MS)
        this.#send(entry);
    }
    this.#sweep = this.#all.size === 0 ? null : this.#clock.after(SWEEP_MS, () => this.#sweepAll());
  }

  #giveUp(entry: Publish, reason: string) {
    if (entry.unknown)
      this.#fail(
        entry,
        'timeout',
        'JetStream did not answer in time; it may have stored the message.',
      );
    else this.#fail(entry, 'bus_unavailable', `Could not publish: ${reason}.`);
  }

  #fail(entry: Publish, code: ErrorCode, message: string) {
    this.#forget(entry);
    entry.reject(new PerdureError(code, `${message} (subject ${entry.subject.slice(0, 300)})`));
    this.#pump();
  }

  #troubled(error: string) {
    this.#trouble = { since: this.#trouble?.since ?? this.#clock.now(), error };
  }

  #forget(entry: Publish) {
    if (this.#all.delete(entry.token)) this.#back(entry);
  }
}
