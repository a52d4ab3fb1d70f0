import {
  type ConsumerInfo,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
  type StreamInfo,
} from '@nats-io/jetstream';
import { errors, type NatsConnection } from '@nats-io/transport-node';
import { atMost, backoff, sleep } from '../clock.ts';
import type { Namespace } from '../config.ts';
import { asError, PerdureError } from '../errors.ts';
import type { Connection, ConnectionSettings } from './connection.ts';
import type { LogSample } from './reader.ts';
import { ensureTopology, isStreamMissing, type TopologyOptions } from './topology.ts';

export interface BusSettings extends ConnectionSettings, TopologyOptions {
  namespace: Namespace;
  /**
   * Create the namespace's streams, or check them. False for clients, which then need no JetStream
   * permission but to publish. Default true.
   */
  ensureStreams?: boolean;
}

/** Waiting for what is only tidying up, ms. */
export const TIDY_MS = 1_000;
/** A follower has certainly caught up with what the log held this long ago, ms. */
const FOLLOWER_LAG_MS = 10_000;

/**
 * A cluster without a leader does not answer at all; asking again soon beats waiting. Creating and purging
 * streams may really take long.
 */
const QUICK_MS = 2_000;
const SLOW_MS = 10_000;

type Manager = Promise<JetStreamManager>;

/** The calls to JetStream's own API, with errors of ours. */
export class JetStreamApi {
  readonly #connection: Connection;
  readonly #settings: BusSettings;
  #managers: { nc: NatsConnection; quick: Manager; slow: Manager } | null = null;
  #ensuring: Promise<void> | null = null;
  #naming: Promise<string[]> | null = null;
  #sampling: Promise<LogSample> | null = null;
  #samples: LogSample[] = [];

  constructor(connection: Connection, settings: BusSettings) {
    this.#connection = connection;
    this.#settings = settings;
  }

  /** State of the stream of what was asked. @throws PerdureError */
  async jobsInfo(): Promise<StreamInfo> {
    return this.call((jsm) => jsm.streams.info(this.#settings.namespace.jobsStream));
  }

  /** One call to JetStream's API; a stream that is gone is made again. @throws PerdureError */
  async call<T>(
    run: (jsm: JetStreamManager) => Promise<T>,
    speed: 'quick' | 'slow' = 'quick',
  ): Promise<T> {
    if (!this.#connection.connected)
      throw new PerdureError('bus_unavailable', 'Not connected to NATS.');
    try {
      const jsm = await this.#jsm(speed);
      try {
        return await run(jsm);
      } catch (thrown) {
        if (!isStreamMissing(thrown) || this.#settings.ensureStreams === false) throw thrown;
        this.#settings.log.error(
          { stream: this.#settings.namespace.jobsStream },
          'the stream is gone; making it again',
        );
        await this.ensure();
        return await run(jsm);
      }
    } catch (thrown) {
      throw apiError(thrown);
    }
  }

  #jsm(speed: 'quick' | 'slow'): Manager {
    const { nc } = this.#connection;
    if (this.#managers?.nc !== nc)
      this.#managers = {
        nc,
        quick: jetstreamManager(nc, { checkAPI: false, timeout: QUICK_MS }),
        slow: jetstreamManager(nc, { checkAPI: false, timeout: SLOW_MS }),
      };
    return this.#managers[speed];
  }

  /** Makes missing streams again, for those who may. */
  ensure(): Promise<void> {
    if (this.#settings.ensureStreams === false) return Promise.resolve();
    this.#ensuring ??= this.#jsm('slow')
      .then((jsm) =>
        ensureTopology(jsm, this.#settings.namespace, this.#settings, versionOf(this.#connection)),
      )
      .finally(() => {
        this.#ensuring = null;
      });
    return this.#ensuring;
  }

  /** All consumers, with what waits for each. @throws PerdureError */
  readers(): Promise<ConsumerInfo[]> {
    return this.call(async (jsm) => {
      const found: ConsumerInfo[] = [];
      for await (const one of jsm.consumers.list(this.#settings.namespace.jobsStream))
        found.push(one);
      return found;
    });
  }

  /** Names of all consumers; readers that open together share one answer. */
  consumerNames(): Promise<string[]> {
    this.#naming ??= this.call(async () => {
      const names: string[] = [];
      const subject = `$JS.API.CONSUMER.NAMES.${this.#settings.namespace.jobsStream}`;
      for (;;) {
        // The client lists consumers only with their whole state, which the server has to count first.
        const reply = await this.#connection.nc.request(subject, `{"offset":${names.length}}`, {
          timeout: QUICK_MS,
        });
        const page = reply.json<{
          error?: { code: number; err_code: number; description: string };
          total?: number;
          consumers?: string[] | null;
        }>();
        if (page.error) throw new JetStreamApiError(page.error);
        names.push(...(page.consumers ?? []));
        if (!page.consumers?.length || names.length >= (page.total ?? 0)) return names;
      }
    }).finally(() => {
      this.#naming = null;
    });
    return this.#naming;
  }

  /** Best effort: the server forgets an idle consumer by itself. */
  async deleteConsumer(name: string): Promise<void> {
    if (!this.#connection.connected) return;
    const gone = this.#jsm('quick')
      .then((jsm) => jsm.consumers.delete(this.#settings.namespace.jobsStream, name))
      .catch(() => false);
    await atMost(this.#settings.clock, TIDY_MS, gone);
  }

  /** The log now; callers at the same time share one answer. */
  sampleLog(): Promise<LogSample> {
    this.#sampling ??= this.jobsInfo()
      .then((info) => {
        const at = this.#settings.clock.monotonic();
        const copies = info.cluster?.replicas?.length ?? 0;
        const leader = copies > 0 ? (info.cluster?.leader ?? null) : null;
        const sample = { at, lastSeq: info.state.last_seq, leader };
        const old = this.#samples.findLastIndex((other) => at - other.at > FOLLOWER_LAG_MS);
        this.#samples = [...this.#samples.slice(Math.max(0, old)), sample];
        return sample;
      })
      .finally(() => {
        this.#sampling = null;
      });
    return this.#sampling;
  }

  /** A consumer on a follower counts what that follower has, so it only vouches for an older end. */
  knownEnd(sample: LogSample, consumer: ConsumerInfo): number {
    const leader = consumer.cluster?.leader ?? null;
    if (sample.leader === null || leader === sample.leader) return sample.lastSeq;
    const old = this.#samples[0];
    return old && sample.at - old.at > FOLLOWER_LAG_MS ? old.lastSeq : 0;
  }
}

/** Waits for JetStream and for the streams. @throws PerdureError for what waiting cannot cure. */
export async function awaitStreams(connection: Connection, settings: BusSettings): Promise<void> {
  const { clock, log, signal } = settings;
  for (let attempt = 1; ; attempt++) {
    try {
      const jsm = await jetstreamManager(connection.nc, { checkAPI: true });
      return await ensureTopology(jsm, settings.namespace, settings, versionOf(connection));
    } catch (thrown) {
      const error = asError(thrown);
      if (thrown instanceof PerdureError) throw thrown;
      const without = error.name === 'JetStreamNotEnabled';
      const forAccount = error.cause instanceof JetStreamApiError;
      if (without && (forAccount || (connection.nc.info?.jetstream !== true && attempt >= 3)))
        throw new PerdureError(
          'bad_options',
          forAccount
            ? 'JetStream is not enabled for this NATS account.'
            : 'The NATS server runs without JetStream; start it with -js.',
          { cause: thrown },
        );
      if (thrown instanceof JetStreamApiError && thrown.status < 500)
        throw new PerdureError('bad_options', `JetStream refuses the streams: ${error.message}.`, {
          cause: thrown,
        });
      if (attempt % 10 === 3) log.warn({ reason: error.message }, 'waiting for JetStream');
    }
    await sleep(clock, 100 + backoff(clock, attempt, 100, 1_000), signal);
    if (signal?.aborted)
      throw new PerdureError('bus_unavailable', 'Gave up waiting for JetStream.');
  }
}

const versionOf = (connection: Connection) => connection.nc.info?.version ?? '';

function apiError(thrown: unknown): PerdureError {
  if (thrown instanceof PerdureError) return thrown;
  if (thrown instanceof errors.TimeoutError)
    return new PerdureError('timeout', 'JetStream did not answer in time.', { cause: thrown });
  const what =
    thrown instanceof JetStreamApiError && thrown.code === JetStreamApiCodes.ConsumerNotFound
      ? 'the consumer is gone'
      : asError(thrown).message;
  return new PerdureError('bus_unavailable', `JetStream: ${what}.`, { cause: thrown });
}
