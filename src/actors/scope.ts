import {
  type AnyActorRef,
  type AnyActorScope,
  createEmptyActor,
  type EventObject,
  type ExecutableActionObject,
} from 'xstate';
import type { Address } from '../store/store.ts';
import { actorAddress } from './effects.ts';

/**
 * The door to XState's inside. A machine is driven through `machine.transition(snapshot, event, scope)` with a
 * scope of ours, so that a step computes everything and runs nothing (design §6). This file and `invocation.ts`
 * are the only ones that touch members XState does not document; test/unit/xstate.test.ts pins them.
 */
export interface StepScope {
  readonly scope: AnyActorScope;
  readonly self: AnyActorRef;
  /** Starts collecting. `book` continues the actor's own counter of made-up ids. */
  begin(book: number, systemIds: Map<string, AnyActorRef>): void;
  /** What the step has collected since `begin`. */
  readonly collected: Collected;
}

export interface Collected {
  actions: ExecutableActionObject[];
  /** Edges taken, `#source|EVENT|#target,#target`. */
  edges: string[];
  book: number;
}

interface Microstep {
  source: { id: string };
  eventType: string;
  target?: { id: string }[];
}

/**
 * One scope for one actor in memory: its `self` is what actions see as `self`, and what they send to it goes to
 * `deliver`.
 */
export function createStepScope(
  address: Address,
  deliver: (event: EventObject) => void,
): StepScope {
  let keyed = new Map<string, AnyActorRef>();
  const collected: Collected = { actions: [], edges: [], book: 0 };
  const system = {
    ...baseSystem,
    _bookId: () => `${address.type}/${address.id}:${collected.book++}`,
    _register: (sessionId: string) => sessionId,
    _unregister(ref: AnyActorRef) {
      for (const [systemId, known] of keyed) if (known === ref) keyed.delete(systemId);
    },
    _set(systemId: string, ref: AnyActorRef) {
      const known = keyed.get(systemId);
      if (known !== undefined && known !== ref)
        throw new Error(`Actor with system ID '${systemId}' already exists.`);
      keyed.set(systemId, ref);
    },
    get: (systemId: string) => keyed.get(systemId) ?? remote(systemId),
    getAll: () => Object.fromEntries(keyed),
    _relay(_source: unknown, _target: unknown, _event: unknown) {},
    _sendInspectionEvent(event: { type: string; _transitions?: Microstep[] }) {
      if (event.type !== '@xstate.microstep') return;
      for (const { source, eventType, target } of event._transitions ?? [])
        collected.edges.push(
          `#${source.id}|${eventType}|${(target ?? []).map(({ id }) => `#${id}`).join(',')}`,
        );
    },
    scheduler: { schedule() {}, cancel() {}, cancelAll() {} },
  };
  const self = {
    id: address.id,
    sessionId: `${address.type}/${address.id}`,
    system,
    send: deliver,
    _send: deliver,
    getSnapshot: () => undefined,
    on: () => ({ unsubscribe() {} }),
    subscribe: () => ({ unsubscribe() {} }),
  };
  Object.assign(self, { ref: self });
  const scope = {
    self,
    id: address.id,
    sessionId: self.sessionId,
    system,
    logger() {},
    emit() {},
    defer() {},
    stopChild() {},
    actionExecutor: (action: ExecutableActionObject) => void collected.actions.push(action),
  };
  return {
    scope: scope as unknown as AnyActorScope,
    self: self as unknown as AnyActorRef,
    collected,
    begin(book, systemIds) {
      keyed = systemIds;
      collected.book = book;
      collected.actions = [];
      collected.edges = [];
    },
  };
}

/** `system.get('order/o-1')` names another durable actor. */
function remote(systemId: string): AnyActorRef | undefined {
  const [type, id, ...rest] = systemId.split('/');
  return type && id && rest.length === 0 ? actorAddress(type, id) : undefined;
}

/** Only a stand-in for members nobody calls; `createSystem` itself is not exported. */
const baseSystem = createEmptyActor().system;
