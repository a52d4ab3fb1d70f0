import type { AnyActorRef, EventObject } from 'xstate';
import { kindOf, type LogicKind } from './logic.ts';

/**
 * Children as they stand in a snapshot: XState's own actors, never started. A child that runs is run by an attempt; one
 * made by `fromTransition` is nothing but its snapshot, and takes what it is sent in the very step that sends it.
 */
export type Child = AnyActorRef & {
  logic: {
    transition(snapshot: unknown, event: EventObject, scope: object): Record<string, unknown>;
  };
  _snapshot: Record<string, unknown>;
  _syncSnapshot?: boolean;
  /** Of a machine: its parent has been told of its end. */
  ended?: 'done' | 'error';
};

export const kindOfChild = (child: Child): LogicKind => kindOf(child.logic);

/** Whether its parent has asked to be told of each of its snapshots (`onSnapshot`, `syncSnapshot`). */
export const isWatched = (child: Child): boolean => child._syncSnapshot === true;

/** What a watched child tells of itself. */
export function snapshotEvent(child: Child): EventObject {
  const { status, output, error, context, input, value } = child._snapshot;
  const snapshot =
    kindOfChild(child) === 'machine'
      ? { status, output, error, context, value }
      : { status, output, error, context, input };
  return { type: `${SNAPSHOT}${child.id}`, snapshot } as EventObject;
}

/** The child a `xstate.snapshot.*` event is of. */
export const watchedId = ({ type }: EventObject): string | undefined =>
  type.startsWith(SNAPSHOT) ? type.slice(SNAPSHOT.length) : undefined;

const SNAPSHOT = 'xstate.snapshot.';

/** A value of an observable. */
export function show(child: Child, value: unknown): void {
  child._snapshot = { ...child._snapshot, context: value };
}

/** A child made by `fromTransition` takes an event. Returns what its parent hears of it. */
export function react(child: Child, event: EventObject, parent: AnyActorRef): EventObject[] {
  if (child._snapshot.status !== 'active') return [];
  try {
    child._snapshot = child.logic.transition(child._snapshot, event, {
      self: child,
      id: child.id,
      sessionId: child.sessionId,
      system: parent.system,
      logger() {},
      emit() {},
      defer() {},
      stopChild() {},
      actionExecutor() {},
    });
    return isWatched(child) ? [snapshotEvent(child)] : [];
  } catch (thrown) {
    // Where it was thrown is another place whenever the step is computed again.
    const error = thrown instanceof Error ? withoutStack(thrown) : thrown;
    child._snapshot = { ...child._snapshot, status: 'error', error };
    return [{ type: `xstate.error.actor.${child.id}`, error, actorId: child.id } as EventObject];
  }
}

function withoutStack({ name, message }: Error): Error {
  const error = new Error(message);
  Object.defineProperties(error, { name: { value: name }, stack: { value: undefined } });
  return error;
}
