import { openBus } from '../bus/nats.ts';
import { createClient, type PerdureClient } from '../client.ts';
import { systemClock } from '../clock.ts';
import { type Namespace, namespace, SHARDS } from '../config.ts';
import { withAdvice } from './advice.ts';
import { type ConnectionFlags, REACH_MS } from './connection.ts';
import { endpointOf } from './endpoints.ts';
import { rememberWarnings } from './lastWarning.ts';

// Apart from the sessions with Postgres, so that a command that only reads need not load what talks to NATS.

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
