import { type PulseWord, readPulse } from '../actors/pulse.ts';
import { type Connection, openConnection } from '../bus/connection.ts';
import { subjects } from '../bus/subjects.ts';
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

  /** Calls `hear` for what each node tells of its last second, from when NATS answers. */
  listen(hear: (word: PulseWord) => void): void {
    const subscribe = (connection: Connection) =>
      void connection.subscribe(subjects.nodes(this.#space), (error, message) => {
        const word = error ? undefined : readPulse(message.data);
        if (word) hear(word);
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
