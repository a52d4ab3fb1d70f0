import { inspect } from 'node:util';
import type {
  AnyActorRef,
  AnyActorScope,
  AnyMachineSnapshot,
  AnyStateMachine,
  EventObject,
  ExecutableActionObject,
} from 'xstate';
import { type Address, addressKey } from '../store/store.ts';
import { edgeText, Inner, nodesOf, setNodes, systemOf } from './inside.ts';
import { parentOf } from './kin.ts';
import { actorAddress, peer, shown, TARGET, type Target } from './refs.ts';

/**
 * A machine is driven by `transition` (`actors/microstep`), or XState's own, with a scope of ours, so that a step computes
 * everything and runs nothing (design §6). Steps are synchronous, so one actor system serves all actors of the process: `enter`
 * says whose turn it is. What is kept for each actor in memory is only its `self`.
 */
export class StepScope {
  readonly scope: AnyActorScope;
  readonly self: AnyActorRef;
  /** Actors of the family that go by a system id; left out where the actor's own children are all there are. */
  systemIds: (() => Map<string, AnyActorRef> | undefined) | undefined;

  constructor(address: Address, parent: AnyActorRef | undefined, key: string) {
    const self = new Self(address, parent, key);
    this.self = self as unknown as AnyActorRef;
    this.scope = new Scope(self) as unknown as AnyActorScope;
  }

  /** From now on what the actor's own actions send to `self` goes there. */
  set receiver(receiver: Receiver) {
    (this.self as unknown as Self).receiver = receiver;
  }

  /** Starts collecting step `seq`. `book` continues the actor's own counter of made-up ids. */
  begin(
    book: number,
    systemIds: Map<string, AnyActorRef> | undefined,
    seq = 0,
    before?: AnyMachineSnapshot,
  ): void {
    turn = { session: this.self.sessionId, seq, collected: { actions: [], edges: [], book } };
    keyed = systemIds;
    seen = before;
  }

  /** Lets `system.get` and `self.getSnapshot` answer for this actor while its actions run. */
  enter(systemIds: Map<string, AnyActorRef> | undefined, snapshot?: AnyMachineSnapshot): void {
    turn = { ...turn, session: this.self.sessionId };
    keyed = systemIds;
    seen = snapshot;
  }

  /** Runs `initial` as the first step of a child, in the middle of the step that begins it. */
  within<T>(initial: () => T): { result: T; collected: Collected } {
    const outer = { turn, seen };
    seen = undefined;
    turn = { session: this.self.sessionId, seq: 1, collected: { actions: [], edges: [], book: 0 } };
    try {
      return { result: initial(), collected: turn.collected };
    } finally {
      ({ turn, seen } = outer);
    }
  }

  /** Goes on with what `within` has collected. */
  resume(collected: Collected): void {
    turn = { session: this.self.sessionId, seq: 1, collected };
    seen = undefined;
  }

  /** Children go by system ids, which are taken and given back while a step is computed. */
  get hasSystemIds(): boolean {
    return keyed !== undefined;
  }

  /** What the step has collected since `begin`. */
  get collected(): Collected {
    return turn.collected;
  }
}

export interface Collected {
  actions: ExecutableActionObject[];
  /** Edges taken, see `edgeText`. */
  edges: string[];
  book: number;
}

/** The actor whose turn it is, and its step. */
let turn: { session: string; seq: number; collected: Collected } = {
  session: '',
  seq: 0,
  collected: { actions: [], edges: [], book: 0 },
};
/** What the actor was before its step. */
let seen: AnyMachineSnapshot | undefined;
/** Children that have a system id, if there are any. */
let keyed: Map<string, AnyActorRef> | undefined;

/** Number of the step that is being computed. */
export const currentSeq = (): number => turn.seq;

const system = systemOf({
  makeId: () => `${turn.session}:${turn.collected.book++}`,
  nextBook: () => turn.collected.book++,
  forget,
  keep(systemId, ref) {
    keyed ??= new Map();
    const known = keyed.get(systemId);
    if (known !== undefined && known !== ref)
      throw new Error(`Actor with system ID '${systemId}' already exists.`);
    keyed.set(systemId, ref);
  },
  get: (systemId) => keyed?.get(systemId) ?? remote(systemId),
  getAll: () => Object.fromEntries(keyed ?? []),
  taken(edges) {
    for (const edge of edges) turn.collected.edges.push(edgeText(edge));
  },
});

/** Gets what the actor's own actions send to `self`. */
export interface Receiver {
  receive(event: EventObject): void;
}

/** What machines and actions see as `self`. */
class Self extends Inner {
  readonly id: string;
  readonly sessionId: string;
  readonly ref = this;
  readonly system = system;
  readonly [TARGET]: Target;
  #receiver: Receiver | undefined;
  #send: ((event: EventObject) => void) | undefined;

  constructor(address: Address, parent: AnyActorRef | undefined, key: string) {
    const above = parentOf(address);
    super(parent ?? (above && peer(above.parent)));
    this.id = above ? above.childId : address.id;
    this.sessionId = key;
    this[TARGET] = address;
  }

  /** Bound, as XState's own is; few actors ever send themselves something. */
  get send(): (event: EventObject) => void {
    this.#send ??= (event) => this.#receiver?.receive(event);
    return this.#send;
  }

  /** XState's own can be replaced, too: tests do. */
  set send(send: (event: EventObject) => void) {
    this.#send = send;
  }

  set receiver(receiver: Receiver) {
    this.#receiver = receiver;
  }

  getSnapshot(): AnyMachineSnapshot | undefined {
    return turn.session === this.sessionId ? seen : undefined;
  }

  on() {
    return { unsubscribe() {} };
  }

  subscribe() {
    return { unsubscribe() {} };
  }

  [inspect.custom](): string {
    return shown(this[TARGET]);
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

function forget(ref: AnyActorRef): void {
  for (const [systemId, known] of keyed ?? []) if (known === ref) keyed?.delete(systemId);
}

/** The child, and with it the children it has. */
function unregister(child: AnyActorRef | undefined): void {
  if (!child || !keyed) return;
  forget(child);
  const { children } = (child.getSnapshot() ?? {}) as { children?: Record<string, AnyActorRef> };
  for (const id in children) unregister(children[id]);
}

/**
 * One for one actor in memory. `parent`: the `self` of the machine that has invoked or spawned it; only who is in
 * memory has one that is more than a name. `key`: its address as text.
 */
export function createStepScope(
  address: Address,
  parent?: AnyActorRef,
  key = addressKey(address),
): StepScope {
  return new StepScope(address, parent, key);
}

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
export const activeIds = (machine: AnyStateMachine, snapshot: AnyMachineSnapshot) =>
  hasParallel(machine) ? nodesOf(snapshot).map(({ id }) => id) : undefined;

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
  const nodes = activeIds.map((id) => machine.getStateNodeById(id));
  setNodes(snapshot, nodes);
  snapshot.value = value;
  snapshot.tags = new Set(nodes.flatMap(({ tags }) => tags));
}

/** `system.get('order/o-1')` names another durable actor. */
function remote(systemId: string): AnyActorRef | undefined {
  const [type, id, ...rest] = systemId.split('/');
  return type && id && rest.length === 0 ? actorAddress(type, id) : undefined;
}
