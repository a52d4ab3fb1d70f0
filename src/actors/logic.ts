import type { AnyActorLogic, AnyActorScope } from 'xstate';

const asked = new WeakMap<object, boolean>();

/**
 * True for logic made by `fromPromise`. XState puts no mark on its creators, so this asks the logic itself: only
 * promise logic turns its private resolve event into a done snapshot. Pinned by test/unit/logic.test.ts.
 */
export function isPromiseLogic(logic: unknown): logic is AnyActorLogic {
  if (typeof logic !== 'object' || logic === null) return false;
  let answer = asked.get(logic);
  if (answer === undefined) {
    answer = resolves(logic);
    asked.set(logic, answer);
  }
  return answer;
}

function resolves(logic: object): boolean {
  const { transition, getInitialSnapshot, start } = logic as Partial<AnyActorLogic>;
  if (!('config' in logic) || !transition || !getInitialSnapshot || !start) return false;
  const scope = { self: {} } as AnyActorScope;
  try {
    const resolved = transition(
      { status: 'active', output: undefined, error: undefined },
      { type: 'xstate.promise.resolve', data: 'x' },
      scope,
    );
    return resolved.status === 'done' && resolved.output === 'x';
  } catch {
    return false;
  }
}
