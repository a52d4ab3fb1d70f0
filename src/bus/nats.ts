import type { ConsumerInfo } from '@nats-io/jetstream';
import { createInbox, errors, headers } from '@nats-io/transport-node';
import { atMost, sleep } from '../clock.ts';
import { asError, PerdureError } from '../errors.ts';
import { awaitStreams, type BusSettings, JetStreamApi, TIDY_MS } from './api.ts';
import type { Bus, LogReader, PublishAck, PublishOptions, ReaderOptions } from './bus.ts';
import { type Connection, type ConnectionHealth, openConnection } from './connection.ts';
import { Publisher } from './publisher.ts';
import { type ReaderPort, ShardReader } from './reader.ts';
import { assertServerVersion, consumerConfig } from './topology.ts';

export type { BusSettings } from './api.ts';

/** An answer that is an error says so in this header (ADR-32 of NATS, so that `nats req` shows it too). */
const ERROR_HEADER = 'Nats-Service-Error';

/**
 * Connects to NATS and makes sure of the namespace's streams, waiting for both as long as it takes.
 * @throws PerdureError `wrong_credentials`, `server_too_old`, `shards_differ`, `bad_options`.
 */
export async function openBus(settings: BusSettings): Promise<NatsBus> {
  const connection = await openConnection(settings);
  try {
    assertServerVersion(connection.nc.info?.version ?? '0.0');
    if (settings.ensureStreams !== false) await awaitStreams(connection, settings);
    return new NatsBus(connection, settings);
  } catch (thrown) {
    await connection.close();
    throw thrown;
  }
}

/** `Bus` on one NATS connection. Open it with `openBus`. */
export class NatsBus implements Bus {
  readonly #connection: Connection;
  readonly #settings: BusSettings;
  readonly #api: JetStreamApi;
  readonly #publisher: Publisher;
  readonly #port: ReaderPort;
  readonly #readers = new Set<ShardReader>();

  constructor(connection: Connection, settings: BusSettings) {
    this.#connection = connection;
    this.#settings = settings;
    this.#api = new JetStreamApi(connection, settings);
    const { subjectPrefix, jobsStream, outcomesStream } = settings.namespace;
    const families = new RegExp(
      `^${subjectPrefix.replaceAll('.', '\\.')}(?:jobs|events|(outcomes))\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+$`,
    );
    this.#publisher = new Publisher(
      connection,
      settings.clock,
      (subject) => {
        const found = families.exec(subject);
        return found === null ? undefined : found[1] ? outcomesStream : jobsStream;
      },
      () => void this.#api.ensure().catch(() => {}),
    );
    const stream = settings.namespace.jobsStream;
    this.#port = {
      connection,
      clock: settings.clock,
      log: settings.log,
      stream,
      consumerInfo: (name) => this.#api.call((jsm) => jsm.consumers.info(stream, name)),
      deleteConsumer: (name) => this.#api.deleteConsumer(name),
      sampleLog: () => this.#api.sampleLog(),
      knownEnd: (sample, consumer) => this.#api.knownEnd(sample, consumer),
    };
  }

  /** Whether the connection stands now; readiness shows it. */
  get connected(): boolean {
    return this.#connection.connected;
  }

  /** Of the connection; open as well while JetStream stores nothing of what is published. */
  get health(): Readonly<ConnectionHealth> {
    const { health } = this.#connection;
    const { trouble } = this.#publisher;
    return trouble && health.state === 'closed' ? { ...health, ...trouble, state: 'open' } : health;
  }

  /** Calls `listener` whenever the connection is lost or back. Returns the way to stop. */
  onConnectionChange(listener: (connected: boolean) => void): () => void {
    return this.#connection.onChange(listener);
  }

  async probe(timeoutMs: number): Promise<boolean> {
    if (!this.connected) return false;
    let answers = false;
    const answered = this.#connection.nc.rtt().then(() => {
      answers = true;
    });
    await atMost(this.#settings.clock, timeoutMs, answered);
    return answers;
  }

  async logId(): Promise<string> {
    const info = await this.#api.jobsInfo();
    return `${info.config.name}@${info.created}`;
  }

  async logEnd(): Promise<number> {
    return (await this.#api.jobsInfo()).state.last_seq;
  }

  async trimLog(seq: number): Promise<void> {
    if (seq < 1) return;
    await this.#api.call(
      (jsm) => jsm.streams.purge(this.#settings.namespace.jobsStream, { seq: seq + 1 }),
      'slow',
    );
  }

  /** The readers of the log, as JetStream tells them: for people. @throws PerdureError `bus_unavailable`, `timeout` */
  readers(): Promise<ConsumerInfo[]> {
    return this.#api.readers();
  }

  async openReader(options: ReaderOptions): Promise<LogReader> {
    const prefix = `s${options.shard}-e`;
    const name = `${prefix}${options.epoch}-${this.#settings.clock.uuid().slice(-12)}`;
    const earlier = (await this.#api.consumerNames()).filter(
      (other) =>
        other.startsWith(prefix) &&
        Number.parseInt(other.slice(prefix.length), 10) <= options.epoch,
    );
    const [created] = await Promise.all([
      this.#api.call((jsm) =>
        jsm.consumers.add(this.#settings.namespace.jobsStream, consumerConfig(name, options)),
      ),
      ...earlier.map((other) => this.#api.deleteConsumer(other)),
    ]);
    const reader = new ShardReader(
      this.#port,
      {
        ...options,
        onSurprise: (reason) => {
          this.#readers.delete(reader);
          options.onSurprise(reason);
        },
      },
      created.name,
    );
    this.#readers.add(reader);
    return {
      lag: () => reader.lag(),
      stop: async () => {
        this.#readers.delete(reader);
        await reader.stop();
      },
    };
  }

  publish(
    subject: string,
    body: Uint8Array | string,
    options: PublishOptions = {},
  ): Promise<PublishAck> {
    return this.#publisher.publish(subject, body, options);
  }

  broadcast(subject: string, body: Uint8Array | string): void {
    if (!this.#connection.connected) return;
    try {
      this.#connection.post(subject, body);
    } catch (thrown) {
      this.#settings.log.warn({ subject, reason: asError(thrown).message }, 'broadcast dropped');
    }
  }

  listen(subject: string, handler: (subject: string, body: Uint8Array) => void): () => void {
    return this.#connection.subscribe(subject, (error, msg) => {
      if (error)
        return this.#settings.log.warn({ subject, reason: error.message }, 'cannot listen');
      try {
        handler(msg.subject, msg.data);
      } catch (thrown) {
        this.#settings.log.error({ subject, err: thrown }, 'a listener threw');
      }
    });
  }

  answer(
    subject: string,
    handler: (subject: string, body: Uint8Array) => Promise<string>,
  ): () => void {
    const { log } = this.#settings;
    return this.#connection.subscribe(
      subject,
      async (error, msg) => {
        if (error) return log.warn({ subject, reason: error.message }, 'cannot answer');
        try {
          msg.respond(await handler(msg.subject, msg.data));
        } catch (thrown) {
          log.error({ subject, err: thrown }, 'no answer');
          const failed = headers();
          failed.set(ERROR_HEADER, asError(thrown).message.replaceAll(/\s+/g, ' ').slice(0, 1_000));
          failed.set(`${ERROR_HEADER}-Code`, '500');
          if (this.#connection.connected) msg.respond('', { headers: failed });
        }
      },
      'perdure',
    );
  }

  async request(subject: string, body: string, timeoutMs: number): Promise<Uint8Array> {
    if (!this.#connection.connected)
      throw new PerdureError('bus_unavailable', 'Not connected to NATS.');
    let failed: string | undefined;
    try {
      const reply = await this.#connection.nc.request(subject, body, { timeout: timeoutMs });
      failed = reply.headers?.get(ERROR_HEADER);
      if (!failed) return reply.data;
    } catch (thrown) {
      if (thrown instanceof errors.TimeoutError)
        throw new PerdureError('timeout', `No answer on ${subject} within ${timeoutMs} ms.`);
      const nobody = thrown instanceof errors.RequestError && thrown.isNoResponders();
      throw new PerdureError(
        'bus_unavailable',
        nobody ? `Nobody answers on ${subject}.` : `Could not ask on ${subject}.`,
        { cause: thrown },
      );
    }
    throw new PerdureError('bus_unavailable', `The answer on ${subject} is an error: ${failed}`);
  }

  inbox(): string {
    return createInbox();
  }

  async close(): Promise<void> {
    const { clock } = this.#settings;
    const readers = [...this.#readers];
    this.#readers.clear();
    await Promise.all(readers.map((reader) => reader.stop()));
    for (let waited = 0; waited < TIDY_MS && this.#publisher.pending > 0; waited += 20)
      if (this.#connection.connected) await sleep(clock, 20);
      else break;
    this.#publisher.close();
    await this.#connection.close();
  }
}
