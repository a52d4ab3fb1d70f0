import type { MachineRecord } from '../store/elsewhere.ts';
import type { Chart, ChartActor, ChartEdge, ChartMachine, ChartState } from './chart.ts';
import type { ActorType } from './define.ts';
import { kindOf } from './logic.ts';
import { logicInPlace, machineTypeOf } from './standIns.ts';
import { childrenOf, type StateNodeOf } from './states.ts';

/** An edge as XState has worked it out. */
type Transition = StateNodeOf['always'] extends (infer T)[] | undefined ? T : never;

/** The machine of an actor type and all machines below it, as data. */
function chartOf(type: ActorType): Chart {
  const known = new Map<ActorType, number>();
  const machines: ChartMachine[] = [];
  const add = (one: ActorType): number => {
    const position = known.get(one) ?? machines.length;
    if (known.has(one)) return position;
    known.set(one, position);
    const machine: ChartMachine = {
      id: one.machine.id,
      root: stateOf(one.machine.root),
      actors: {},
    };
    machines.push(machine);
    for (const [src, logic] of logicOf(one)) machine.actors[src] = actorOf(one, src, logic, add);
    return position;
  };
  add(type);
  return { machines, ...(type.searchable.length > 0 && { searchable: type.searchable }) };
}

/** What a node records of its types. */
export const recordsOf = (types: Iterable<ActorType>): MachineRecord[] =>
  [...types]
    .map((type) => ({
      type: type.name,
      version: type.version,
      definition: JSON.stringify(chartOf(type)),
    }))
    .sort((a, b) => (`${a.type}@${a.version}` < `${b.type}@${b.version}` ? -1 : 1));

/** Named logic, and logic that stands in the machine itself. */
function logicOf({ machine }: ActorType): Map<string, unknown> {
  const found = new Map(Object.entries(machine.implementations.actors as Record<string, unknown>));
  const look = (node: StateNodeOf): void => {
    for (const [position, { src }] of node.invoke.entries())
      if (typeof src === 'string' && !found.has(src)) found.set(src, logicInPlace(node, position));
    childrenOf(node).forEach(look);
  };
  look(machine.root);
  return found;
}

function actorOf(
  { retry, timeout }: ActorType,
  src: string,
  logic: unknown,
  add: (type: ActorType) => number,
): ChartActor {
  const type = machineTypeOf(logic);
  const attempts = (retry[src] ?? retry['*'])?.attempts;
  const timeoutMs = timeout[src] ?? timeout['*'];
  return {
    kind: kindOf(logic),
    ...(type && { machine: add(type) }),
    ...(attempts !== undefined && !type && { attempts }),
    ...(timeoutMs !== undefined && !type && { timeoutMs }),
  };
}

function stateOf(node: StateNodeOf): ChartState {
  const edges = [...[...node.transitions.values()].flat(), ...(node.always ?? [])] as Transition[];
  return {
    id: node.id,
    key: node.key,
    type: node.type,
    initial: (node.initial?.target ?? []).map(({ id }) => id),
    tags: [...node.tags],
    ...(node.description ? { description: node.description } : {}),
    entry: actionNames(node.entry),
    exit: actionNames(node.exit),
    invokes: node.invoke.map(({ id, src }) => ({ id, src: String(src) })),
    edges: edges.map((edge) => edgeOf(edge, node)),
    states: childrenOf(node).map(stateOf),
  };
}

function edgeOf(transition: Transition, { invoke }: StateNodeOf): ChartEdge {
  const { source, eventType, target, guard, actions, description } = transition;
  const targets = (target ?? []).map(({ id }) => id);
  const { delay } = transition as { delay?: unknown };
  const result = /^xstate\.(?:done|error|snapshot)\.(?:actor\.)?(.*)$/.exec(eventType)?.[1];
  const of = invoke.find(({ id }) => id === result && /^\d+\./.test(id))?.src;
  return {
    id: `#${source.id}|${eventType}|${targets.map((id) => `#${id}`).join(',')}`,
    event: eventType,
    targets,
    ...(guard === undefined ? {} : { guard: guardName(guard) }),
    ...(typeof delay === 'number' || typeof delay === 'string' ? { delay } : {}),
    actions: actionNames(actions),
    ...(typeof of === 'string' ? { of } : {}),
    ...(description ? { description } : {}),
  };
}

/** `isPaid`, `not isPaid`, `isPaid and inStock`; a function that has no name is `guard`. */
function guardName(guard: unknown): string {
  if (typeof guard === 'string') return guard;
  const { type, name, guards, check } = guard as {
    type?: string;
    name?: string;
    guards?: unknown[];
    check?: { name: string };
  };
  if (type !== undefined) return type;
  const inner = (guards ?? []).map(guardName);
  if (check?.name === 'checkNot') return `not ${inner[0] ?? 'guard'}`;
  if (check?.name === 'checkAnd') return inner.join(' and ');
  if (check?.name === 'checkOr') return inner.join(' or ');
  if (check?.name === 'checkStateIn') return 'stateIn';
  return name || 'guard';
}

/** XState's own say what they are; of the user's, those that have a name. */
function actionNames(actions: readonly unknown[]): string[] {
  return actions.flatMap((action) => {
    if (typeof action === 'string') return [action];
    const { type, name, event, sendId } = action as {
      type?: string;
      name?: string;
      event?: { type?: string };
      sendId?: unknown;
    };
    // What arms and drops the timers of `after` is drawn as their edges.
    if (String(event?.type ?? sendId).startsWith('xstate.after.')) return [];
    if (type !== undefined) return [type.replace(/^xstate\./, '')];
    return name && !['entry', 'exit', 'actions'].includes(name) ? [name] : [];
  });
}
