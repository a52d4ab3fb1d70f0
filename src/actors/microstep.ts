import type {
  AnyActorRef,
  AnyActorScope,
  AnyMachineSnapshot,
  AnyStateMachine,
  EventObject,
  ExecutableActionObject,
} from 'xstate';
import { XSTATE_VERSION } from './envelope.ts';
import { leafOf, placedAs, STOP, transitionsOf, unstarted } from './inside.ts';
import { type Act, actOf, isChain, type Move, Moves, type Spawn, type Written } from './moves.ts';
import type { Collected, StepScope } from './scope.ts';
import type { StateNodeOf } from './states.ts';
import { without } from './without.ts';

/**
 * What `machine.transition` does, for the steps most machines mostly do, without what XState makes anew for each of them: sets
 * of states, a snapshot for every action, an actor system's actor for every promise. Where anything is unlike that, nothing
 * has happened yet, and the step is XState's (docs/adr/0015). What a step comes to is the same, whoever computes it:
 * test/conformance/shortcut.test.ts.
 */

/** Whether this follows the algorithm of that version of XState; where it does not, every step is XState's own. */
export const isFollowed = (version: string): boolean => /^5\.3[123]\./.test(version);

const machines = new WeakMap<AnyStateMachine, Moves | null>();

function movesOf(machine: AnyStateMachine): Moves | null {
  let moves = machines.get(machine);
  if (moves === undefined) {
    const isPlain = isFollowed(XSTATE_VERSION) && isChain(machine.root as StateNodeOf);
    moves = isPlain ? new Moves(machine) : null;
    machines.set(machine, moves);
  }
  return moves;
}

/** The snapshot a machine begins with, the short way where there is one. */
export function initial(
  machine: AnyStateMachine,
  input: unknown,
  scope: StepScope,
): AnyMachineSnapshot {
  const { collected } = scope;
  return (
    (scope.hasSystemIds ? undefined : beginShortly(machine, input, scope.scope, collected)) ??
    (machine.getInitialSnapshot(scope.scope, input) as AnyMachineSnapshot)
  );
}

/** The next snapshot, the short way where there is one. */
export function transition(
  machine: AnyStateMachine,
  snapshot: AnyMachineSnapshot,
  event: EventObject,
  scope: StepScope,
): AnyMachineSnapshot {
  const { collected } = scope;
  return (
    (scope.hasSystemIds || event.type === STOP
      ? undefined
      : takeShortcut(machine, snapshot, event, scope.scope, collected)) ??
    (machine.transition(snapshot, event, scope.scope) as AnyMachineSnapshot)
  );
}

/** @returns undefined when XState has to do it; `collecting` is not touched then */
export function takeShortcut(
  machine: AnyStateMachine,
  snapshot: AnyMachineSnapshot,
  event: EventObject,
  scope: AnyActorScope,
  collecting: Collected,
): AnyMachineSnapshot | undefined {
  const isPlain = snapshot.machine === machine && snapshot.status === 'active';
  const moves = isPlain && event.type !== '*' ? movesOf(machine) : null;
  if (!moves) return undefined;
  const leaf = leafOf(snapshot);
  const transition = moves.chosen(leaf, event.type) ?? selected(machine, snapshot, event);
  if (!transition) return undefined;
  const move = moves.of(leaf, transition);
  if (!move) return undefined;
  const microstep = new Microstep(machine, snapshot, event, scope);
  const next = carriedOut(microstep, move, collecting);
  if (next) {
    if (collecting.edges.length === 0) collecting.edges = [move.edge];
    else collecting.edges.push(move.edge);
  } else if (microstep.isXStates) moves.giveUp(leaf, transition);
  return next;
}

/** The first snapshot likewise. */
export function beginShortly(
  machine: AnyStateMachine,
  input: unknown,
  scope: AnyActorScope,
  collecting: Collected,
): AnyMachineSnapshot | undefined {
  const moves = movesOf(machine);
  const move = moves?.first();
  if (!moves || !move) return undefined;
  const event = { type: 'xstate.init', input };
  const microstep = new Microstep(machine, placedAs(move.after, {}, {}), event, scope);
  const first = carriedOut(microstep, move, collecting, true);
  if (!first && microstep.isXStates) moves.giveUpFirst();
  return first;
}

/** The one transition an event leads to; undefined for none, for more than one, and where a guard throws. */
function selected(
  machine: AnyStateMachine,
  snapshot: AnyMachineSnapshot,
  event: EventObject,
): object | undefined {
  try {
    const [transition, another] = transitionsOf(machine, snapshot, event);
    return another ? undefined : transition;
  } catch {
    return undefined;
  }
}

/** Whatever is wrong with it, XState says in its own words: nothing has been collected then. */
function carriedOut(
  microstep: Microstep,
  move: Move,
  collecting: Collected,
  isFirst = false,
): AnyMachineSnapshot | undefined {
  const { book } = collecting;
  try {
    const snapshot = isFirst ? microstep.begin(move) : microstep.make(move);
    if (!microstep.isXStates) {
      if (collecting.actions.length === 0) collecting.actions = microstep.actions;
      else for (const action of microstep.actions) collecting.actions.push(action);
      return snapshot;
    }
  } catch {
    // Below.
  }
  collecting.book = book;
  return undefined;
}

type Children = Record<string, AnyActorRef>;

class Microstep {
  readonly #machine: AnyStateMachine;
  readonly #before: AnyMachineSnapshot;
  readonly #event: EventObject;
  readonly #scope: AnyActorScope;
  readonly actions: ExecutableActionObject[] = [];
  /** Events that would have to be taken in this very step. */
  readonly #raised: EventObject[] = [];
  #context: unknown;
  #children: Children;
  #hasSpawned = false;

  constructor(
    machine: AnyStateMachine,
    before: AnyMachineSnapshot,
    event: EventObject,
    scope: AnyActorScope,
  ) {
    this.#machine = machine;
    this.#before = before;
    this.#event = event;
    this.#scope = scope;
    this.#context = before.context;
    this.#children = before.children as Children;
  }

  /** It has turned out to be none of those that can be carried out here. */
  get isXStates(): boolean {
    return this.#hasSpawned || this.#raised.length > 0;
  }

  /** `make`, with the context the machine begins with. */
  begin(move: Move): AnyMachineSnapshot {
    const { context } = this.#machine.config as { context?: unknown };
    if (typeof context === 'function') {
      const { input } = this.#event as EventObject & { input: unknown };
      const made = context({ spawn: this.#spawn, input, self: this.#scope.self });
      this.#context = Object.assign({}, made);
    } else this.#context = context || {};
    return this.make(move);
  }

  make({ acts, after, end }: Move): AnyMachineSnapshot {
    for (const act of acts) this.#do(act);
    if (!end) return placedAs(after, this.#context, this.#children);
    const output = this.#output(end.final);
    for (const act of end.acts) this.#do(act);
    for (const id in this.#children) this.#tell('xstate.stopChild', this.#children[id]);
    const ended = { status: 'done', output };
    return { ...placedAs(after, this.#context, this.#children), ...ended } as AnyMachineSnapshot;
  }

  #do(act: Act): void {
    switch (act.do) {
      case 'call':
        this.actions.push({
          type: act.type,
          info: this.#info(),
          params: this.#paramsOf(act.params),
          exec: act.exec as never,
        });
        return;
      case 'assign':
        return this.#assign(act.assignment, this.#paramsOf(act.params));
      case 'spawn':
        return this.#begin(act);
      case 'stop': {
        const child = this.#children[act.childId];
        if (child) this.#children = without(this.#children, child.id);
        return this.#tell('xstate.stopChild', child);
      }
      case 'resolve':
        return this.#resolve(act);
    }
  }

  #assign(assignment: Written | Record<string, unknown>, params: unknown): void {
    const { self, system } = this.#scope;
    const args = { context: this.#context, event: this.#event, spawn: this.#spawn, self, system };
    let update: Record<string, unknown> = {};
    if (typeof assignment === 'function')
      update = assignment(args, params) as Record<string, unknown>;
    else
      for (const key of Object.keys(assignment)) {
        const value = assignment[key];
        update[key] = typeof value === 'function' ? value(args, params) : value;
      }
    this.#context = Object.assign({}, this.#context, update);
  }

  #begin({ id, src, logic, input, syncSnapshot }: Spawn): void {
    const { self } = this.#scope;
    const given =
      typeof input === 'function'
        ? input({ context: this.#context, event: this.#event, self })
        : input;
    const actorRef = unstarted({ id, src, logic, parent: self, input: given, syncSnapshot });
    this.#children = { ...this.#children, [id]: actorRef };
    this.#tell('xstate.spawnChild', { id, systemId: undefined, actorRef, src, input: given });
  }

  #resolve({ action, params }: Extract<Act, { do: 'resolve' }>): void {
    const now = placedAs(this.#before, this.#context, this.#children);
    const [next, resolved, more] = action.resolve(
      this.#scope,
      now,
      this.#info(),
      this.#paramsOf(params),
      action,
      { internalQueue: this.#raised, deferredActorIds: undefined },
    );
    this.#context = next.context;
    this.#children = next.children as Children;
    if ('execute' in action) this.#tell(action.type, resolved);
    for (const one of more ?? []) this.#do(actOf(this.#machine, one));
  }

  #info() {
    const { self, system } = this.#scope;
    return { context: this.#context, event: this.#event, self, system } as never;
  }

  #paramsOf(params: unknown): never {
    return (
      typeof params === 'function' ? params({ context: this.#context, event: this.#event }) : params
    ) as never;
  }

  #output(final: StateNodeOf): unknown {
    const { output } = this.#machine.root;
    if (output === undefined) return undefined;
    const resolve = (value: unknown, event: EventObject): unknown =>
      typeof value === 'function'
        ? value({ context: this.#context, event, self: this.#scope.self })
        : value;
    const ended = final.output === undefined ? undefined : resolve(final.output, this.#event);
    return resolve(output, { type: `xstate.done.state.${final.id}`, output: ended } as EventObject);
  }

  /** A built-in action: nothing but its parameters is ever looked at. */
  #tell(type: string, params: unknown): void {
    this.actions.push({ type, params, info: undefined, exec: undefined } as never);
  }

  readonly #spawn = (): never => {
    this.#hasSpawned = true;
    throw new Error('What is spawned in between is left to XState.');
  };
}
