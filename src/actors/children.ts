import type { AnyActorRef, AnyMachineSnapshot, EventObject } from 'xstate';
import { setSnapshot, tellsSnapshots } from './inside.ts';
import { kindOf, type LogicKind } from './logic.ts';

/**
 * Children as they stand in a snapshot: XState's own actors, never started. A child that runs is run by an attempt; one
 * made by `fromTransition` is nothing but its snapshot, and takes what it is sent in the very step that sends it.
 */
export type Child = AnyActorRef & {
  logic: {
    transition(snapshot: unknown, event: EventObject, scope: object): Record<string, unknown>;
  };
  getSnapshot(): Record<string, unknown>;
  /** Of a machine: its parent has been told of its end. */
  ended?: 'done' | 'error';
};

export const kindOfChild = (child: Child): LogicKind => kindOf(child.logic);

/** Whether its parent has asked to be told of each of its snapshots (`onSnapshot`, `syncSnapshot`). */
export const isWatched = (child: Child): boolean => tellsSnapshots(child) === true;

/** What a watched child tells of itself. */
export function snapshotEvent(child: Child): EventObject {
  const { status, output, error, context, input, value } = child.getSnapshot();
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
  setSnapshot(child, { ...child.getSnapshot(), context: value });
}

/** A child made by `fromTransition` takes an event. Returns what its parent hears of it. */
export function react(child: Child, event: EventObject, parent: AnyActorRef): EventObject[] {
  if (child.getSnapshot().status !== 'active') return [];
  try {
    const next = child.logic.transition(child.getSnapshot(), event, {
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
    setSnapshot(child, next);
    return isWatched(child) ? [snapshotEvent(child)] : [];
  } catch (thrown) {
    return [failed(child, thrown)];
  }
}

/** What its parent hears of a child as it begins: its first snapshot, or that a `fromTransition` could not make its first state. */
export function toldAtStart(child: Child): EventObject | undefined {
  const { status, error } = child.getSnapshot();
  if (status === 'error' && kindOfChild(child) === 'transition') return failed(child, error);
  return isWatched(child) ? snapshotEvent(child) : undefined;
}

function failed(child: Child, thrown: unknown): EventObject {
  // Where it was thrown is another place whenever the step is computed again.
  const error = thrown instanceof Error ? withoutStack(thrown) : thrown;
  setSnapshot(child, { ...child.getSnapshot(), status: 'error', error });
  return { type: `xstate.error.actor.${child.id}`, error, actorId: child.id } as EventObject;
}

function withoutStack({ name, message }: Error): Error {
  const error = new Error(message);
  Object.defineProperties(error, { name: { value: name }, stack: { value: undefined } });
  return error;
}

/** Children of a snapshot that were not there before. */
export function newChildren(
  previous: AnyMachineSnapshot | undefined,
  snapshot: AnyMachineSnapshot,
): AnyActorRef[] {
  let found: AnyActorRef[] | undefined;
  if (snapshot.status !== 'active') return [];
  const children = snapshot.children as Record<string, AnyActorRef | undefined>;
  for (const id in children) {
    const child = children[id];
    if (!child || child === previous?.children[id]) continue;
    // An array that begins empty makes room for 17 at its first push.
    if (found) found.push(child);
    else found = [child];
  }
  return found ?? [];
}
