import { createInbox, errors, headers, type Msg, type MsgHdrs } from '@nats-io/transport-node';
import type { Cancel, Clock } from '../clock.ts';
import { asError, type ErrorCode, PerdureError } from '../errors.ts';
import type { PublishAck, PublishOptions } from './bus.ts';
import type { Connection } from './connection.ts';

/** Publishes without an answer yet, at most; more wait their turn. */
const IN_FLIGHT_MAX = 1_000;
const TIMEOUT_MS = 5_000;
/** A publish with a message id that has no answer yet is sent again after this, ms. */
const RESEND_MS = 2_000;
/** Pauses between tries while no stream answers, ms: 50, 100, … up to this. */
const PAUSE_MAX_MS = 800;
/** Deadlines are checked this often, ms; one timer for all is far cheaper than one each. */
const SWEEP_MS = 100;

const decoder = new TextDecoder();

interface Publish {
  readonly token: string;
  readonly subject: string;
  readonly body: Uint8Array | string;
  readonly headers: MsgHdrs | undefined;
  /** Sending it twice is harmless. */
  readonly hasId: boolean;
  readonly deadline: number;
  state: 'waiting' | 'sent' | 'resting';
  sentAt: number;
  tries: number;
  /** Sent, and neither stored nor refused for certain. */
  unknown: boolean;
  /** Why the last try did not work. */
  reason: string;
  resolve(ack: PublishAck): void;
  reject(error: PerdureError): void;
}

interface PublishTrouble {
  /** Wall time, ms since 1970. */
  since: number;
  error: string;
}

interface AckBody {
  seq?: number;
  duplicate?: boolean;
  error?: { code?: number; err_code?: number; description?: string };
}

/** Publishes to streams, many at once: one subscription for all answers, one timer for all deadlines. */
export class Publisher {
  readonly #connection: Connection;
  readonly #clock: Clock;
  /** A subject that a stream of this namespace takes. */
  readonly #known: (subject: string) => boolean;
  readonly #onNoStream: () => void;
  readonly #inbox = `${createInbox()}.`;
  readonly #all = new Map<string, Publish>();
  readonly #waiting = new Set<Publish>();
  readonly #undo: Cancel[];
  #sweep: Cancel | null = null;
  #inFlight = 0;
  #tokens = 0;
  #pumping = false;
  #closed = false;
  #trouble: PublishTrouble | undefined;

  constructor(
    connection: Connection,
    clock: Clock,
    known: (subject: string) => boolean,
    onNoStream: () => void,
  ) {
    this.#connection = connection;
    this.#clock = clock;
    this.#known = known;
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
      // The server would take these literally, and no reader could name them.
      if (!/^[^\s.*>]+(\.[^\s.*>]+)*$/.test(subject))
        return reject(
          new PerdureError(
            'bad_subject',
            `${JSON.stringify(subject.slice(0, 300))} is no subject.`,
          ),
        );
      let encoded: MsgHdrs | undefined;
      try {
        encoded = encode(options);
      } catch (thrown) {
        return reject(new PerdureError('bad_event', `Bad header: ${asError(thrown).message}`));
      }
      const token = (++this.#tokens).toString(36);
      const entry: Publish = {
        token,
        subject,
        body,
        headers: encoded,
        hasId: options.messageId !== undefined,
        deadline: this.#clock.monotonic() + (options.timeoutMs ?? TIMEOUT_MS),
        state: 'waiting',
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
      this.#pump();
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

  #pump() {
    if (this.#pumping || !this.#connection.connected) return;
    this.#pumping = true;
    for (const entry of this.#waiting) {
      if (this.#inFlight >= IN_FLIGHT_MAX) break;
      this.#waiting.delete(entry);
      entry.state = 'sent';
      this.#inFlight++;
      this.#send(entry);
    }
    this.#pumping = false;
  }

  #send(entry: Publish) {
    entry.sentAt = this.#clock.monotonic();
    entry.tries++;
    try {
      const reply = this.#inbox + entry.token;
      this.#connection.nc.publish(
        entry.subject,
        entry.body,
        entry.headers === undefined ? { reply } : { reply, headers: entry.headers },
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
    const entry = this.#all.get(msg.subject.slice(this.#inbox.length));
    if (entry === undefined) return; // the answer to a second try, or too late
    if (msg.data.length === 0) return this.#onNoResponders(entry);
    let ack: AckBody;
    try {
      ack = JSON.parse(decoder.decode(msg.data)) as AckBody;
    } catch {
      return this.#fail(entry, 'bus_unavailable', 'JetStream answered something unreadable.');
    }
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

  #onNoResponders(entry: Publish) {
    entry.unknown = false;
    if (!this.#known(entry.subject))
      return this.#fail(entry, 'bad_subject', `No stream takes ${JSON.stringify(entry.subject)}.`);
    // A leader is being elected, the server has just started, or the stream is gone.
    if (entry.tries === 3) this.#onNoStream();
    this.#rest(entry, 'no stream answers');
  }

  #rest(entry: Publish, reason: string) {
    entry.reason = reason;
    if (entry.state === 'sent') this.#inFlight--;
    this.#waiting.delete(entry);
    entry.state = 'resting';
    this.#clock.after(Math.min(PAUSE_MAX_MS, 25 * 2 ** Math.min(entry.tries, 10)), () => {
      if (entry.state !== 'resting' || !this.#all.has(entry.token)) return;
      entry.state = 'waiting';
      this.#waiting.add(entry);
      this.#pump();
    });
    this.#pump();
  }

  #onDisconnect() {
    for (const entry of this.#all.values()) {
      if (entry.state !== 'sent') continue;
      if (entry.hasId) {
        this.#inFlight--;
        entry.state = 'waiting';
        entry.reason = 'the connection was lost';
        this.#waiting.add(entry);
      } else this.#giveUp(entry, 'the connection was lost before JetStream answered');
    }
  }

  #sweepAll() {
    const now = this.#clock.monotonic();
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
    if (!this.#all.delete(entry.token)) return;
    if (entry.state === 'sent') this.#inFlight--;
    this.#waiting.delete(entry);
  }
}

function encode(options: PublishOptions): MsgHdrs | undefined {
  if (options.messageId === undefined && options.headers === undefined) return undefined;
  const encoded = headers();
  if (options.headers !== undefined)
    for (const name in options.headers) encoded.set(name, options.headers[name] ?? '');
  if (options.messageId !== undefined) encoded.set('Nats-Msg-Id', options.messageId);
  return encoded;
}

/** Source: nats-server, server/errors.json. */
function judge(error: NonNullable<AckBody['error']>): ErrorCode | 'again' {
  const text = error.description ?? '';
  // 10077 store failed, with the reason in words; 10023, 10028, 10047: memory, storage or account used up.
  if (/maximum (bytes|messages)/.test(text)) return 'log_full';
  if ([10023, 10028, 10047].includes(error.err_code ?? 0)) return 'log_full';
  if (error.err_code === 10054) return 'body_too_large';
  // 429 too many requests, 503 not leader, not available, shutting down.
  if (error.code === 503 || error.code === 429) return 'again';
  return 'bus_unavailable';
}
