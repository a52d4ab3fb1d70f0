import type { AnyStateMachine, StateValue } from 'xstate';

/** A state of a machine, as XState keeps it. */
export type StateNodeOf = AnyStateMachine['root'];

export const childrenOf = (node: StateNodeOf): StateNodeOf[] =>
  Object.values(node.states) as StateNodeOf[];

/**
 * The states a value names, outermost first; what it leaves out below them is not filled in.
 * @throws Error when the machine has no such state
 */
export function activeNodes(node: StateNodeOf, value: StateValue | undefined): StateNodeOf[] {
  if (value === undefined) return [node];
  const parts: [string, StateValue | undefined][] =
    typeof value === 'string' ? [[value, undefined]] : Object.entries(value);
  if (node.type === 'compound' && parts.length > 1)
    throw new Error(
      `state #${node.id} is in one of its states at a time, not in ${parts.map(([key]) => key).join(' and ')}.`,
    );
  const below = parts.flatMap(([key, deeper]) => {
    const child = node.states[key] as StateNodeOf | undefined;
    if (!child || child.type === 'history')
      throw new Error(
        `there is no state ${JSON.stringify(key)} in #${node.id}; it has ${stateNames(node)}.`,
      );
    return activeNodes(child, deeper);
  });
  return [node, ...below];
}

const stateNames = (node: StateNodeOf): string => Object.keys(node.states).join(', ') || 'none';
