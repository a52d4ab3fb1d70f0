import { systemClock } from '../clock.ts';
import { namespace } from '../config.ts';
import { PerdureError } from '../errors.ts';
import { type Logger, withoutSecrets } from '../log.ts';
import { type Session, waitUntilReachable } from '../store/connection.ts';
import { openReadStore } from '../store/postgres.ts';
import type { ReadStore } from '../store/read.ts';
import { unwrappingReadStore } from '../store/unwrapping.ts';
import { withAdvice } from './advice.ts';
import { loadCodec } from './codecFile.ts';
import { type ConnectionFlags, REACH_MS } from './connection.ts';
import { endpointOf } from './endpoints.ts';
import { rememberWarnings } from './lastWarning.ts';

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
