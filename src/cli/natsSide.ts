import { type Connection, openConnection } from '../bus/connection.ts';
import { subjects } from '../bus/subjects.ts';
import type { FeedEntry } from '../client.ts';
import { sleep, systemClock } from '../clock.ts';
import { namespace } from '../config.ts';
import { asError, PerdureError } from '../errors.ts';
import { readShardReaders, type ShardReaders } from '../inspect/shardReaders.ts';
import { withoutSecrets } from '../log.ts';
import type { ConnectionFlags } from './connection.ts';
import { endpointIfAny } from './endpoints.ts';
import { rememberWarnings } from './lastWarning.ts';

/** What needs NATS is not waited for for long, ms. */
const NATS_REACH_MS = 2_000;

/** What NATS can tell, which the rest does not wait for longer than it must, and can do without. */
export class NatsSide {
  /** Why NATS could not be asked. */
  trouble: string | undefined;
  readonly #space;
  readonly #url: string | undefined;
  readonly #heard = rememberWarnings();
  readonly #closing = new AbortController();
  readonly #since = systemClock.monotonic();
  #connection: Connection | undefined;
  readonly #opening: Promise<Connection> | undefined;

  /** Begins to connect, and goes on until it is closed. */
  constructor(name: string, flags: ConnectionFlags) {
    const { url, namespace: space } = endpointIfAny('nats', flags);
    this.#space = namespace(space);
    this.#url = url;
    if (url === undefined) return;
    this.#opening = openConnection({
      natsUrl: url,
      name,
      clock: systemClock,
      log: this.#heard.log,
      signal: this.#closing.signal,
    });
    this.#opening.then(
      (connection) => {
        this.#connection = connection;
      },
      // Whoever asks for the readers hears of it.
      () => {},
    );
  }

  async readers(): Promise<ShardReaders | undefined> {
    if (this.#url === undefined) {
      this.trouble = 'set PERDURE_NATS_URL or --nats';
      return undefined;
    }
    try {
      const readers = await readShardReaders(await this.#reach(), this.#space, this.#heard.log);
      this.trouble = undefined;
      return readers;
    } catch (thrown) {
      const reason = this.#heard.reason();
      this.trouble = `${asError(thrown).message}${reason === undefined ? '' : ` (${reason})`}`;
      return undefined;
    }
  }

  /** Calls `hear` for every transition as it is committed, from when NATS answers. */
  listen(hear: (entry: FeedEntry) => void): void {
    const subject = subjects.transition(this.#space, '*', '*');
    const subscribe = (connection: Connection) =>
      void connection.subscribe(subject, (error, message) => {
        const entry = error ? undefined : entryOf(message.string());
        if (entry) hear(entry);
      });
    this.#opening?.then(subscribe, () => {});
  }

  /** Whether NATS answers, waited for as long as anybody would. */
  async answers(): Promise<boolean> {
    return this.#reach().then(
      () => true,
      () => false,
    );
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#connection?.close();
  }

  /** @throws PerdureError `bus_unavailable`, `wrong_credentials` */
  async #reach(): Promise<Connection> {
    if (this.#connection) return this.#connection;
    const left = NATS_REACH_MS - (systemClock.monotonic() - this.#since);
    const found = new AbortController();
    const late = sleep(systemClock, Math.max(1, left), found.signal).then((): never => {
      throw new PerdureError(
        'bus_unavailable',
        `NATS at ${withoutSecrets(this.#url ?? '')} does not answer.`,
      );
    });
    try {
      return await Promise.race([this.#opening ?? late, late]);
    } finally {
      found.abort();
    }
  }
}

/** Anybody may publish there. */
function entryOf(text: string): FeedEntry | undefined {
  try {
    return JSON.parse(text) as FeedEntry;
  } catch {
    return undefined;
  }
}
