import { type AnyActorLogic, type AnyActorScope, StateMachine } from 'xstate';
import { MachineLogic } from './machineLogic.ts';

/** What XState's creators make, and how it runs: all but `transition` and `machine` run beside the actor, under an attempt. */
export type LogicKind =
  | 'promise'
  | 'callback'
  | 'observable'
  | 'events'
  | 'transition'
  | 'machine'
  | 'unknown';

const asked = new WeakMap<object, LogicKind>();

/**
 * XState puts no mark on what its creators make, so this asks the logic itself: each kind answers to private events of
 * its own. Nothing of the user's is called. Pinned by test/unit/logic.test.ts.
 */
export function kindOf(logic: unknown): LogicKind {
  if (typeof logic !== 'object' || logic === null) return 'unknown';
  let answer = asked.get(logic);
  if (answer === undefined) {
    answer = find(logic);
    asked.set(logic, answer);
  }
  return answer;
}

function find(logic: object): LogicKind {
  if (logic instanceof MachineLogic || logic instanceof StateMachine) return 'machine';
  const { transition, getInitialSnapshot, start } = logic as Partial<AnyActorLogic>;
  const { config } = logic as { config?: unknown };
  if (typeof config !== 'function' || !transition || !getInitialSnapshot) return 'unknown';
  // Of XState's creators only this one has nothing to start; its `transition` calls the user's.
  if (!start) return 'transition';
  const after = (event: { type: string; data?: unknown }) =>
    transition(BEGUN, event, { self: {} } as AnyActorScope) as Record<string, unknown>;
  try {
    if (after({ type: 'xstate.promise.resolve', data: 'x' }).output === 'x') return 'promise';
    if (after({ type: 'xstate.observable.next', data: 'x' }).context === 'x') return 'observable';
    if (after({ type: 'xstate.observable.complete' }).status === 'done') return 'events';
    return 'unknown';
  } catch (error) {
    // A callback looks for the receivers of the actor it runs for, and there is no such actor.
    return error instanceof TypeError && String(start).includes('sendBack')
      ? 'callback'
      : 'unknown';
  }
}

const BEGUN = {
  status: 'active',
  output: undefined,
  error: undefined,
  context: undefined,
} as const;

const waiting = new WeakSet<object>();

/** Marks a promise that does nothing but wait for somebody else. */
export function waitsOnly<T extends object>(logic: T): T {
  waiting.add(logic);
  return logic;
}

/** Nobody knows when it ends: giving its shard away need not wait for it, and it takes nobody's place. */
export const isOpenEnded = (logic: object): boolean =>
  kindOf(logic) !== 'promise' || waiting.has(logic);
