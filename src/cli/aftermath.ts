import type { PerdureClient, Receipt } from '../client.ts';
import { PerdureError } from '../errors.ts';
import type { ReadStore } from '../store/read.ts';
import type { ConnectionFlags } from './connection.ts';
import { endpointIfAny } from './endpoints.ts';
import { withReadStore } from './session.ts';
import { stateText } from './stateText.ts';

interface Address {
  type: string;
  id: string;
}

/** How an actor failed. */
export interface Failed {
  name?: unknown;
  message?: unknown;
}

/** The error an actor has ended in; the reply says only that it has. */
export async function errorOf(
  client: PerdureClient,
  { type, id }: Address,
  { status }: Receipt,
): Promise<Failed | undefined> {
  if (status !== 'error') return undefined;
  // That it was committed is known; why it failed can be looked up later.
  const answer = await client.query(type, id).catch(() => undefined);
  return (answer?.error ?? {}) as Failed;
}

/** `Error: card declined`. */
export const failureText = ({ name = 'Error', message }: Failed): string =>
  message === undefined ? 'perdure show has the error' : `${name}: ${message}`;

/**
 * That nothing in the actor's state handled an event: it is recorded, and took no edge. Known of the record alone, so
 * undefined where the database is not to be had, too.
 */
export async function unhandled(
  flags: ConnectionFlags,
  { type, id }: Address,
  { seq, status, messageId }: Receipt,
): Promise<string | undefined> {
  if (seq === undefined || status !== 'active') return undefined;
  const [row] = await lookAside(
    flags,
    (store) => store.history(type, id, { fromSeq: seq, limit: 1 }),
    [],
  );
  if (row?.event_id !== messageId || row.edges.length > 0 || row.actions > 0) return undefined;
  const at = stateText(row.to_state);
  return stateText(row.from_state) === at
    ? `no transition for ${row.event_type} in ${at}`
    : undefined;
}

/**
 * A commit that is waited for in vain may not come before somebody acts: the message waits for a node that can open the
 * actor, or until the actor is resumed.
 */
export async function whyLate(
  thrown: unknown,
  flags: ConnectionFlags,
  { type, id }: Address,
): Promise<unknown> {
  if (!(thrown instanceof PerdureError) || thrown.code !== 'timeout') return thrown;
  const why = await lookAside(flags, (store) => waitsFor(store, type, id), undefined);
  if (why === undefined) return thrown;
  return new PerdureError('timeout', `${thrown.message} ${why}`, { cause: thrown });
}

async function waitsFor(store: ReadStore, type: string, id: string): Promise<string | undefined> {
  const parked = await store.parkedFor(type, id);
  if (!parked) return undefined;
  const actor = await store.actor(type, id);
  const waits = `${parked.messages} ${parked.messages === 1 ? 'message waits' : 'messages wait'} for ${type}/${id}`;
  return actor?.paused_at
    ? `It is paused, and ${waits}: perdure resume ${type} ${id} lets it go on.`
    : `It is parked: ${waits} until a node runs that can open it; perdure ls --parked.`;
}

/** What can be done without: nothing when no database is named, or it does not answer. */
async function lookAside<T>(
  flags: ConnectionFlags,
  look: (store: ReadStore) => Promise<T>,
  otherwise: T,
): Promise<T> {
  if (endpointIfAny('database', flags).url === undefined) return otherwise;
  return withReadStore(flags, look).catch(() => otherwise);
}
