import { openBus } from '../bus/nats.ts';
import { createClient, type PerdureClient } from '../client.ts';
import { systemClock } from '../clock.ts';
import { type Namespace, namespace, SHARDS } from '../config.ts';
import { PerdureError } from '../errors.ts';
import { type Logger, withoutSecrets } from '../log.ts';
import { type Session, waitUntilReachable } from '../store/connection.ts';
import { openReadStore } from '../store/postgres.ts';
import type { ReadStore } from '../store/read.ts';
import { unwrappingReadStore } from '../store/unwrapping.ts';
import { withAdvice } from './advice.ts';
import { loadCodec } from './codecFile.ts';
import type { ConnectionFlags } from './connection.ts';
import { endpointOf } from './endpoints.ts';
import { rememberWarnings } from './lastWarning.ts';

/** A server that does not answer within this is reported, ms: somebody waits at a terminal. */
export const REACH_MS = 5_000;

/** Runs `work` with a client, and closes it whatever happens. */
export async function withClient<T>(
  flags: ConnectionFlags,
  work: (client: PerdureClient) => Promise<T>,
): Promise<T> {
  const { url, namespace: name } = endpointOf('nats', flags);
  const heard = rememberWarnings();
  const client = createClient({
    natsUrl: url,
    namespace: name,
    timeoutMs: REACH_MS,
    logger: heard.log,
  });
  try {
    return await work(client);
  } catch (thrown) {
    throw withAdvice(thrown, heard.reason());
  } finally {
    await client.close();
  }
}

/** Runs `work` with the reading side of the store, and closes it whatever happens. */
export async function withReadStore<T>(
  flags: ConnectionFlags,
  work: (store: ReadStore) => Promise<T>,
): Promise<T> {
  const { url, namespace: name } = endpointOf('database', flags);
  const codec = await loadCodec(flags);
  const store = await reachPostgres(url, REACH_MS, (reach) =>
    openReadStore({ databaseUrl: url, namespace: namespace(name), ...reach }),
  );
  try {
    return await work(unwrappingReadStore(store, codec));
  } catch (thrown) {
    throw withAdvice(thrown);
  } finally {
    await store.close();
  }
}

/** Runs `work` on one connection with Postgres; waits for ever when `reachMs` is undefined. */
export async function withSession<T>(
  target: { url: string; schema: string; reachMs: number | undefined },
  work: (client: Session['client']) => Promise<T>,
): Promise<T> {
  const { session } = await reachPostgres(target.url, target.reachMs, (reach) =>
    waitUntilReachable({
      databaseUrl: target.url,
      schema: target.schema,
      applicationName: 'perdure cli',
      clock: systemClock,
      ...reach,
    }),
  );
  try {
    return await work(session.client);
  } catch (thrown) {
    throw withAdvice(thrown);
  } finally {
    await session.client.end();
  }
}

/** How long to wait for Postgres, and whom to tell about it. */
interface Reach {
  log: Logger;
  onWaiting: (reason: string) => void;
  signal?: AbortSignal;
}

/** Errors of the way there say which server, and why as far as it is known. */
async function reachPostgres<T>(
  url: string,
  reachMs: number | undefined,
  open: (reach: Reach) => Promise<T>,
): Promise<T> {
  let reason: string | undefined;
  try {
    return await open({
      log: rememberWarnings().log,
      onWaiting: (heard) => {
        reason = heard.replace(/^waiting for Postgres at [^ ]*: /, '');
      },
      ...(reachMs === undefined ? {} : { signal: AbortSignal.timeout(reachMs) }),
    });
  } catch (thrown) {
    if (!(thrown instanceof PerdureError) || thrown.code !== 'store_unavailable')
      throw withAdvice(thrown);
    const message = `Postgres at ${withoutSecrets(url)} could not be reached.`;
    throw withAdvice(new PerdureError(thrown.code, message, { cause: thrown }), reason);
  }
}

/** What a command that publishes as it stands needs: the connection alone, no streams are made. */
export async function withBus<T>(
  flags: ConnectionFlags,
  work: (bus: Awaited<ReturnType<typeof openBus>>, namespace: Namespace) => Promise<T>,
): Promise<T> {
  const { url, namespace: name } = endpointOf('nats', flags);
  const heard = rememberWarnings();
  const waited = new AbortController();
  const giveUp = setTimeout(() => waited.abort(), REACH_MS);
  try {
    const bus = await openBus({
      natsUrl: url,
      namespace: namespace(name),
      shards: SHARDS,
      clock: systemClock,
      log: heard.log,
      ensureStreams: false,
      signal: waited.signal,
    });
    clearTimeout(giveUp);
    try {
      return await work(bus, namespace(name));
    } finally {
      await bus.close();
    }
  } catch (thrown) {
    throw withAdvice(thrown, heard.reason());
  } finally {
    clearTimeout(giveUp);
  }
}
