import {
  type AnyMachineSnapshot,
  type AnyStateMachine,
  cancel,
  type EventObject,
  raise,
  type Snapshot,
  type StateValue,
  spawnChild,
} from 'xstate';
import { asError, invariant, PerdureError } from '../errors.ts';
import type { Address } from '../store/store.ts';
import { parse } from './codec.ts';
import type { ActorType } from './define.ts';
import { type Envelope, nameMachines, reviveOwn } from './envelope.ts';
import { parentOf } from './kin.ts';
import { targetOf } from './refs.ts';
import type { StepScope } from './scope.ts';
import { childType } from './standIns.ts';
import { activeNodes, type StateNodeOf } from './states.ts';
import { completeStep, type Live, type Step, type StepLimits, systemIds } from './step.ts';
import { MIGRATE, type NewSnapshot } from './versions.ts';

/** A migration as a step: what the actor is before it, told in terms of the new machine, and what comes of it. */
export interface Migration {
  before: Live;
  /** Machine children the new version has no more: child id → the transition that started it. */
  abandoned: Record<string, number>;
  step: Step;
  event: EventObject & { from: string; to: string };
}

/**
 * Takes an actor over from the version that wrote `envelope` to `type`, which has `migrate` for it. Pure as any step (P1,
 * P2): invokes and timers that both states have go on under the transition that began them; what only the new one has
 * is begun, what only the old one had is dropped, and `always` of the new state is looked at.
 * @throws PerdureError `migrate_failed`: nothing has happened, the actor stays as it is
 */
export function migrateStep(
  type: ActorType,
  address: Address,
  scope: StepScope,
  seq: number,
  envelope: string,
  limits: StepLimits,
): Migration {
  const { version: from } = parse(envelope) as Envelope;
  try {
    const answer = askMigrate(type, parse(envelope) as Envelope);
    const event = { type: MIGRATE, from, to: type.version };
    const old = parse(envelope) as Envelope;
    const move = new Move(type.machine, address, old, answer);
    scope.begin(0, undefined);
    const before = move.before(scope, seq, envelope);
    scope.begin(before.book, systemIds(before.snapshot), seq + 1);
    const next = move.next(before.snapshot, event, scope);
    const step = completeStep(type, address, scope, before, before, next, limits);
    const gone = Object.entries(old.machines ?? {}).filter(([id]) => !(id in before.machines));
    return { before, abandoned: Object.fromEntries(gone), step, event };
  } catch (thrown) {
    const { message } = asError(thrown);
    throw new PerdureError(
      'migrate_failed',
      `${address.type}/${address.id} cannot go from version ${from} to ${type.version}: ${message}`,
      { cause: thrown },
    );
  }
}

type Persisted = Snapshot<unknown> & {
  value: StateValue;
  context: Record<string, unknown>;
  historyValue?: Record<string, { id: string }[]>;
  children: Record<string, OldChild>;
};

interface OldChild {
  /** Empty for a machine's, which has a row of its own. */
  snapshot: { status?: string };
  src: unknown;
}

function askMigrate({ migrate }: ActorType, old: Envelope): NewSnapshot<AnyStateMachine> {
  const run = migrate[old.version];
  invariant(run, `there is no migrate for version ${old.version}`);
  const { value, context } = old.snapshot as Persisted;
  const answer: unknown = run({ value, context, version: old.version });
  if (typeof answer !== 'object' || answer === null || !('value' in answer))
    throw new Error('migrate must answer { value, context }.');
  const { context: given } = answer as { context?: unknown };
  if (typeof given !== 'object' || given === null)
    throw new Error('migrate must answer a context that is an object.');
  return answer as NewSnapshot<AnyStateMachine>;
}

/** One actor on its way from an old state to a new one. */
class Move {
  readonly #machine: AnyStateMachine;
  readonly #address: Address;
  readonly #old: Envelope;
  readonly #context: Record<string, unknown>;
  readonly #value: StateValue;
  /** Active states of the new machine, outermost first. */
  readonly #nodes: StateNodeOf[];
  /** Children that go on. */
  readonly #kept: Record<string, OldChild> = {};

  constructor(
    machine: AnyStateMachine,
    address: Address,
    old: Envelope,
    answer: NewSnapshot<AnyStateMachine>,
  ) {
    this.#machine = machine;
    this.#address = address;
    this.#old = old;
    this.#context = answer.context;
    // Says which state there is none of, where XState would take some of what does not fit for something else.
    activeNodes(machine.root, answer.value);
    const resolved = machine.resolveState(answer);
    if (resolved.status !== 'active')
      throw new Error('migrate must not answer a final state; answer one that leads there.');
    this.#value = resolved.value;
    this.#nodes = activeNodes(machine.root, resolved.value);
    this.#keepChildren();
  }

  /** The actor at the end of its old life, as far as the new machine knows it. */
  before(scope: StepScope, seq: number, envelope: string): Live {
    const { started, timers, book, machines = {}, path = [] } = this.#old;
    const snapshot = this.#machine.restoreSnapshot(
      {
        ...this.#old.snapshot,
        value: this.#value,
        context: this.#context,
        historyValue: this.#history(),
        children: this.#kept,
      } as unknown as Snapshot<unknown>,
      scope.scope,
    ) as AnyMachineSnapshot;
    nameMachines(snapshot, this.#old, this.#address);
    reviveOwn(snapshot);
    const kept = (begun: Record<string, number>) =>
      Object.fromEntries(Object.entries(begun).filter(([id]) => id in snapshot.children));
    return {
      snapshot,
      seq,
      book,
      started: kept(started),
      timers,
      machines: kept(machines),
      path,
      envelope,
    };
  }

  /** One transition of the new machine that begins what is missing and stays where it is. */
  next(snapshot: AnyMachineSnapshot, event: EventObject, { scope }: StepScope): AnyMachineSnapshot {
    const machine = this.#machine;
    const transition = {
      source: machine.root,
      target: undefined,
      actions: this.#actions(),
      eventType: MIGRATE,
      reenter: false,
    };
    // XState asks the snapshot's machine what an event leads to. Its states could catch the event before the root does.
    const moving = Object.create(machine, {
      getTransitionData: {
        value: (at: AnyMachineSnapshot, given: EventObject) =>
          given === event ? [transition] : machine.getTransitionData(at, given),
      },
    });
    const next = machine.transition(withMachine(snapshot, moving), event, scope);
    return withMachine(next as AnyMachineSnapshot, machine);
  }

  #actions(): unknown[] {
    const { timers } = this.#old;
    const delays = new Map(
      this.#nodes.flatMap(({ after }) =>
        after.map(({ eventType, delay }) => [eventType as string, delay] as const),
      ),
    );
    const actions: unknown[] = Object.keys(timers)
      .filter((timerId) => timerId.startsWith(AFTER) && !delays.has(timerId))
      .map((timerId) => cancel(timerId));
    for (const [id, delay] of delays)
      if (!(id in timers)) actions.push(raise({ type: id }, { id, delay: delay as number }));
    for (const { invoke } of this.#nodes)
      for (const asked of invoke)
        if (!(asked.id in this.#kept)) {
          const options = { ...asked, syncSnapshot: !!asked.onSnapshot };
          actions.push(spawnChild(asked.src as string, options as object));
        }
    return actions;
  }

  #keepChildren(): void {
    const { children, value } = this.#old.snapshot as Persisted;
    const wasActive = activePaths(value);
    const invoked = new Map(
      this.#nodes.flatMap((node) => node.invoke.map((asked) => [asked.id, { node, asked }])),
    );
    const named = this.#machine.implementations.actors;
    const inContext = childrenIn(this.#context);
    for (const [id, child] of Object.entries(children)) {
      const found = invoked.get(id);
      if (found) {
        const { node, asked } = found;
        // Its result has been taken already. In a state it comes to anew it is asked for anew.
        const { status = 'active' } = child.snapshot;
        if (status !== 'active' && !wasActive.has(node.path.join('.'))) continue;
        if (!this.#isOfOneKind(id, asked.src as string)) continue;
        this.#kept[id] = { ...child, src: asked.src };
      } else if (
        this.#isSpawned(id, inContext) &&
        (child.src as string) in named &&
        this.#isOfOneKind(id, child.src as string)
      )
        this.#kept[id] = child;
    }
  }

  /** A machine, which has a row of its own, goes on as a machine and as nothing else. */
  #isOfOneKind(id: string, src: string): boolean {
    const wasMachine = id in (this.#old.machines ?? {});
    return wasMachine === (childType({ machine: this.#machine }, src) !== undefined);
  }

  /** No state asks for it: it belongs to the actor as long as its context knows it, or when it never had a name. */
  #isSpawned(id: string, inContext: ReadonlySet<string>): boolean {
    const { type, id: actorId } = this.#address;
    return inContext.has(id) || id.startsWith(`${type}/${actorId}:`);
  }

  #byId(id: string): StateNodeOf | undefined {
    try {
      return this.#machine.getStateNodeById(id) as StateNodeOf;
    } catch {
      return undefined;
    }
  }

  /** What history states remember, where the new machine has all of it. */
  #history(): Record<string, { id: string }[]> {
    const { historyValue = {} } = this.#old.snapshot as Persisted;
    const fits = ([id, states]: [string, { id: string }[]]) => {
      const parent = this.#byId(id)?.parent;
      return parent && states.every((state) => isBelow(this.#byId(state.id), parent));
    };
    return Object.fromEntries(Object.entries(historyValue).filter(fits));
  }
}

const AFTER = 'xstate.after.';

function withMachine(snapshot: AnyMachineSnapshot, machine: AnyStateMachine): AnyMachineSnapshot {
  return Object.assign(snapshot, { machine });
}

function isBelow(node: StateNodeOf | undefined, parent: StateNodeOf): boolean {
  for (let at = node?.parent; at; at = at.parent) if (at === parent) return true;
  return false;
}

/** Dotted paths of a state value; '' is the root. */
function activePaths(value: StateValue): Set<string> {
  const paths = new Set(['']);
  const add = (at: StateValue, prefix: string) => {
    if (typeof at === 'string') return void paths.add(prefix + at);
    for (const [key, below] of Object.entries(at)) {
      paths.add(prefix + key);
      if (below !== undefined) add(below, `${prefix}${key}.`);
    }
  };
  add(value, '');
  return paths;
}

/** Ids of the children a context refers to, as XState writes such a reference. */
function childrenIn(context: unknown): Set<string> {
  const ids = new Set<string>();
  const seen = new Set<unknown>();
  const look = (value: unknown): void => {
    if (typeof value !== 'object' || value === null || seen.has(value)) return;
    seen.add(value);
    const target = targetOf(value);
    const child = target && (target.child ?? parentOf(target)?.childId);
    if (child !== undefined) ids.add(child);
    else if ('xstate$$type' in value && 'id' in value) ids.add(String(value.id));
    else for (const item of Object.values(value)) look(item);
  };
  look(context);
  return ids;
}
