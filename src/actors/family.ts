import type { AnyActorRef, EventObject } from 'xstate';
import type { Limits } from '../config.ts';
import { invariant } from '../errors.ts';
import { addressKey } from '../store/store.ts';
import type { Batch } from './batch.ts';
import { type Child, isWatched, kindOfChild, snapshotEvent } from './children.ts';
import { errorData, parse, stringify } from './codec.ts';
import { parentOf } from './kin.ts';
import type { KinAct } from './lower.ts';
import { type Born, bornOf, type MachineLogic } from './machineLogic.ts';
import type { Target } from './refs.ts';
import { Resident } from './resident.ts';
import { resultText } from './results.ts';
import type { Shard } from './shard.ts';
import { FAIL, SEND, type Step } from './step.ts';
import type { Cause } from './taker.ts';

/** An event, and how its transition row tells of it. */
export interface Caused {
  event: EventObject;
  cause: Cause;
  timerId?: string | undefined;
}

/** How steps get into the batch. */
export interface Steps {
  next(batch: Batch, resident: Resident, caused: Caused): Step;
  first(batch: Batch, resident: Resident, born: Born, path: readonly string[]): Step;
}

/**
 * A machine and the machines it has invoked or spawned, each with a row and a history of its own. What one causes the
 * others to do is stepped at once, in the order XState would take it, and is in the same commit:
 *
 *  F1  A member takes its events one after the other; what it is sent while it is at one waits until it, and all that it
 *      causes, is done.
 *  F2  Nothing between members is ever under way: before the commit nothing has happened, after it everything has.
 */
export class Family {
  readonly #shard: Shard;
  readonly #limits: Limits;
  readonly #steps: Steps;
  /** Of members that are at an event: what they were sent meanwhile. */
  readonly #inboxes = new Map<Resident, Caused[]>();
  #taken = 0;

  constructor(shard: Shard, limits: Limits, steps: Steps) {
    this.#shard = shard;
    this.#limits = limits;
    this.#steps = steps;
  }

  /** A member takes an event, and the family what it causes. Returns the member's step. */
  take(batch: Batch, resident: Resident, caused: Caused): Step {
    this.#inboxes.set(resident, []);
    const step = this.#steps.next(batch, resident, caused);
    this.follow(batch, resident, step);
    return step;
  }

  /** The member has taken a step: the family takes what it causes. */
  follow(batch: Batch, resident: Resident, step: Step): void {
    this.#taken = 0;
    try {
      if (!this.#inboxes.has(resident)) this.#inboxes.set(resident, []);
      this.#after(batch, resident, step);
      this.#empty(batch, resident);
    } catch (error) {
      this.#inboxes.clear();
      if (!(error instanceof Endless)) throw error;
      this.#fail(batch, resident.head);
    }
  }

  #after(batch: Batch, resident: Resident, step: Step): void {
    const { kin, live } = step;
    if (resident.ref && live.snapshot) resident.ref._snapshot = live.snapshot as never;
    for (const act of kin) this.#act(batch, resident, act);
    // When an actor starts, its children have begun before its own actions are done.
    if (live.seq === 1 && kin[0]?.kind === 'begin') batch.performLast(resident);
    this.#tellParent(batch, resident, step);
    if (step.status !== 'active') resident.leaves();
  }

  #empty(batch: Batch, resident: Resident): void {
    const inbox = this.#inboxes.get(resident) ?? [];
    for (let next = inbox.shift(); next && !resident.finished; next = inbox.shift()) {
      if (++this.#taken > this.#limits.microstepsMax) throw new Endless();
      this.#after(batch, resident, this.#steps.next(batch, resident, next));
    }
    this.#inboxes.delete(resident);
  }

  #act(batch: Batch, resident: Resident, act: KinAct): void {
    switch (act.kind) {
      case 'begin':
        return this.#begin(batch, resident, act.childId);
      case 'deliver':
        return this.#deliver(batch, act.to, act.event);
      case 'stop': {
        const child = resident.children.get(act.childId);
        if (!child) return;
        // Nothing it has been sent is taken any more.
        this.#inboxes.get(child)?.splice(0);
        return this.#post(batch, child, '{"type":"xstate.stop"}');
      }
      default:
        act satisfies never;
    }
  }

  #begin(batch: Batch, parent: Resident, childId: string): void {
    const { snapshot, path } = parent.live as NonNullable<Resident['live']>;
    const ref = snapshot.children[childId] as Child | undefined;
    // An event on the way there may have ended it again.
    const born = ref && bornOf(ref as AnyActorRef);
    if (!ref || !born) return;
    const { type } = ref.logic as unknown as MachineLogic;
    const child = Resident.born(born, type, this.#shard.deliver);
    child.joins(parent, childId, ref);
    this.#inboxes.set(child, []);
    const { src } = ref as unknown as { src: string };
    const step = this.#steps.first(batch, child, born, [...path, src]);
    this.#shard.adopt(child);
    this.#after(batch, child, step);
    this.#empty(batch, child);
  }

  #deliver(batch: Batch, to: Target, text: string): void {
    const owner = this.#shard.residents.get(addressKey(to));
    if (!owner || owner.finished) return;
    if (to.child === undefined) return this.#post(batch, owner, text);
    const machine = owner.children.get(to.child);
    if (machine) return this.#post(batch, machine, text);
    const child = owner.live?.snapshot.children[to.child] as Child | undefined;
    if (!child || kindOfChild(child) === 'machine') return;
    const forward = `{"type":"${SEND}","child":${JSON.stringify(to.child)},"event":${text}}`;
    this.#post(batch, owner, forward);
  }

  /** As an XState actor tells its parent: of each snapshot when that was asked for, and of its end. */
  #tellParent(batch: Batch, { parent, ref, address }: Resident, step: Step): void {
    const { status, live } = step;
    const { childId = '' } = parentOf(address) ?? {};
    if (!parent || !ref || status === 'stopped') return;
    const { output, error } = live.snapshot;
    if (status === 'active') {
      if (isWatched(ref)) this.#post(batch, parent, this.#snapshotText(ref));
    } else if (status === 'done')
      this.#post(batch, parent, resultText(this.#limits, childId, { ok: true, output }));
    else {
      const told = error instanceof Error ? error : asErrorAgain(step.error);
      this.#post(batch, parent, resultText(this.#limits, childId, { ok: false, error: told }));
    }
  }

  #snapshotText(ref: Child): string {
    return stringify(snapshotEvent(ref), `snapshot of ${ref.id}`, this.#limits.nestingMax);
  }

  #post(batch: Batch, resident: Resident, text: string): void {
    const event = parse(text) as EventObject;
    const cause = { eventType: event.type, text, eventId: null, origin: 'family' } as const;
    const inbox = this.#inboxes.get(resident);
    if (inbox) return void inbox.push({ event, cause });
    if (resident.finished) return;
    this.#inboxes.set(resident, [{ event, cause }]);
    this.#empty(batch, resident);
  }

  /** The family tells itself things for ever: its head ends, and with it all the others. */
  #fail(batch: Batch, head: Resident): void {
    const problem = `Endless loop: actors of the family have sent each other more than ${this.#limits.microstepsMax} events without anything from outside.`;
    const text = JSON.stringify({
      type: FAIL,
      error: errorData({ name: 'Error', message: problem }),
    });
    this.#taken = 0;
    invariant(!head.finished, `${head.key} has ended and goes on`);
    this.#post(batch, head, text);
  }
}

/** From the summary a row holds. */
const asErrorAgain = (summary: string | null): unknown =>
  parse(JSON.stringify(errorData(JSON.parse(summary ?? 'null'))));

class Endless extends Error {}
