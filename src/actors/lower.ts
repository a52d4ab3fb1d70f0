import type { AnyActorRef, AnyMachineSnapshot, EventObject, ExecutableActionObject } from 'xstate';
import { PerdureError } from '../errors.ts';
import type { Address } from '../store/store.ts';
import { stringify } from './codec.ts';
import { addressOf, type Effect } from './effects.ts';
import { isPromiseLogic } from './logic.ts';
import { type Live, SEND } from './step.ts';

/** A timer the step arms; its deadline is the commit's time plus `delayMs`. */
export interface Timer {
  timerId: string;
  delayMs: number;
  position: number;
  /** Encoded event. */
  event: string;
}

/** A message to another durable actor. */
export interface Message {
  /** Position among the transition's actions; part of the message id. */
  index: number;
  to: Address;
  /** Encoded event. */
  body: string;
}

export interface Lowered {
  effects: Effect[];
  timersArmed: Timer[];
  timersDropped: string[];
  messages: Message[];
  started: Record<string, number>;
  timers: Record<string, number>;
}

/**
 * Turns the actions XState resolved into what Perdure does: data for the commit (timers, messages) and effects
 * for after it. Built-in actions are read from their parameters; only custom actions are ever executed.
 */
export function lowerActions(
  address: Address,
  seq: number,
  before: Live,
  previous: AnyMachineSnapshot | undefined,
  snapshot: AnyMachineSnapshot,
  actions: readonly ExecutableActionObject[],
  self: AnyActorRef,
  nestingMax: number,
): Lowered {
  const effects: Effect[] = [];
  const armed = new Map<string, Timer>();
  const dropped = new Set<string>();
  const messages: Message[] = [];
  const started = { ...before.started };
  const live = snapshot.status === 'active';
  const pending = new Set(newChildren(previous, snapshot));

  actions.forEach((action, index) => {
    const params = action.params as Record<string, unknown> | undefined;
    switch (action.type) {
      case 'xstate.raise':
        if (typeof params?.delay === 'number') arm(index, params, params.event as EventObject);
        return;
      case 'xstate.sendTo':
        return send(index, params as Record<string, unknown>);
      case 'xstate.cancel':
        return drop(String(params?.sendId));
      case 'xstate.spawnChild':
        return invoke(params?.actorRef as AnyActorRef | undefined);
      case 'xstate.stopChild':
        return stop(action.params as unknown as AnyActorRef | undefined);
      case 'xstate.emit':
        effects.push({ kind: 'emit', event: params?.event as EventObject });
        return;
      case 'xstate.log':
        effects.push({ kind: 'log', label: params?.label as string, value: params?.value });
        return;
      default:
        if (action.exec)
          effects.push({
            kind: 'action',
            type: action.type,
            run: () => action.exec?.(action.info, action.params),
          });
    }
  });
  // Children that `assign` spawned come without an action of their own.
  for (const child of pending) invoke(child);

  if (!live) {
    for (const [invokeId, startedSeq] of Object.entries(started))
      effects.push({ kind: 'stop', invokeId, seq: startedSeq });
    armed.clear();
    for (const timerId of Object.keys(before.timers)) dropped.add(timerId);
  }
  const timers = { ...before.timers };
  for (const timerId of dropped) delete timers[timerId];
  for (const timerId of armed.keys()) timers[timerId] = seq;
  return {
    effects,
    timersArmed: [...armed.values()],
    timersDropped: [...dropped],
    messages,
    started: live ? started : {},
    timers,
  };

  function arm(index: number, params: Record<string, unknown>, event: EventObject): void {
    const timerId = typeof params.id === 'string' ? params.id : `${seq}.${index}`;
    if (timerId.includes('\0')) throw new PerdureError('step_failed', 'A timer id contains NUL.');
    dropped.delete(timerId);
    const delayMs = delayOf(params.delay);
    const text = stringify(event, 'event', nestingMax);
    armed.set(timerId, { timerId, delayMs, position: index, event: text });
  }

  function drop(timerId: string): void {
    armed.delete(timerId);
    if (timerId in before.timers) dropped.add(timerId);
  }

  function send(index: number, params: Record<string, unknown>): void {
    const to = params.to as object | undefined;
    const event = params.event as EventObject;
    // To itself: a timer that is due at once, so that it survives a crash like any other.
    if (to === self) return arm(index, params, event);
    const target = to && addressOf(to);
    // A promise has no mailbox; XState drops what is sent to one, and so does this.
    if (!target) return;
    if (typeof params.delay === 'number')
      arm(index, params, { type: SEND, to: target, event } as EventObject);
    else messages.push({ index, to: target, body: stringify(event, 'event', nestingMax) });
  }

  function invoke(child: AnyActorRef | undefined): void {
    if (!child || !pending.delete(child)) return;
    const { logic } = child as AnyActorRef & { logic: unknown };
    if (!isPromiseLogic(logic))
      throw new PerdureError(
        'step_failed',
        `${address.type} spawned ${child.id}, which is not made by fromPromise. This version of perdure runs promises only.`,
      );
    started[child.id] = seq;
    effects.push({ kind: 'invoke', invokeId: child.id, seq, child });
  }

  function stop(child: AnyActorRef | undefined): void {
    const startedSeq = child && before.started[child.id];
    if (!child || startedSeq === undefined || previous?.children[child.id] !== child) return;
    if (started[child.id] === startedSeq) delete started[child.id];
    effects.push({ kind: 'stop', invokeId: child.id, seq: startedSeq });
  }
}

/** NaN and below is at once, as with setTimeout; a century stands for ever. */
function delayOf(delay: unknown): number {
  return typeof delay === 'number' && delay > 0 ? Math.min(delay, CENTURY_MS) : 0;
}

const CENTURY_MS = 3_155_760_000_000;

function newChildren(
  previous: AnyMachineSnapshot | undefined,
  snapshot: AnyMachineSnapshot,
): AnyActorRef[] {
  if (snapshot.status !== 'active') return [];
  const children = snapshot.children as Record<string, AnyActorRef | undefined>;
  return Object.keys(children)
    .filter((id) => children[id] !== previous?.children[id])
    .map((id) => children[id] as AnyActorRef);
}
