import { inspect } from 'node:util';
import type { ActorRef, AnyActorRef, EventObject } from 'xstate';
import type { Address } from '../store/store.ts';
import { parentRef } from './inside.ts';
import { isPossible, rootOf } from './kin.ts';

/** Whom a reference names: an actor, one of its children, or what waits for an answer to what it asked. */
export interface Target extends Address {
  /** Id of a child that has no row of its own, or of one that has. */
  child?: string | undefined;
  /** The invoke that has asked, and the transition that started it. */
  invoke?: { id: string; seq: number } | undefined;
}

/** On references made here: whom they name. */
export const TARGET = Symbol('perdure.target');

/** A reference that is only good for sending to. */
class Peer {
  readonly id: string;
  readonly sessionId: string;
  readonly [TARGET]: Target;

  constructor(target: Target) {
    this.id = `${target.type}/${target.id}`;
    this.sessionId = this.id;
    this[TARGET] = target;
  }

  get ref() {
    return this;
  }

  send(): never {
    throw new Error(`Send to ${this.id} with sendTo(…): only then is it part of the commit.`);
  }

  getSnapshot(): undefined {
    return undefined;
  }

  [inspect.custom](): string {
    return shown(this[TARGET]);
  }
}

/** A reference as people read it: `→ order/o-1`, with what of that actor it names, as in idempotency keys. */
export function shown({ type, id, child, invoke }: Target): string {
  const inside = invoke ? [invoke.id, invoke.seq] : child === undefined ? [] : [child];
  const name = [type, id, ...inside].join('/');
  // Anybody may publish one, and must not drive the terminal it is printed on.
  return `→ ${/^[\w./:~-]+$/.test(name) ? name : inspect(name)}`;
}

/** The reference that names `target`. */
export const peer = (target: Target): AnyActorRef => new Peer(target) as unknown as AnyActorRef;

/**
 * A durable actor as a target: `sendTo(() => actorAddress('order', 'o-1'), { type: 'PAY' })`. What is sent is
 * committed with the transition that sends it and reaches the actor exactly once. It can only be sent to; it may be kept
 * in context and be part of an event. Type and id are 1 to 128 of `A-Z a-z 0-9 _ -`; what is sent to anything else becomes the
 * dead letter `bad_subject`.
 */
export function actorAddress<TEvent extends EventObject = EventObject>(
  type: string,
  id: string,
): ActorRef<never, TEvent> {
  // JavaScript gives a number, or nothing at all, where an id is wanted: it must not reach where all are text.
  return new Peer({ type: String(type), id: String(id) }) as unknown as ActorRef<never, TEvent>;
}

/** Whom a reference names; undefined for anything that is no reference to a durable actor or to a child of one. */
export function targetOf(ref: object): Target | undefined {
  const named = (ref as { [TARGET]?: Target })[TARGET];
  if (named) return named;
  const { id } = ref as { id?: unknown };
  const owner = (parentRef(ref) as { [TARGET]?: Target } | undefined)?.[TARGET];
  return owner && typeof id === 'string'
    ? { type: owner.type, id: owner.id, child: id }
    : undefined;
}

/** Event type of a message whose target is not the actor it is addressed to, but one of its family. */
export const FOR = 'perdure.for';

/**
 * A message as it travels: to the root of the target's family, which passes it on. `event` is encoded. An address no actor can
 * have stays as it is, as far as a row can hold it: the outbox makes a dead letter of it.
 */
export function addressed(to: Target, event: string): Address & { body: string } {
  const possible = isPossible(to);
  const { type, id } = possible ? rootOf(to) : { type: held(to.type), id: held(to.id) };
  const isRoot = (id === to.id || !possible) && to.child === undefined && to.invoke === undefined;
  const named = `{"$perdure":"Ref","v":${JSON.stringify(to)}}`;
  const body = isRoot ? event : `{"type":"${FOR}","to":${named},"event":${event}}`;
  return { type, id, body };
}

/** More than any token has: what was cut is none, either. */
const HELD_MAX = 300;

/** Postgres' text holds no NUL. */
const held = (part: string): string => part.slice(0, HELD_MAX).replace(/\p{Cc}/gu, '\uFFFD');
