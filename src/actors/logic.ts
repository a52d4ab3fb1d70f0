import { StateMachine } from 'xstate';
import { creatorOf } from './inside.ts';
import { MachineLogic } from './machineLogic.ts';

/** What XState's creators make, and how it runs: all but `transition` and `machine` run beside the actor, under an attempt. */
export type LogicKind = ReturnType<typeof creatorOf> | 'machine';

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

const find = (logic: object): LogicKind =>
  logic instanceof MachineLogic || logic instanceof StateMachine ? 'machine' : creatorOf(logic);

const waiting = new WeakSet<object>();

/** Marks a promise that does nothing but wait for somebody else. */
export function waitsOnly<T extends object>(logic: T): T {
  waiting.add(logic);
  return logic;
}

/** Nobody knows when it ends: giving its shard away need not wait for it, and it takes nobody's place. */
export const isOpenEnded = (logic: object): boolean =>
  kindOf(logic) !== 'promise' || waiting.has(logic);
