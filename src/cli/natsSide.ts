import { openConnection } from '../bus/connection.ts';
import { subjects } from '../bus/subjects.ts';
import type { FeedEntry } from '../client.ts';
import { systemClock } from '../clock.ts';
import { namespace } from '../config.ts';
import { asError } from '../errors.ts';
import { readShardReaders, type ShardReaders } from '../inspect/shardReaders.ts';
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
  readonly #heard = rememberWarnings();
  readonly #opening: ReturnType<typeof openConnection> | undefined;

  constructor(name: string, flags: ConnectionFlags) {
    const { url, namespace: space } = endpointIfAny('nats', flags);
    this.#space = namespace(space);
    if (url === undefined) return;
    this.#opening = openConnection({
      natsUrl: url,
      name,
      clock: systemClock,
      log: this.#heard.log,
      signal: AbortSignal.timeout(NATS_REACH_MS),
    });
    // Whoever asks for the readers hears of it.
    this.#opening.catch(() => {});
  }

  async readers(): Promise<ShardReaders | undefined> {
    if (this.#opening === undefined) {
      this.trouble = 'set PERDURE_NATS_URL or --nats';
      return undefined;
    }
    try {
      const connection = await this.#opening;
      this.trouble = undefined;
      return await readShardReaders(connection, this.#space, this.#heard.log);
    } catch (thrown) {
      const reason = this.#heard.reason();
      this.trouble = `${asError(thrown).message}${reason === undefined ? '' : ` (${reason})`}`;
      return undefined;
    }
  }

  /** Calls `hear` for every transition as it is committed. Does nothing when NATS does not answer. */
  async listen(hear: (entry: FeedEntry) => void): Promise<void> {
    const connection = await this.#opening?.catch(() => undefined);
    connection?.subscribe(subjects.transition(this.#space, '*', '*'), (error, message) => {
      const entry = error ? undefined : entryOf(message.string());
      if (entry) hear(entry);
    });
  }

  async close(): Promise<void> {
    const connection = await this.#opening?.catch(() => undefined);
    await connection?.close();
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
