import type { AnyActorRef, AnyMachineSnapshot, EventObject, ExecutableActionObject } from 'xstate';
import { PerdureError } from '../errors.ts';
import type { Address } from '../store/store.ts';
import { checkTimerId, delayOf, inTurn, type Timer } from './arming.ts';
import { questionOf } from './asks.ts';
import { type Child, kindOfChild, newChildren, react, toldAtStart } from './children.ts';
import { parse, writeEvent } from './codec.ts';
import type { Effect } from './effects.ts';
import { parentRef, STOP } from './inside.ts';
import { isKin } from './kin.ts';
import { type Target, targetOf } from './refs.ts';
import { type Live, SEND, type StepLimits } from './step.ts';
import { NOTHING } from './without.ts';

/** A message to another durable actor. */
export interface Message {
  /** Position among the transition's actions, or which invoke asks; part of the message id. */
  index: number | `ask.${number}`;
  to: Target;
  /** Encoded event. */
  body: string;
}

/** What a step asks of other members of its family. A child machine goes by the id it has in its parent. */
export type KinAct =
  | { kind: 'begin'; childId: string }
  | { kind: 'stop'; childId: string }
  /** `event` is encoded. */
  | { kind: 'deliver'; to: Target; event: string };

export interface Lowered {
  effects: Effect[];
  timersArmed: Timer[];
  timersDropped: string[];
  messages: Message[];
  kin: KinAct[];
  started: Readonly<Record<string, number>>;
  timers: Readonly<Record<string, number>>;
  machines: Readonly<Record<string, number>>;
}

/** One step, as it has to be lowered. */
export interface Lowering {
  address: Address;
  seq: number;
  before: Live;
  previous: AnyMachineSnapshot | undefined;
  snapshot: AnyMachineSnapshot;
  self: AnyActorRef;
  limits: StepLimits;
}

/**
 * Turns the actions XState resolved into what Perdure does: data for the commit (timers, messages) and effects
 * for after it. Built-in actions are read from their parameters; only custom actions are ever executed.
 */
export function lowerActions(step: Lowering, actions: readonly ExecutableActionObject[]): Lowered {
  const lowering = new StepLowering(step, actions);
  for (let index = 0; index < actions.length; index++)
    lowering.action(actions[index] as ExecutableActionObject, index);
  return lowering.finish();
}

type Params = Record<string, unknown>;

const NO_EFFECTS: Effect[] = Object.freeze([]) as never;

/** It is what it comes to, so that nothing has to be copied. */
class StepLowering implements Lowered {
  readonly #step: Lowering;
  readonly #actions: readonly ExecutableActionObject[];
  effects: Effect[] = NO_EFFECTS;
  readonly messages: Message[] = [];
  kin: KinAct[] = [];
  /** Copied when something changes: most steps leave one of the two as it is. */
  started: Record<string, number>;
  machines: Readonly<Record<string, number>>;
  timers: Readonly<Record<string, number>>;
  timersArmed: Timer[] = [];
  timersDropped: string[] = [];
  /** Made when something is put into it, like the others below: most steps arm and drop nothing. */
  #armed: Map<string, Timer> | undefined;
  #dropped: Set<string> | undefined;
  /** Children of the new snapshot that were not there before and have not been started yet. */
  readonly #new: AnyActorRef[];
  /** What those are told before they begin. */
  #early: { child: AnyActorRef; tell: () => void }[] | undefined;
  #startedIsOurs = false;
  #asks = 0;
  /** Children that were ended. */
  #stopped: AnyActorRef[] | undefined;
  /** What is due in no time. */
  #last: Effect[] | undefined;

  constructor(step: Lowering, actions: readonly ExecutableActionObject[]) {
    this.#step = step;
    this.#actions = actions;
    this.started = step.before.started;
    this.machines = step.before.machines;
    this.timers = step.before.timers;
    this.#new = newChildren(step.previous, step.snapshot);
  }

  action(action: ExecutableActionObject, index: number): void {
    const params = action.params as Params | undefined;
    switch (action.type) {
      case 'xstate.raise':
        if (typeof params?.delay === 'number')
          this.#armAs(index, params, params.event as EventObject);
        return;
      case 'xstate.sendTo':
        return this.#send(index, params as Params);
      case 'xstate.cancel':
        return this.#drop(String(params?.sendId));
      case 'xstate.spawnChild':
        if (params?.id === undefined) this.#name(params?.actorRef as AnyActorRef | undefined);
        return this.#invoke(params?.actorRef as AnyActorRef | undefined);
      case 'xstate.stopChild':
        return this.#stop(action.params as unknown as AnyActorRef | undefined);
      case 'xstate.emit':
        return this.#emit(params?.event as EventObject);
      case 'xstate.log':
        this.#effect({
          kind: 'log',
          label: params?.label as string | undefined,
          value: params?.value,
        });
        return;
      default:
        if (action.exec)
          this.#effect({
            kind: 'action',
            type: action.type,
            run: () => action.exec?.(action.info, action.params),
          });
    }
  }

  /** An array that is made with what is in it has no room to spare; most steps have one effect, and it waits for the commit. */
  #effect(effect: Effect): void {
    if (this.effects.length === 0) this.effects = [effect];
    else this.effects.push(effect);
  }

  finish(): Lowered {
    const { before, snapshot, seq } = this.#step;
    // Children that `assign` spawned come without an action of their own.
    while (this.#new.length > 0) this.#invoke(this.#new[0]);
    if (this.#last) for (const due of this.#last) this.#effect(due);
    if (snapshot.status !== 'active') {
      for (const invokeId in this.started)
        this.#effect({ kind: 'stop', invokeId, seq: this.started[invokeId] as number });
      this.started = NOTHING;
      this.machines = NOTHING;
      this.#armed = undefined;
      for (const timerId in before.timers) this.#drops().add(timerId);
    }
    if (this.#armed || this.#dropped) {
      const changed = { ...this.timers };
      for (const timerId of this.#dropped ?? []) delete changed[timerId];
      for (const timerId of this.#armed?.keys() ?? []) changed[timerId] = seq;
      this.timers = changed;
      this.timersArmed = inTurn([...(this.#armed?.values() ?? [])]);
      this.timersDropped = [...(this.#dropped ?? [])];
    }
    if (seq === 1 && this.kin.length > 1) this.kin = childrenFirst(this.kin);
    return this;
  }

  /** As all values are written, or refused: watchers are told nothing that is not what was emitted. */
  #emit(event: EventObject): void {
    this.#effect({ kind: 'emit', event, text: this.#write(event) });
  }

  /** What an action wants to happen later, or as soon as its step is done. Only what has a delay can be cancelled. */
  #armAs(index: number, { id, delay }: Params, event: EventObject): void {
    const named = typeof id === 'string' && typeof delay === 'number';
    this.#arm(named ? id : `${this.#step.seq}.${index}`, event, delay);
  }

  #arm(timerId: string, event: EventObject, delay?: unknown, begins = false): void {
    checkTimerId(timerId);
    this.#dropped?.delete(timerId);
    const text = this.#write(event);
    const delayMs = delayOf(delay);
    const due = { kind: 'due', timerId, begins } as const;
    // What is for the actor itself at once comes behind what children are as they begin, when the actor does, too.
    const rank = delay !== undefined ? 2 : begins && this.#step.seq === 1 ? 0 : 1;
    this.#armed ??= new Map();
    // Armed anew, it has its turn anew.
    this.#armed.delete(timerId);
    this.#armed.set(timerId, { timerId, delayMs, position: rank, event: text });
    if (rank < 2) this.#effect(due);
    // A timer of no time comes behind all that is done at once.
    else if (delayMs === 0) {
      this.#last ??= [];
      this.#last.push(due);
    }
  }

  #write(event: EventObject): string {
    return writeEvent(event, this.#step.limits);
  }

  #drop(timerId: string): void {
    this.#armed?.delete(timerId);
    if (timerId in this.#step.before.timers) this.#drops().add(timerId);
  }

  #drops(): Set<string> {
    this.#dropped ??= new Set();
    return this.#dropped;
  }

  #send(index: number, params: Params): void {
    const to = params.to as object | undefined;
    const event = params.event as EventObject;
    const target = to && targetOf(to);
    if (!target) return;
    const { address, self } = this.#step;
    const isOwn = target.child !== undefined && target.id === address.id;
    const child = this.#childOf(to) ?? (isOwn ? this.#named(to, target) : undefined);
    if (child) return this.#tellInTurn(index, child, params, event);
    if (isOwn) return;
    // To itself: a timer that is due at once, so that it survives a crash like any other. In a family it keeps its place
    // among what the others are told.
    if (to === self && (typeof params.delay === 'number' || !this.#hasKin()))
      return this.#armAs(index, params, event);
    const kin = isKin(target, address);
    if (typeof params.delay === 'number')
      return this.#armAs(index, params, passedOn({ [kin ? 'kin' : 'to']: target, event }));
    const text = this.#write(event);
    if (kin && target.invoke === undefined)
      this.kin.push({ kind: 'deliver', to: target, event: text });
    else this.messages.push({ index, to: target, body: text });
  }

  #hasKin(): boolean {
    for (const _ in this.machines) return true;
    return this.#step.before.path.length > 0;
  }

  #childOf(to: object | undefined): Child | undefined {
    const { id } = (to ?? {}) as { id?: string };
    if (id === undefined) return undefined;
    const { previous, snapshot } = this.#step;
    // One that is left in this very step still gets what the exit sends it.
    const mine = to === snapshot.children[id] || to === previous?.children[id];
    return mine ? (to as Child) : undefined;
  }

  /** The child a mere name stands for. A child that is not there any more is somebody else, though it had the same id. */
  #named(to: object, { child }: Target): Child | undefined {
    if (child === undefined || parentRef(to) !== undefined) return undefined;
    return this.#step.snapshot.children[child] as Child | undefined;
  }

  /** What is sent to a child ahead of its beginning waits for it, in XState's mailbox as here. */
  #tellInTurn(index: number, child: Child, params: Params, event: EventObject): void {
    const tell = () => this.#tell(index, child, params, event);
    if (!this.#new.includes(child) || typeof params.delay === 'number') return tell();
    if (
      this.#actions.some(
        ({ type, params }) => type === 'xstate.spawnChild' && (params as Params).actorRef === child,
      )
    )
      this.#early = [...(this.#early ?? []), { child, tell }];
    else {
      // What an `assign` has spawned begins before what is sent after it.
      this.#invoke(child);
      tell();
    }
  }

  #tell(index: number, child: Child, params: Params, event: EventObject): void {
    if (typeof params.delay === 'number') {
      return this.#armAs(index, params, passedOn({ child: child.id, event }));
    }
    switch (kindOfChild(child)) {
      case 'callback': {
        const seq = this.started[child.id] ?? this.#step.before.started[child.id];
        if (seq === undefined) return;
        // What cannot be written down could not be told again after a crash.
        const told = parse(this.#write(event)) as EventObject;
        this.#effect({ kind: 'tell', invokeId: child.id, seq, event: told });
        return;
      }
      case 'machine': {
        const to = { ...this.#step.address, child: child.id };
        this.kin.push({ kind: 'deliver', to, event: this.#write(event) });
        return;
      }
      case 'transition':
        for (const [n, told] of react(child, event, this.#step.self).entries())
          this.#arm(`${this.#step.seq}.${index}.${n}`, told);
        return;
      default:
      // Promises and observables have no mailbox; XState drops what is sent to them, and so does this.
    }
  }

  /** XState files every child that was spawned without an id under 'undefined'; they go by the ids they were given. */
  #name(child: AnyActorRef | undefined): void {
    const children = this.#step.snapshot.children as Record<string, AnyActorRef | undefined>;
    if (!child || this.#step.snapshot.status !== 'active') return;
    if (children.undefined && children.undefined.id !== 'undefined') delete children.undefined;
    children[child.id] = child;
    if (!this.#new.includes(child)) this.#new.push(child);
  }

  #invoke(child: AnyActorRef | undefined): void {
    this.#replace(child);
    const at = child ? this.#new.indexOf(child) : -1;
    if (!child || at < 0) return;
    this.#new.splice(at, 1);
    const { address, seq } = this.#step;
    const kind = kindOfChild(child as Child);
    if (kind === 'unknown')
      throw new PerdureError(
        'step_failed',
        `${address.type} spawned ${child.id}, which is no logic of XState’s own.`,
      );
    if (kind === 'machine') {
      this.machines = { ...this.machines, [child.id]: seq };
      this.kin.push({ kind: 'begin', childId: child.id });
      return this.#tellEarly(child);
    }
    const told = toldAtStart(child as Child);
    if (told) this.#arm(`${seq}.${child.id}.began`, told, undefined, true);
    if (kind !== 'transition') {
      this.#ask(child as Child, seq);
      this.#ownStarted()[child.id] = seq;
      this.#effect({ kind: 'invoke', invokeId: child.id, seq, child });
    }
    this.#tellEarly(child);
  }

  /** One id is one child, in rows and keys as in messages: who still has the id of a new one is ended first. */
  #replace(child: AnyActorRef | undefined): void {
    const old = child && (this.#step.previous?.children[child.id] as AnyActorRef | undefined);
    if (old && old !== child) this.#stop(old);
  }

  #tellEarly(child: AnyActorRef): void {
    for (const early of this.#early ?? []) if (early.child === child) early.tell();
  }

  /** An invoke that asks another actor: the question is committed with the transition that begins it. */
  #ask(child: Child, seq: number): void {
    const { id, logic } = child;
    const { input } = child.getSnapshot();
    const question = questionOf(logic, input, this.#step.address, { id, seq });
    if (!question) return;
    const index = `ask.${this.#asks++}` as const;
    this.messages.push({ index, to: question.to, body: this.#write(question.event) });
  }

  #stop(child: AnyActorRef | undefined): void {
    const { before, previous, self } = this.#step;
    if (!child || previous?.children[child.id] !== child || this.#stopped?.includes(child)) return;
    const index = this.#stopped?.length ?? 0;
    if (this.#stopped) this.#stopped.push(child);
    else this.#stopped = [child];
    if (kindOfChild(child as Child) === 'machine') {
      const { [child.id]: startedBy, ...others } = this.machines;
      if (startedBy === before.machines[child.id]) this.machines = others;
      this.kin.push({ kind: 'stop', childId: child.id });
      return;
    }
    if (kindOfChild(child as Child) === 'transition')
      // XState's way to end it is an event like any other.
      for (const told of react(child as Child, { type: STOP }, self))
        this.#arm(`${this.#step.seq}.stop.${index}`, told);
    const seq = before.started[child.id];
    if (seq === undefined) return;
    if (this.started[child.id] === seq) delete this.#ownStarted()[child.id];
    this.#effect({ kind: 'stop', invokeId: child.id, seq });
  }

  #ownStarted(): Record<string, number> {
    if (!this.#startedIsOurs) this.started = { ...this.started };
    this.#startedIsOurs = true;
    return this.started;
  }
}

const passedOn = (what: object): EventObject => ({ type: SEND, ...what });

/** Children that are there when an actor starts begin before anything is sent, as in XState. */
const childrenFirst = (acts: readonly KinAct[]): KinAct[] => [
  ...acts.filter(({ kind }) => kind === 'begin'),
  ...acts.filter(({ kind }) => kind !== 'begin'),
];
