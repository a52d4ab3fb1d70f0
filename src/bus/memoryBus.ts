import { asError, PerdureError } from '../errors.ts';
import type { Bus, LogReader, PublishAck, PublishOptions, ReaderOptions } from './bus.ts';
import type { MemoryConsumer, MemoryLog } from './memory.ts';

type Listener = (subject: string, body: Uint8Array) => void;
type Answer = (subject: string, body: Uint8Array) => Promise<string>;

const encoder = new TextEncoder();
const bytes = (body: Uint8Array | string) =>
  typeof body === 'string' ? encoder.encode(body) : body.slice();

/** `Bus` on a `MemoryLog`. */
export class MemoryBus implements Bus {
  readonly #log: MemoryLog;
  readonly #consumers = new Set<MemoryConsumer>();
  readonly #listeners = new Set<{ subject: string; handler: Listener }>();
  readonly #answers = new Set<{ subject: string; handler: Answer }>();
  readonly #onWake = new Set<() => void>();
  readonly #onChange = new Set<(connected: boolean) => void>();
  #publishing = 0;
  #cut = false;
  #closed = false;
  #wasConnected = true;

  /** Use `MemoryLog.connect()`. */
  constructor(log: MemoryLog) {
    this.#log = log;
  }

  get connected(): boolean {
    return !this.#cut && !this.#closed && !this.#log.down;
  }

  /** Cuts this bus off from the log, or joins it again. */
  setConnected(connected: boolean): void {
    this.#cut = !connected;
    this.wake();
  }

  /** Calls `listener` whenever the connection is lost or back. Returns the way to stop. */
  onConnectionChange(listener: (connected: boolean) => void): () => void {
    this.#onChange.add(listener);
    return () => this.#onChange.delete(listener);
  }

  /** Whether it is connected may have changed. */
  wake(): void {
    if (this.connected !== this.#wasConnected) {
      this.#wasConnected = this.connected;
      for (const listener of [...this.#onChange]) listener(this.connected);
    }
    for (const run of [...this.#onWake]) run();
    for (const consumer of this.#consumers)
      if (consumer.stopped) this.#consumers.delete(consumer);
      else consumer.wake();
  }

  async probe(): Promise<boolean> {
    return this.connected;
  }

  async logId(): Promise<string> {
    await this.#trip();
    return this.#log.id;
  }

  async logEnd(): Promise<number> {
    await this.#trip();
    return this.#log.end;
  }

  async trimLog(seq: number): Promise<void> {
    await this.#trip();
    this.#log.trim(seq);
  }

  async openReader(options: ReaderOptions): Promise<LogReader> {
    await this.#trip();
    const consumer = this.#log.addConsumer(this, options);
    this.#consumers.add(consumer);
    return {
      lag: async () => {
        await this.#trip();
        return { waiting: consumer.waiting, logEnd: this.#log.end };
      },
      stop: async () => {
        this.#consumers.delete(consumer);
        consumer.stop();
      },
    };
  }

  publish(
    subject: string,
    body: Uint8Array | string,
    options: PublishOptions = {},
  ): Promise<PublishAck> {
    return new Promise((resolve, reject) => {
      const data = bytes(body);
      if (data.length > this.#log.bodyMaxBytes)
        return reject(
          new PerdureError(
            'body_too_large',
            `The body is larger than ${this.#log.bodyMaxBytes} bytes.`,
          ),
        );
      if (!/^[^\s.*>]+(\.[^\s.*>]+)*$/.test(subject))
        return reject(new PerdureError('bad_subject', `${JSON.stringify(subject)} is no subject.`));
      const messageId = options.messageId ?? null;
      const headers = { ...options.headers };
      if (messageId !== null) headers['Nats-Msg-Id'] = messageId;
      let unknown = false;
      let settled = false;
      this.#publishing++;
      const settle = (finish: () => void) => {
        if (!settled) this.#publishing--;
        settled = true;
        cancel();
        this.#onWake.delete(attempt);
        finish();
      };
      const fail = (code: 'timeout' | 'bus_unavailable') =>
        settle(() => reject(new PerdureError(code, `Could not publish to ${subject}.`)));
      const attempt = () => {
        if (this.#closed) return fail(unknown ? 'timeout' : 'bus_unavailable');
        if (!this.connected) return;
        this.#onWake.delete(attempt);
        this.#log.travel(() => {
          if (settled) return;
          if (!this.connected) return void this.#onWake.add(attempt);
          let ack: PublishAck;
          try {
            ack = this.#log.store(subject, data, messageId, headers);
          } catch (thrown) {
            return settle(() => reject(thrown));
          }
          if (!ack.duplicate) this.#spread(subject, data);
          unknown = true;
          this.#log.travel(() => {
            if (settled) return;
            if (this.connected) settle(() => resolve(ack));
            else if (messageId === null) fail('timeout');
            else this.#onWake.add(attempt);
          });
        });
      };
      const cancel = this.#log.clock.after(options.timeoutMs ?? 5_000, () =>
        fail(unknown ? 'timeout' : 'bus_unavailable'),
      );
      this.#onWake.add(attempt);
      attempt();
    });
  }

  broadcast(subject: string, body: Uint8Array | string): void {
    if (this.connected) this.#spread(subject, bytes(body));
  }

  listen(subject: string, handler: Listener): () => void {
    const entry = { subject, handler };
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  answer(subject: string, handler: Answer): () => void {
    const entry = { subject, handler };
    this.#answers.add(entry);
    return () => this.#answers.delete(entry);
  }

  async request(subject: string, body: string, timeoutMs: number): Promise<Uint8Array> {
    await this.#trip();
    const able = [...this.#log.buses]
      .filter((bus) => bus.connected)
      .flatMap((bus) => [...bus.#answers].filter((entry) => matches(entry.subject, subject)));
    const chosen = able[Math.floor(this.#log.clock.random() * able.length)];
    if (chosen === undefined)
      throw new PerdureError('bus_unavailable', `Nobody answers on ${subject}.`);
    return new Promise((resolve, reject) => {
      const cancel = this.#log.clock.after(timeoutMs, () =>
        reject(new PerdureError('timeout', `No answer on ${subject} within ${timeoutMs} ms.`)),
      );
      const arrive = (finish: () => void) =>
        this.#log.travel(() => {
          if (!this.connected) return; // the answer got lost; the deadline says so
          cancel();
          finish();
        });
      chosen.handler(subject, bytes(body)).then(
        (text) => arrive(() => resolve(bytes(text))),
        (thrown: unknown) =>
          arrive(() =>
            reject(
              new PerdureError(
                'bus_unavailable',
                `The answer on ${subject} is an error: ${asError(thrown).message}`,
              ),
            ),
          ),
      );
    });
  }

  inbox(): string {
    return `_INBOX.${this.#log.clock.uuid()}`;
  }

  async close(): Promise<void> {
    while (this.#publishing > 0 && this.connected) await this.#trip().catch(() => {});
    this.#closed = true;
    for (const consumer of this.#consumers) consumer.stop();
    this.#consumers.clear();
    this.wake();
    this.#log.buses.delete(this);
  }

  /** One call to the server and back. @throws PerdureError `bus_unavailable` */
  async #trip(): Promise<void> {
    await new Promise<void>((resolve) => this.#log.travel(resolve));
    if (!this.connected) throw new PerdureError('bus_unavailable', 'Not connected to NATS.');
  }

  #spread(subject: string, body: Uint8Array) {
    for (const bus of this.#log.buses)
      for (const entry of bus.#listeners)
        if (matches(entry.subject, subject))
          this.#log.travel(() => {
            if (!bus.connected || !bus.#listeners.has(entry)) return;
            try {
              entry.handler(subject, body);
            } catch {
              // Its own bug; it does not stop the others.
            }
          });
  }
}

/** Whether a NATS subject matches a pattern with `*` and `>`. */
function matches(pattern: string, subject: string): boolean {
  if (pattern === subject) return true;
  const want = pattern.split('.');
  const have = subject.split('.');
  for (const [i, token] of want.entries()) {
    if (token === '>') return have.length > i;
    if (have[i] === undefined || (token !== '*' && token !== have[i])) return false;
  }
  return want.length === have.length;
}
