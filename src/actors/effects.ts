import type { ActorRef, AnyActorRef, EventObject } from 'xstate';
import type { Address } from '../store/store.ts';

/**
 * What a committed transition causes, in the order XState decided. Closed: `shard.ts` runs them in one
 * exhaustive switch, after the commit and never before (G3). What is only data (timers, messages to other
 * actors) is not here: it is written by the commit itself.
 */
export type Effect =
  | { kind: 'action'; type: string; run: () => unknown }
  | { kind: 'invoke'; invokeId: string; seq: number; child: AnyActorRef }
  /** Acknowledged like an action: after a crash it is said again. */
  | { kind: 'tell'; invokeId: string; seq: number; event: EventObject }
  | { kind: 'stop'; invokeId: string; seq: number }
  /** A timer of the step that is due at once: an event for the actor itself. `begins`: of a child that begins. */
  | { kind: 'due'; timerId: string; begins: boolean }
  | { kind: 'emit'; event: EventObject }
  | { kind: 'log'; label: string | undefined; value: unknown };

/** What has to be acknowledged before it counts as done, and is done again after a crash. */
export type Act = Extract<Effect, { kind: 'action' | 'tell' }>;

export const isAct = (effect: Effect): effect is Act =>
  effect.kind === 'action' || effect.kind === 'tell';

/** The key an effect carries to the outside: the same on every attempt and after every crash (G4). */
export const idempotencyKey = (address: Address, invokeId: string, seq: number): string =>
  `${address.type}/${address.id}/${invokeId}/${seq}`;

const addresses = new WeakMap<object, Address>();

/**
 * A durable actor as a target: `sendTo(() => actorAddress('order', 'o-1'), { type: 'PAY' })`. What is sent is
 * committed with the transition that sends it and reaches the actor exactly once. It can only be sent to: keep
 * the id, not the address, in context.
 */
export function actorAddress<TEvent extends EventObject = EventObject>(
  type: string,
  id: string,
): ActorRef<never, TEvent> {
  const ref = {
    id: `${type}/${id}`,
    sessionId: `${type}/${id}`,
    send() {
      throw new Error(`Send to ${type}/${id} with sendTo(…): only then is it part of the commit.`);
    },
  };
  const self = Object.assign(ref, { ref });
  addresses.set(self, { type, id });
  return self as unknown as ActorRef<never, TEvent>;
}

/** The address behind a reference made by `actorAddress`; undefined for anything else. */
export const addressOf = (ref: object): Address | undefined => addresses.get(ref);
