import {
  type AnyActorRef,
  type AnyActorScope,
  type AnyMachineSnapshot,
  type AnyStateMachine,
  createEmptyActor,
  type EventObject,
  type ExecutableActionObject,
} from 'xstate';
import { type Address, addressKey } from '../store/store.ts';
import { parentOf } from './kin.ts';
import { actorAddress, peer, TARGET, type Target } from './refs.ts';

/**
 * The door to XState's inside. A machine is driven through `machine.transition(snapshot, event, scope)` with a
 * scope of ours, so that a step computes everything and runs nothing (design §6). What XState does not document is
 * touched here and where test/unit/tidy.test.ts says; test/unit/xstate.test.ts pins it.
 *
 * Steps are synchronous, so one actor system serves all actors of the process: `enter` says whose turn it is. What is
 * kept for each actor in memory is only its `self`.
 */
export class StepScope {
  readonly scope: AnyActorScope;
  readonly self: AnyActorRef;
  /** Actors of the family that go by a system id; left out where the actor's own children are all there are. */
  systemIds: (() => Map<string, AnyActorRef> | undefined) | undefined;

  constructor(
    address: Address,
    deliver: (event: EventObject) => void,
    parent: AnyActorRef | undefined,
  ) {
    const self = new Self(address, deliver, parent);
    this.self = self as unknown as AnyActorRef;
    this.scope = new Scope(self) as unknown as AnyActorScope;
  }

  /** From now on what the actor's own actions send to `self` goes there. */
  set deliver(deliver: (event: EventObject) => void) {
    (this.self as unknown as Self).send = deliver;
  }

  /** Starts collecting step `seq`. `book` continues the actor's own counter of made-up ids. */
  begin(book: number, systemIds: Map<string, AnyActorRef> | undefined, seq = 0): void {
    turn = { session: this.self.sessionId, seq, collected: { actions: [], edges: [], book } };
    keyed = systemIds;
  }

  /** Lets `system.get` answer for this actor while its actions run. */
  enter(systemIds: Map<string, AnyActorRef> | undefined): void {
    keyed = systemIds;
  }

  /** Runs `initial` as the first step of a child, in the middle of the step that begins it. */
  within<T>(initial: () => T): { result: T; collected: Collected } {
    const outer = turn;
    turn = { session: this.self.sessionId, seq: 1, collected: { actions: [], edges: [], book: 0 } };
    try {
      return { result: initial(), collected: turn.collected };
    } finally {
      turn = outer;
    }
  }

  /** Goes on with what `within` has collected. */
  resume(collected: Collected): void {
    turn = { session: this.self.sessionId, seq: 1, collected };
  }

  /** What the step has collected since `begin`. */
  get collected(): Collected {
    return turn.collected;
  }
}

export interface Collected {
  actions: ExecutableActionObject[];
  /** Edges taken, `#source|EVENT|#target,#target`. */
  edges: string[];
  book: number;
}

/** The actor whose turn it is, and its step. */
let turn: { session: string; seq: number; collected: Collected } = {
  session: '',
  seq: 0,
  collected: { actions: [], edges: [], book: 0 },
};
/** Children that have a system id, if there are any. */
let keyed: Map<string, AnyActorRef> | undefined;

/** Number of the step that is being computed. */
export const currentSeq = (): number => turn.seq;

interface Microstep {
  source: { id: string };
  eventType: string;
  target?: { id: string }[];
}

const system = {
  // Stands in for members nobody calls; `createSystem` itself is not exported.
  ...createEmptyActor().system,
  _bookId: () => `${turn.session}:${turn.collected.book++}`,
  _register: (sessionId: string) => sessionId,
  _unregister(ref: AnyActorRef) {
    for (const [systemId, known] of keyed ?? []) if (known === ref) keyed?.delete(systemId);
  },
  _set(systemId: string, ref: AnyActorRef) {
    keyed ??= new Map();
    const known = keyed.get(systemId);
    if (known !== undefined && known !== ref)
      throw new Error(`Actor with system ID '${systemId}' already exists.`);
    keyed.set(systemId, ref);
  },
  get: (systemId: string) => keyed?.get(systemId) ?? remote(systemId),
  getAll: () => Object.fromEntries(keyed ?? []),
  _relay() {},
  _sendInspectionEvent(event: { type: string; _transitions?: Microstep[] }) {
    if (event.type !== '@xstate.microstep' || !event._transitions) return;
    for (const { source, eventType, target } of event._transitions)
      turn.collected.edges.push(
        `#${source.id}|${eventType}|${target ? target.map(idOf).join(',') : ''}`,
      );
  },
  scheduler: { schedule() {}, cancel() {}, cancelAll() {} },
};

/** What machines and actions see as `self`. */
class Self {
  readonly id: string;
  readonly sessionId: string;
  readonly ref = this;
  readonly system = system;
  readonly [TARGET]: Target;
  readonly _parent: AnyActorRef | undefined;
  send: (event: EventObject) => void;

  constructor(
    address: Address,
    deliver: (event: EventObject) => void,
    parent: AnyActorRef | undefined,
  ) {
    const above = parentOf(address);
    this.id = above ? above.childId : address.id;
    this.sessionId = addressKey(address);
    this[TARGET] = address;
    this._parent = parent ?? (above && peer(above.parent));
    this.send = deliver;
  }

  _send(event: EventObject): void {
    this.send(event);
  }

  getSnapshot(): undefined {
    return undefined;
  }

  on() {
    return { unsubscribe() {} };
  }

  subscribe() {
    return { unsubscribe() {} };
  }
}

class Scope {
  readonly self: Self;
  readonly system = system;

  constructor(self: Self) {
    this.self = self;
  }

  get id(): string {
    return this.self.id;
  }

  get sessionId(): string {
    return this.self.sessionId;
  }

  logger(): void {}
  emit(): void {}
  defer(): void {}
  stopChild(): void {}

  actionExecutor(action: ExecutableActionObject): void {
    // As XState does: in the same step another child may take over its system id.
    if (action.type === 'xstate.stopChild') unregister(action.params as unknown as AnyActorRef);
    turn.collected.actions.push(action);
  }
}

/** The child, and with it the children it has. */
function unregister(child: AnyActorRef | undefined): void {
  if (!child || !keyed) return;
  system._unregister(child);
  const { children } = (child.getSnapshot() ?? {}) as { children?: Record<string, AnyActorRef> };
  for (const id in children) unregister(children[id]);
}

/**
 * One for one actor in memory; `deliver` gets what the actor's own actions send to `self`. `parent`: the `self` of the
 * machine that has invoked or spawned it; only who is in memory has one that is more than a name.
 */
export function createStepScope(
  address: Address,
  deliver: (event: EventObject) => void,
  parent?: AnyActorRef,
): StepScope {
  return new StepScope(address, deliver, parent);
}

const idOf = ({ id }: { id: string }): string => `#${id}`;

const withParallel = new WeakMap<AnyStateMachine, boolean>();

function hasParallel(machine: AnyStateMachine): boolean {
  let answer = withParallel.get(machine);
  if (answer === undefined) {
    const isSo = (node: AnyStateMachine['root']): boolean =>
      node.type === 'parallel' ||
      Object.values(node.states).some((child) => isSo(child as typeof node));
    answer = isSo(machine.root);
    withParallel.set(machine, answer);
  }
  return answer;
}

/**
 * The active states as XState holds them, by id: what it exits, and in which order, depends on that list, and after
 * transitions between parallel regions it is not the one that a restored snapshot gets. Undefined where the two cannot
 * differ.
 */
export const activeIds = (machine: AnyStateMachine, { _nodes }: AnyMachineSnapshot) =>
  hasParallel(machine) ? _nodes.map(({ id }) => id) : undefined;

/** What of a written snapshot XState makes up anew when it restores it. */
interface Written {
  value: AnyMachineSnapshot['value'];
  historyValue?: Record<string, unknown[]>;
}

/**
 * Gives a restored snapshot what it was written with: its list of active states, and a state value that may lack a region,
 * which XState fills in; and that a history state remembers nothing, which it takes for never having been left.
 */
export function restoreWritten(
  machine: AnyStateMachine,
  snapshot: AnyMachineSnapshot,
  { value, historyValue }: Written,
  activeIds: readonly string[] | undefined,
): void {
  const remembered = snapshot.historyValue as Record<string, unknown[]>;
  for (const id in historyValue) if (historyValue[id]?.length === 0) remembered[id] = [];
  if (!activeIds) return;
  snapshot._nodes = activeIds.map((id) => machine.getStateNodeById(id));
  snapshot.value = value;
  snapshot.tags = new Set(snapshot._nodes.flatMap(({ tags }) => tags));
}

/** `system.get('order/o-1')` names another durable actor. */
function remote(systemId: string): AnyActorRef | undefined {
  const [type, id, ...rest] = systemId.split('/');
  return type && id && rest.length === 0 ? actorAddress(type, id) : undefined;
}
