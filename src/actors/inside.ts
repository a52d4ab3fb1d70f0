import {
  Actor,
  type AnyActorLogic,
  type AnyActorRef,
  type AnyActorScope,
  type AnyMachineSnapshot,
  type AnyStateMachine,
  createEmptyActor,
  type EventObject,
} from 'xstate';

/**
 * XState's inside. Every member and event of XState's that its documentation does not name and the engine uses stands in this
 * file and in no other (test/unit/tidy.test.ts); xstate.test.ts and logic.test.ts pin all of it, on the newest XState and on the
 * oldest (`npm run test:oldest`).
 */

/** What an actor is sent to end it. */
export const STOP = 'xstate.stop';

type StateNode = AnyMachineSnapshot['_nodes'][number];

interface Child {
  _snapshot: object;
  _syncSnapshot?: boolean;
  _parent?: object;
}

/** A child that is never started stands for what was asked: what it shows is given to it. */
export const setSnapshot = (child: AnyActorRef, snapshot: object): void => {
  (child as unknown as Child)._snapshot = snapshot;
};

/** Its parent has asked to be told of each of its snapshots. */
export const tellsSnapshots = (child: AnyActorRef): boolean | undefined =>
  (child as unknown as Child)._syncSnapshot;

/** Whose child it is. */
export const parentRef = (ref: object): object | undefined => (ref as Child)._parent;

/** The active states, in the order in which XState has entered them. */
export const nodesOf = ({ _nodes }: AnyMachineSnapshot): readonly StateNode[] => _nodes;

export const setNodes = (snapshot: AnyMachineSnapshot, nodes: StateNode[]): void => {
  snapshot._nodes = nodes;
};

/** Of a machine in which one chain of states is active: the last one entered, which has none below it. */
export const leafOf = ({ _nodes }: AnyMachineSnapshot): StateNode => _nodes.at(-1) as StateNode;

/** In the states of `place`, which are shared by all who are in them, with a context and children of its own. */
export const placedAs = (
  place: AnyMachineSnapshot,
  context: unknown,
  children: object,
): AnyMachineSnapshot =>
  ({
    status: 'active',
    output: undefined,
    error: undefined,
    machine: place.machine,
    context,
    _nodes: place._nodes,
    value: place.value,
    tags: place.tags,
    children,
    historyValue: place.historyValue,
    matches: place.matches,
    hasTag: place.hasTag,
    can: place.can,
    getMeta: place.getMeta,
    toJSON: place.toJSON,
  }) as AnyMachineSnapshot;

/** The transitions an event leads to, guards looked at. */
export const transitionsOf = (
  machine: AnyStateMachine,
  snapshot: AnyMachineSnapshot,
  event: EventObject,
): readonly object[] => machine.getTransitionData(snapshot, event);

/** As XState writes a reference in a context. */
export const isWrittenRef = (value: object): value is { id: unknown } =>
  'xstate$$type' in value && 'id' in value;

/** A machine that answers `event` with `transition`, whatever its states would do, and everything else as before. */
export function answering(
  machine: AnyStateMachine,
  event: EventObject,
  transition: object,
): AnyStateMachine {
  // XState asks the snapshot's machine what an event leads to. Its states could catch the event before the root does.
  const value = (at: AnyMachineSnapshot, given: EventObject) =>
    given === event ? [transition] : machine.getTransitionData(at, given);
  return Object.create(machine, { getTransitionData: { value } });
}

/** What XState's creators make but machines; each kind answers to private events of its own, and nothing of the user's is called. */
export function creatorOf(
  logic: object,
): 'promise' | 'callback' | 'observable' | 'events' | 'transition' | 'unknown' {
  const { transition, getInitialSnapshot, start } = logic as Partial<AnyActorLogic>;
  const { config } = logic as { config?: unknown };
  if (typeof config !== 'function' || !transition || !getInitialSnapshot) return 'unknown';
  // Only this one has nothing to start; its `transition` calls the user's.
  if (!start) return 'transition';
  const after = (event: { type: string; data?: unknown }) =>
    transition(BEGUN, event, { self: {} } as AnyActorScope) as Record<string, unknown>;
  try {
    if (after({ type: 'xstate.promise.resolve', data: 'x' }).output === 'x') return 'promise';
    if (after({ type: 'xstate.observable.next', data: 'x' }).context === 'x') return 'observable';
    if (after({ type: 'xstate.observable.complete' }).status === 'done') return 'events';
    return 'unknown';
  } catch (error) {
    // A callback looks for the receivers of the actor it runs for, and there is no such actor.
    return error instanceof TypeError && String(start).includes('sendBack')
      ? 'callback'
      : 'unknown';
  }
}

const BEGUN = {
  status: 'active',
  output: undefined,
  error: undefined,
  context: undefined,
} as const;

/** An edge that a microstep has taken. */
export interface Edge {
  source: { id: string };
  eventType: string;
  target?: readonly { id: string }[] | undefined;
}

/** `#source|EVENT|#target,#target`. */
export const edgeText = ({ source, eventType, target }: Edge): string =>
  `#${source.id}|${eventType}|${target ? target.map(({ id }) => `#${id}`).join(',') : ''}`;

/** What is ours of an actor system. */
export interface SystemParts {
  /** An id for a child that was given none. */
  makeId(): string;
  /** What `makeId` ends in: enough where the id is hardly ever looked at. */
  nextBook(): number;
  keep(systemId: string, ref: AnyActorRef): void;
  forget(ref: AnyActorRef): void;
  get(systemId: string): AnyActorRef | undefined;
  getAll(): Record<string, AnyActorRef>;
  taken(edges: readonly Edge[]): void;
}

const BOOK = Symbol('perdure.book');

/** An actor system in which nothing runs. */
export const systemOf = (parts: SystemParts): object => ({
  ...emptySystem(),
  _bookId: () => parts.makeId(),
  [BOOK]: () => parts.nextBook(),
  _register: (sessionId: string) => sessionId,
  _unregister: (ref: AnyActorRef) => parts.forget(ref),
  _set: (systemId: string, ref: AnyActorRef) => parts.keep(systemId, ref),
  get: (systemId: string) => parts.get(systemId),
  getAll: () => parts.getAll(),
  _relay() {},
  _sendInspectionEvent(event: { type: string; _transitions?: Edge[] }) {
    if (event.type === '@xstate.microstep' && event._transitions) parts.taken(event._transitions);
  },
  scheduler: { schedule() {}, cancel() {}, cancelAll() {} },
});

/** Stands in for members nobody calls; `createSystem` itself is not exported. */
export const emptySystem = (): AnyActorRef['system'] => createEmptyActor().system;

/** What XState looks for in whoever is `self`, beside what it documents. */
export abstract class Inner {
  readonly _parent: AnyActorRef | undefined;
  abstract get send(): (event: EventObject) => void;

  constructor(parent: AnyActorRef | undefined) {
    this._parent = parent;
  }

  _send(event: EventObject): void {
    this.send(event);
  }
}

/** What makes a child: the logic, and what an invoke says of it. */
export interface ChildOptions {
  id: string;
  src: string;
  logic: AnyActorLogic;
  parent: AnyActorRef;
  input: unknown;
  syncSnapshot: boolean;
}

/**
 * A child that is never started, as XState's `createActor` would make it, without what only one that runs needs (a mailbox,
 * observers, a scope of its own): as many are made as there are invokes.
 * @throws what the logic throws as it begins
 */
export const unstarted = (options: ChildOptions): AnyActorRef =>
  new Unstarted(options) as unknown as AnyActorRef;

class Unstarted {
  readonly logic: AnyActorLogic;
  readonly id: string;
  readonly src: string;
  readonly #book: number;
  readonly systemId: undefined;
  readonly system: AnyActorRef['system'];
  readonly ref = this;
  readonly send = nothing;
  readonly _parent: AnyActorRef;
  readonly _syncSnapshot: boolean;
  _snapshot: object;

  constructor({ logic, id, src, parent, input, syncSnapshot }: ChildOptions) {
    this.logic = logic;
    this.id = id;
    this.src = src;
    this.system = parent.system;
    this._parent = parent;
    this._syncSnapshot = syncSnapshot;
    this.#book = (parent.system as unknown as { [BOOK](): number })[BOOK]();
    this._snapshot = logic.getInitialSnapshot(NO_SCOPE, input) as object;
  }

  /** As `_bookId` would have made it, in the turn of the parent; hardly anybody looks at it. */
  get sessionId(): string {
    return `${this._parent.sessionId}:${this.#book}`;
  }

  subscribe() {
    return { unsubscribe() {} };
  }

  on() {
    return { unsubscribe() {} };
  }
}

Object.setPrototypeOf(Unstarted.prototype, Actor.prototype);

function nothing(): void {}

/** Promises, callbacks and observables look at nothing of it before they start. */
const NO_SCOPE = {} as AnyActorScope;
