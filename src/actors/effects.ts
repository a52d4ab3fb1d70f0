import type { AnyActorRef, EventObject } from 'xstate';
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
  /** `text` is the event, encoded. */
  | { kind: 'emit'; event: EventObject; text: string }
  | { kind: 'log'; label: string | undefined; value: unknown };

/** What has to be acknowledged before it counts as done, and is done again after a crash. */
export type Act = Extract<Effect, { kind: 'action' | 'tell' }>;

export const isAct = (effect: Effect): effect is Act =>
  effect.kind === 'action' || effect.kind === 'tell';

/** The key an effect carries to the outside: the same on every attempt and after every crash (G4). */
export const idempotencyKey = (address: Address, invokeId: string, seq: number): string =>
  `${address.type}/${address.id}/${invokeId}/${seq}`;
