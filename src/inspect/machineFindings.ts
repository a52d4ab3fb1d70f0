import type { AnyTransitionDefinition } from 'xstate';
import type { ActorType } from '../actors/define.ts';
import { childTypes } from '../actors/standIns.ts';
import { childrenOf, type StateNodeOf } from '../actors/states.ts';
import { eventFindings, hasEnd, type PlaceFinding } from './eventFindings.ts';

/** What can be said of a machine by looking at it alone. */
export interface MachineFinding extends PlaceFinding {
  type: string;
  version: string;
}

/** States that cannot be reached or left, events that meet nobody, and invokes whose failure nobody hears of. */
export const machineFindings = (type: ActorType): MachineFinding[] =>
  machinesOf(type).flatMap(findingsOf);

/** The type itself, and the machines it has invoked or spawned somewhere below, each once. */
function machinesOf(type: ActorType, found = new Set<ActorType>()): ActorType[] {
  if (found.has(type)) return [];
  found.add(type);
  for (const child of childTypes(type)) machinesOf(child, found);
  return [...found];
}

function findingsOf({ name, version, machine }: ActorType): MachineFinding[] {
  const root = machine.root as StateNodeOf;
  const reachable = new Reach(root).states;
  const findings: MachineFinding[] = [];
  const find = (level: MachineFinding['level'], node: StateNodeOf, problem: string, cure: string) =>
    findings.push({ level, type: name, version, place: `#${node.id}`, problem, cure });
  const look = (node: StateNodeOf): void => {
    if (node.type === 'history') return;
    // Those below it cannot be reached either, and need no line of their own.
    if (!reachable.has(node))
      return void find(
        'error',
        node,
        'can never be reached',
        'Give some reachable state a transition to it, or remove it.',
      );
    if (isDeadEnd(node))
      find(
        'error',
        node,
        'is a dead end: it is not final, and nothing leads out of it or happens in it',
        "Make it final (type: 'final'), or give it a transition.",
      );
    for (const { id } of node.invoke)
      if (!hears(node, `xstate.error.actor.${id}`))
        find(
          'note',
          node,
          `invoke ${id} has no onError: when it fails for good, the actor ends in status error`,
          'Add onError if the actor should go on.',
        );
    for (const child of childrenOf(node)) look(child);
  };
  look(root);
  for (const found of eventFindings(machine)) findings.push({ type: name, version, ...found });
  return findings;
}

/** States an actor can come to, whatever its guards say. */
class Reach {
  readonly states = new Set<StateNodeOf>();
  /** Those entered as a whole: with what they are in at first. */
  readonly #whole = new Set<StateNodeOf>();

  /** What is left only once it is done, until it can be. */
  readonly #endless = new Set<StateNodeOf>();

  constructor(root: StateNodeOf) {
    this.#enter(root);
    while (this.#end());
  }

  /** Whether one more state turned out to have an end. */
  #end(): boolean {
    for (const node of this.#endless) {
      if (!hasEnd(node, (child) => this.states.has(child))) continue;
      this.#endless.delete(node);
      this.#follow(node.transitions.get(doneOf(node)) ?? []);
      return true;
    }
    return false;
  }

  #enter(node: StateNodeOf): void {
    if (node.type === 'history') return this.#enterHistory(node);
    const parent = node.parent as StateNodeOf | undefined;
    // All regions of a parallel state are entered with any of them.
    if (parent) this.#add(parent);
    for (let at = parent; at; at = at.parent as StateNodeOf | undefined)
      if (at.type === 'parallel') for (const region of childrenOf(at)) this.#default(region);
    this.#default(node);
  }

  #default(node: StateNodeOf): void {
    if (node.type === 'history' || this.#whole.has(node)) return;
    this.#whole.add(node);
    this.#add(node);
    if (node.type === 'parallel') for (const region of childrenOf(node)) this.#default(region);
    if (node.type === 'compound') this.#initial(node);
  }

  #initial(node: StateNodeOf): void {
    for (const target of node.initial.target) this.#enter(target as StateNodeOf);
  }

  /** It leads to what was active before, which has been reached then, or to its default. */
  #enterHistory(node: StateNodeOf): void {
    const parent = node.parent as StateNodeOf;
    const { target } = node.config as { target?: string };
    if (target === undefined) return this.#default(parent);
    this.#add(parent);
    const named = parent.states[target.split('.')[0] as string] as StateNodeOf | undefined;
    // A target elsewhere: rare enough to take all of its siblings for reached.
    for (const state of named ? [named] : childrenOf(parent)) this.#default(state);
  }

  #add(node: StateNodeOf): void {
    if (this.states.has(node)) return;
    this.states.add(node);
    const parent = node.parent as StateNodeOf | undefined;
    if (parent) this.#add(parent);
    if (node.transitions.has(doneOf(node))) this.#endless.add(node);
    this.#follow(transitionsOf(node).filter(({ eventType }) => eventType !== doneOf(node)));
  }

  #follow(transitions: readonly AnyTransitionDefinition[]): void {
    for (const { target } of transitions)
      for (const to of target ?? []) this.#enter(to as StateNodeOf);
  }
}

const doneOf = ({ id }: StateNodeOf): string => `xstate.done.state.${id}`;

const transitionsOf = (node: StateNodeOf): AnyTransitionDefinition[] => [
  ...[...node.transitions.values()].flat(),
  ...(node.always ?? []),
];

/** Nothing happens in it, or in any state that is active with it. */
function isDeadEnd(node: StateNodeOf): boolean {
  if (node.type !== 'atomic') return false;
  let from = node;
  for (let at: StateNodeOf | undefined = node; at; at = at.parent as StateNodeOf | undefined) {
    if (reacts(at)) return false;
    const others = at.type === 'parallel' ? childrenOf(at).filter((other) => other !== from) : [];
    if (others.some(reactsSomewhere)) return false;
    from = at;
  }
  return true;
}

/** That a state is done takes a final one in it, which this one is not. */
function reacts(node: StateNodeOf): boolean {
  if (node.always && node.always.length > 0) return true;
  return [...node.transitions.keys()].some((event) => !event.startsWith('xstate.done.state.'));
}

const reactsSomewhere = (node: StateNodeOf): boolean =>
  reacts(node) || childrenOf(node).some(reactsSomewhere);

/** Some active state has a transition for the event. */
function hears(node: StateNodeOf, event: string): boolean {
  const fits = (descriptor: string) =>
    descriptor === event ||
    descriptor === '*' ||
    (descriptor.endsWith('.*') && event.startsWith(descriptor.slice(0, -1)));
  for (let at: StateNodeOf | undefined = node; at; at = at.parent as StateNodeOf | undefined)
    if ([...at.transitions.keys()].some(fits)) return true;
  return false;
}
