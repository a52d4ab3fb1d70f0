import type { ActorType } from '../actors/define.ts';
import { childrenOf, type StateNodeOf } from '../actors/states.ts';
import type { Received } from '../store/check.ts';

/** Something that can be said of one place in a machine. */
export interface PlaceFinding {
  /** An `error` can hardly be meant; a `note` is worth a thought. */
  level: 'error' | 'note';
  /** `#order.paying`, `action greet`. */
  place: string;
  problem: string;
  cure: string;
}

/**
 * Events that meet nobody: raised ones no state handles, and handlers of ends that cannot come. What is sent from outside, or
 * by a function, cannot be seen here; `unheard` says it of what was recorded.
 */
export function eventFindings(machine: ActorType['machine']): PlaceFinding[] {
  const found: PlaceFinding[] = [];
  const heard = descriptorsOf(machine.root as StateNodeOf);
  const raises = (place: string, actions: readonly unknown[]) => {
    for (const event of raisedBy(actions))
      if (!isHeard(heard, event))
        found.push({
          level: 'error',
          place,
          problem: `raises ${JSON.stringify(event)}, which no state handles`,
          cure: 'Is its name right? Handle it somewhere, or do not raise it.',
        });
  };
  const invoked = new Set<string>();
  const collect = (node: StateNodeOf): void => {
    for (const { id } of node.invoke) invoked.add(id);
    childrenOf(node).forEach(collect);
  };
  collect(machine.root as StateNodeOf);
  const look = (node: StateNodeOf): void => {
    const place = `#${node.id}`;
    raises(place, actionsOf(node));
    if (node.transitions.has(`xstate.done.state.${node.id}`) && !hasEnd(node))
      found.push({
        level: 'error',
        place,
        problem: 'has an onDone that can never happen: nothing in it is final',
        cure: "Make a state in it final (type: 'final'), in each region of a parallel one.",
      });
    for (const event of node.transitions.keys()) {
      const id = /^xstate\.(?:done|error)\.actor\.([^*]+)$/.exec(event)?.[1];
      if (id !== undefined && !invoked.has(id))
        found.push({
          level: 'note',
          place,
          problem: `handles ${JSON.stringify(event)}, and no state invokes ${JSON.stringify(id)}`,
          cure: 'Fine when it is spawned under this id; else correct the id.',
        });
    }
    childrenOf(node).forEach(look);
  };
  look(machine.root as StateNodeOf);
  for (const [key, action] of Object.entries(machine.implementations.actions))
    raises(`action ${key}`, [action]);
  return found;
}

/** Events that were sent to actors of the type and that no state of the machine handles. */
export function unheard({ machine }: ActorType, received: readonly Received[]): PlaceFinding[] {
  const heard = descriptorsOf(machine.root as StateNodeOf);
  return received
    .filter(({ event }) => !isHeard(heard, event))
    .map(({ event, times }) => ({
      level: 'note',
      place: `#${machine.root.id}`,
      problem: `was sent ${times} × ${JSON.stringify(event)}, which no state handles`,
      cure: 'Handle it, or correct whoever sends it.',
    }));
}

/** Whether it can be done at all, whatever leads there. */
export function hasEnd(node: StateNodeOf, counts: (child: StateNodeOf) => boolean = () => true) {
  const children = childrenOf(node).filter(({ type }) => type !== 'history');
  const isDone = (child: StateNodeOf): boolean => child.type === 'final' || hasEnd(child, counts);
  if (node.type === 'parallel') return children.every(isDone);
  return children.some((child) => child.type === 'final' && counts(child));
}

function descriptorsOf(node: StateNodeOf): Set<string> {
  const all = new Set<string>(node.transitions.keys());
  for (const child of childrenOf(node)) for (const event of descriptorsOf(child)) all.add(event);
  return all;
}

function isHeard(descriptors: ReadonlySet<string>, event: string): boolean {
  if (descriptors.has(event) || descriptors.has('*')) return true;
  for (const descriptor of descriptors)
    if (descriptor.endsWith('.*') && `${event}.`.startsWith(descriptor.slice(0, -1))) return true;
  return false;
}

const actionsOf = (node: StateNodeOf): unknown[] => [
  ...node.entry,
  ...node.exit,
  ...[...[...node.transitions.values()].flat(), ...(node.always ?? [])].flatMap(
    ({ actions }) => actions as unknown[],
  ),
];

/** Types of the events that stand in `raise` as they are; `after` is XState's own. */
function raisedBy(actions: readonly unknown[]): string[] {
  return actions.flatMap((action) => {
    if (typeof action !== 'function' || !('event' in action) || !('type' in action)) return [];
    const { type, event } = action as { type: unknown; event: { type?: unknown } | undefined };
    const name = event?.type;
    if (type !== 'xstate.raise' || typeof name !== 'string') return [];
    return name.startsWith('xstate.') ? [] : [name];
  });
}
