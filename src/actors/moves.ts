import type { AnyActorLogic, AnyMachineSnapshot, AnyStateMachine } from 'xstate';
import { edgeText } from './inside.ts';
import { kindOf } from './logic.ts';
import { inPlace } from './standIns.ts';
import { childrenOf, type StateNodeOf } from './states.ts';

/**
 * What a transition means for the states of a machine: which are left, which are entered, and what is done meanwhile, in
 * the order of XState's algorithm (SCXML, https://www.w3.org/TR/scxml/#AlgorithmforSCXMLInterpretation). That is the same each
 * time the transition is taken from the same state, so it is worked out once, and only for machines without parallel and
 * history states, in which one chain of states is active, from the root to a leaf.
 */
export interface Move {
  /** What is done: leaving, the transition's own, entering. */
  acts: readonly Act[];
  /** Where the machine is then: a snapshot of XState's own making. */
  after: AnyMachineSnapshot;
  /** The final state it ends in, and what is done as its states are left for good. */
  end: { final: StateNodeOf; acts: readonly Act[] } | undefined;
  edge: string;
}

export type Act =
  | { do: 'stop'; childId: string }
  | Spawn
  | { do: 'assign'; assignment: Assignment; params: Params }
  | { do: 'resolve'; action: BuiltIn; params: Params }
  | { do: 'call'; type: string; exec: Written | undefined; params: Params };

export interface Spawn {
  do: 'spawn';
  id: string;
  src: string;
  logic: AnyActorLogic;
  input: unknown;
  syncSnapshot: boolean;
}

/** Of an action that is written as an object: a value, or a function of context and event. */
export type Params = unknown;
export type Assignment = Written | Record<string, unknown>;
export type Written = (args: object, params: unknown) => unknown;

/** An action of XState's own, before it is known what it comes to. */
export interface BuiltIn {
  type: string;
  assignment?: Assignment;
  resolve(
    scope: object,
    snapshot: AnyMachineSnapshot,
    args: object,
    params: unknown,
    action: object,
    extra: object,
  ): [AnyMachineSnapshot, unknown, unknown[] | undefined];
}

interface Transition {
  source: StateNodeOf;
  target?: StateNodeOf[] | undefined;
  reenter: boolean;
  actions: readonly unknown[];
  eventType: string;
}

/** The moves of one machine, as they are met. */
export class Moves {
  readonly #machine: AnyStateMachine;
  readonly #known = new Map<StateNodeOf, Map<object, Move | null>>();
  readonly #places = new Map<StateNodeOf, AnyMachineSnapshot>();
  readonly #chains = new Map<StateNodeOf, readonly StateNodeOf[]>();
  #first: Move | null | undefined;

  constructor(machine: AnyStateMachine) {
    this.#machine = machine;
  }

  /** How the machine begins; null when that is left to XState. */
  first(): Move | null {
    if (this.#first === undefined) this.#first = this.#planned(() => this.#beginning());
    return this.#first;
  }

  /** What an event of that type leads to, where neither a guard nor a wildcard has a say in it; undefined: XState has to be asked. */
  chosen(leaf: StateNodeOf, eventType: string): object | undefined {
    let chain = this.#chains.get(leaf);
    if (!chain) {
      const upwards = chainOf(leaf).reverse();
      chain = upwards.some(hasWildcard) ? [] : upwards;
      this.#chains.set(leaf, chain);
    }
    for (const { transitions } of chain) {
      const candidate = transitions.get(eventType)?.[0];
      if (candidate) return candidate.guard === undefined ? candidate : undefined;
    }
    return undefined;
  }

  /** Null: left to XState. */
  of(leaf: StateNodeOf, transition: object): Move | null {
    const known = this.#known.get(leaf) ?? new Map<object, Move | null>();
    this.#known.set(leaf, known);
    let move = known.get(transition);
    if (move === undefined) {
      move = this.#planned(() => this.#taking(leaf, transition as Transition));
      known.set(transition, move);
    }
    return move;
  }

  /** It has turned out that this one is XState's. */
  giveUp(leaf: StateNodeOf, transition: object): void {
    this.#known.get(leaf)?.set(transition, null);
  }

  giveUpFirst(): void {
    this.#first = null;
  }

  /** What cannot be planned, for whatever reason, XState will say, or do. */
  #planned(plan: () => Move): Move | null {
    try {
      return plan();
    } catch {
      return null;
    }
  }

  #beginning(): Move {
    const { root } = this.#machine;
    const entered = [root, ...below(root)];
    return this.#move([], [], entered, new Set(entered), '');
  }

  #taking(leaf: StateNodeOf, transition: Transition): Move {
    const { source, target, reenter, actions } = transition;
    const edge = edgeText(transition);
    const active = chainOf(leaf);
    const to = target?.[0];
    if (!to) return this.#move(active, actions, [], NONE, edge);
    if (target.length > 1) unplanned();
    const domain = domainOf(source, to, reenter);
    const left = active.filter(
      (node) => isBelow(node, domain) || (reenter && node === source && source === domain),
    );
    const itself = source !== to || source !== domain || reenter ? [to] : [];
    const deeper = below(to);
    const byDefault = new Set([...itself, ...deeper]);
    const between = chainOf(to)
      .slice(0, -1)
      .filter((node) => isBelow(node, domain));
    const entered = [...between, ...itself, ...deeper];
    const kept = active.slice(0, active.length - left.length);
    const leaving = left.reverse().flatMap((node) => this.#leaving(node));
    return this.#move(
      kept,
      actions,
      entered.filter((node) => !kept.includes(node)),
      byDefault,
      edge,
      leaving,
    );
  }

  #move(
    kept: readonly StateNodeOf[],
    actions: readonly unknown[],
    entered: readonly StateNodeOf[],
    byDefault: ReadonlySet<StateNodeOf>,
    edge: string,
    leaving: readonly Act[] = [],
  ): Move {
    const leaf = entered.at(-1) ?? (kept.at(-1) as StateNodeOf);
    const chain = chainOf(leaf);
    // Which of these are taken, and when, only XState knows.
    if (chain.some(({ always }) => always)) unplanned();
    const after = this.#placeOf(leaf);
    const isFinal = leaf.type === 'final' && entered.length > 0;
    // The end of a state inside of others is an event for those.
    if (isFinal && leaf.parent !== this.#machine.root) unplanned();
    const acts = [
      ...leaving,
      ...this.#acts(actions),
      ...entered.flatMap((node) => this.#entering(node, byDefault.has(node))),
    ];
    const left = [...chain].reverse().flatMap(({ exit }) => this.#acts(exit));
    return { acts, after, end: isFinal ? { final: leaf, acts: left } : undefined, edge };
  }

  #leaving(node: StateNodeOf): Act[] {
    const stops = node.invoke.map(({ id }): Act => ({ do: 'stop', childId: id }));
    return [...this.#acts(node.exit), ...stops];
  }

  #entering(node: StateNodeOf, byDefault: boolean): Act[] {
    const entry = this.#acts(node.entry);
    // What is sent to an invoke before it is there is addressed anew when it is.
    if (node.invoke.length > 0 && entry.some(isAddressed)) unplanned();
    return [
      ...entry,
      ...node.invoke.map((invoke) => this.#spawn(invoke as unknown as Invoke)),
      ...(byDefault && node.type === 'compound' ? this.#acts(node.initial.actions) : []),
    ];
  }

  #spawn({ id, src, input, systemId, onSnapshot }: Invoke): Act {
    const named = this.#machine.implementations.actors as Record<string, AnyActorLogic | undefined>;
    const logic = named[src] ?? (inPlace(this.#machine, src) as AnyActorLogic | undefined);
    const kind = kindOf(logic);
    if (!logic || systemId !== undefined) unplanned();
    if (kind === 'machine' || kind === 'transition' || kind === 'unknown') unplanned();
    return { do: 'spawn', id, src, logic, input, syncSnapshot: Boolean(onSnapshot) };
  }

  #acts(actions: readonly unknown[]): Act[] {
    return actions.map((action) => actOf(this.#machine, action));
  }

  /** XState says what a snapshot is in which this leaf is active. */
  #placeOf(leaf: StateNodeOf): AnyMachineSnapshot {
    let place = this.#places.get(leaf);
    if (!place) {
      const value = chainOf(leaf)
        .slice(1)
        .reduceRight<object | string>(
          (deeper, { key }) => (deeper === '' ? key : { [key]: deeper }),
          '',
        );
      place = this.#machine.resolveState({
        value: value === '' ? {} : value,
        context: {},
      } as never);
      this.#places.set(leaf, place);
    }
    return place;
  }
}

interface Invoke {
  id: string;
  src: string;
  input: unknown;
  systemId?: string;
  onSnapshot?: unknown;
}

/** @throws when only XState can say what the action comes to */
export function actOf(machine: AnyStateMachine, action: unknown): Act {
  const written =
    typeof action === 'object' ? (action as { type: string; params?: Params }) : undefined;
  const named = machine.implementations.actions as Record<string, unknown>;
  const isInline = typeof action === 'function';
  const resolved = (isInline ? action : named[written?.type ?? (action as string)]) as
    | (Written & Partial<BuiltIn> & { delay?: unknown })
    | undefined;
  const params = written && 'params' in written ? written.params : undefined;
  if (!resolved || !('resolve' in resolved)) {
    const type = written?.type ?? (isInline ? resolved?.name || '(anonymous)' : (action as string));
    return { do: 'call', type, exec: resolved, params };
  }
  switch (resolved.type) {
    case 'xstate.assign':
      return { do: 'assign', assignment: resolved.assignment as Assignment, params };
    case 'xstate.raise':
      // At once: another step in this step.
      if (resolved.delay === undefined) unplanned();
      break;
    case 'xstate.spawnChild':
    case 'xstate.stopChild':
      unplanned();
  }
  return { do: 'resolve', action: resolved as unknown as BuiltIn, params };
}

/** It may be sent to whom is only just about to be there. */
const isAddressed = (act: Act): boolean => act.do === 'resolve' && 'retryResolve' in act.action;

const NONE: ReadonlySet<StateNodeOf> = new Set();

function unplanned(): never {
  throw new Error('This is left to XState.');
}

const hasWildcard = ({ transitions }: StateNodeOf): boolean =>
  [...transitions.keys()].some((eventType) => eventType.includes('*'));

/** From the root to the state itself. */
function chainOf(node: StateNodeOf): StateNodeOf[] {
  const chain: StateNodeOf[] = [];
  for (let at: StateNodeOf | undefined = node; at; at = at.parent as StateNodeOf | undefined)
    chain.unshift(at);
  return chain;
}

/** States that are entered by default below one that is. */
function below(node: StateNodeOf): StateNodeOf[] {
  if (node.type !== 'compound') return [];
  const { target } = node.initial as unknown as { target: StateNodeOf[] };
  const child = target[0];
  if (!child || child.parent !== node || target.length > 1) unplanned();
  return [child, ...below(child)];
}

/** The innermost state that a transition stays in; undefined when not even the root. */
function domainOf(source: StateNodeOf, to: StateNodeOf, reenter: boolean): StateNodeOf | undefined {
  if (!reenter && (to === source || isBelow(to, source))) return source;
  for (let at = to.parent as StateNodeOf | undefined; at; at = at.parent as StateNodeOf | undefined)
    if (isBelow(source, at)) return at;
  return reenter ? undefined : (source.machine.root as StateNodeOf);
}

/** Everything is below what is above the root. */
function isBelow(node: StateNodeOf, above: StateNodeOf | undefined): boolean {
  if (above === undefined) return true;
  for (
    let at = node.parent as StateNodeOf | undefined;
    at;
    at = at.parent as StateNodeOf | undefined
  )
    if (at === above) return true;
  return false;
}

/** Whether one chain of states is all that is ever active, and nothing is remembered of what was. */
export function isChain(node: StateNodeOf): boolean {
  return node.type !== 'parallel' && node.type !== 'history' && childrenOf(node).every(isChain);
}
