import type { EventObject } from 'xstate';
import { invariant } from '../errors.ts';
import {
  type ActorStatus,
  type ActorWrite,
  type Address,
  addressKey,
  type StoredActor,
} from '../store/store.ts';
import type { ActorType } from './define.ts';
import { isAct } from './effects.ts';
import type { Invocation } from './invocation.ts';
import { createStepScope, type StepScope } from './scope.ts';
import { type Live, rehydrate, type Step } from './step.ts';

/** How far an invoke has come: what a run of it elsewhere begins with. */
export interface Retry {
  attempt: number;
  /** When it may run, on the database clock, ms since 1970; 0: at once. */
  nextAt: number;
  /** Why the attempt before it failed. */
  error?: { name: string; message: string };
  /** Encoded results of the steps that are done, by name. */
  steps?: Readonly<Record<string, string>>;
}

/**
 * One actor in memory. Its newest step may still be on its way to Postgres (`uncommitted > 0`); what it shows to the
 * world is always older than that.
 */
export class Resident {
  readonly address: Address;
  readonly key: string;
  readonly type: ActorType;
  readonly scope: StepScope;
  live: Live | undefined;
  /** The row's columns as of the newest step. */
  #row: Pick<Step, 'status' | 'state' | 'tags' | 'output' | 'error' | 'envelope'> | undefined;
  /** Ids of the events it has taken; all of them while `eventIdsComplete`. */
  readonly eventIds: Set<string>;
  eventIdsComplete: boolean;
  /** Running or waiting attempts by invoke id. */
  readonly invocations = new Map<string, Invocation>();
  retries: Record<string, Retry> = {};
  /** Transitions whose custom actions have not all been executed, ascending. */
  readonly unacted: number[] = [];
  uncommitted = 0;
  /** What runs for it waits for its trial. */
  held = false;
  /** Its row, when it was brought out of quarantine to be told something. */
  quarantined: StoredActor | undefined;
  touchedAt = 0;
  /** The action that is running now; names what it sends to its own actor. */
  acting: { seq: number; index: number; sent: number } | undefined;

  private constructor(
    address: Address,
    type: ActorType,
    eventIds: readonly string[],
    eventIdsComplete: boolean,
    deliver: (resident: Resident, event: EventObject) => void,
  ) {
    this.address = address;
    this.key = addressKey(address);
    this.type = type;
    this.eventIds = new Set(eventIds);
    this.eventIdsComplete = eventIdsComplete;
    this.scope = createStepScope(address, (event) => deliver(this, event));
  }

  static created(
    address: Address,
    type: ActorType,
    deliver: (resident: Resident, event: EventObject) => void,
  ): Resident {
    return new Resident(address, type, [], true, deliver);
  }

  /** @throws Error when the machine cannot take the stored snapshot. */
  static rehydrated(
    stored: StoredActor,
    type: ActorType,
    deliver: (resident: Resident, event: EventObject) => void,
  ): Resident {
    const resident = Resident.migrating(stored, type, deliver);
    resident.live = rehydrate(type, resident.scope, stored.seq, stored.snapshot);
    resident.#row = { ...stored, envelope: stored.snapshot };
    return resident;
  }

  /** One that another version wrote: the caller steps it over to `type`. */
  static migrating(
    stored: StoredActor,
    type: ActorType,
    deliver: (resident: Resident, event: EventObject) => void,
  ): Resident {
    const address = { type: stored.type, id: stored.id };
    const { eventIds, eventIdsComplete } = stored;
    const resident = new Resident(address, type, eventIds, eventIdsComplete, deliver);
    resident.retries = stored.retries === null ? {} : JSON.parse(stored.retries);
    if (stored.quarantined) resident.quarantined = stored;
    return resident;
  }

  get status(): ActorStatus {
    return this.#row?.status ?? 'active';
  }

  get finished(): boolean {
    return this.status !== 'active';
  }

  get state(): string {
    invariant(this.#row, `${this.key} has no row yet`);
    return this.#row.state;
  }

  /** Something runs for it that a crash would cut short. */
  get busy(): boolean {
    if (this.unacted.length > 0) return true;
    if (this.finished || !this.live) return false;
    for (const _ in this.live.started) return true;
    return false;
  }

  take(step: Step): void {
    invariant(step.live.seq === (this.live?.seq ?? 0) + 1, `${this.key}: step out of sequence`);
    for (const invokeId in this.retries)
      if (step.live.started[invokeId] !== this.live?.started[invokeId])
        delete this.retries[invokeId];
    this.live = step.live;
    this.#row = step;
    if (step.effects.some(isAct)) this.unacted.push(step.live.seq);
  }

  acted(seq: number): void {
    const at = this.unacted.indexOf(seq);
    if (at >= 0) this.unacted.splice(at, 1);
  }

  /** Keeps the newest ids; what is not committed yet stays, Postgres cannot know it. */
  trimEventIds(max: number): void {
    for (const eventId of this.eventIds) {
      if (this.eventIds.size <= max + this.uncommitted) return;
      this.eventIds.delete(eventId);
      this.eventIdsComplete = false;
    }
  }

  /** The whole row at the newest step. */
  write(): ActorWrite {
    const row = this.#row;
    const live = this.live;
    invariant(row && live, `${this.key} has nothing to write`);
    let retries: string | null = null;
    for (const _ in this.retries) retries ??= JSON.stringify(this.retries);
    return {
      type: this.address.type,
      id: this.address.id,
      version: this.type.version,
      status: row.status,
      state: row.state,
      tags: row.tags,
      seq: live.seq,
      snapshot: row.envelope,
      output: row.output,
      error: row.error,
      busy: this.busy,
      actedSeq: (this.unacted[0] ?? live.seq + 1) - 1,
      retries,
    };
  }
}
