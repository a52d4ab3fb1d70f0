import type { EventObject } from 'xstate';
import { invariant } from '../errors.ts';
import {
  type ActorStatus,
  type ActorWrite,
  type Address,
  addressKey,
  type StoredActor,
} from '../store/store.ts';
import type { Child } from './children.ts';
import type { ActorType } from './define.ts';
import { isAct } from './effects.ts';
import { rehydrate } from './envelope.ts';
import type { Invocation } from './invocation.ts';
import { isChildRow, parentOf, rootOf } from './kin.ts';
import type { Born } from './machineLogic.ts';
import { createStepScope, type StepScope } from './scope.ts';
import { type Live, type Step, systemIds } from './step.ts';
import { traceIn } from './tracing.ts';

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

type Columns = Pick<Step, 'status' | 'state' | 'tags' | 'output' | 'error'>;

type Deliver = (resident: Resident, event: EventObject) => void;

// Thousands of actors wait for their commit at once, and the collector copies them: what most of them never need is made late.
const CHILDLESS: ReadonlyMap<string, Resident> = new Map();
const IDLE: ReadonlyMap<string, Invocation> = new Map();
const NEVER_TRIED: Readonly<Record<string, Retry>> = Object.freeze({});
const ALL_ACTED: readonly number[] = [];
const NO_EVENTS: readonly string[] = [];

/**
 * One actor in memory. Its newest step may still be on its way to Postgres (`uncommitted > 0`); what it shows to the
 * world is always older than that.
 */
export class Resident {
  readonly address: Address;
  readonly key: string;
  /** Of the actor at the head of its family. */
  readonly rootKey: string;
  readonly type: ActorType;
  readonly scope: StepScope;
  /** The machine that invoked or spawned it, while it still has it. */
  parent: Resident | undefined;
  /** What stands for it in its parent's snapshot. */
  ref: Child | undefined;
  #children: Map<string, Resident> | undefined;
  live: Live | undefined;
  /** Whether Postgres has a row of it, or will with an earlier commit; undefined: that is not known. */
  #stored: boolean | undefined;
  /** The tags its row has, while that may stay as it is when the actor moves on. */
  #tagsOfRow: string | undefined;
  /** Nodes have died while something ran for it: its row says when it gets on. */
  #blamed = false;
  /** The row's columns as of the newest step; of the step itself nothing is kept. */
  #status: ActorStatus = 'active';
  #state: string | undefined;
  #tags = '[]';
  #output: string | null = null;
  #error: string | null = null;
  /** The id of the only event it has taken, or of all. */
  #eventIds: string | Set<string> | undefined;
  /** They are all there ever were. */
  eventIdsComplete: boolean;
  #invocations: Map<string, Invocation> | undefined;
  #retries: Record<string, Retry> | undefined;
  #unacted: number[] | undefined;
  readonly #deliver: Deliver;
  uncommitted = 0;
  /** What runs for it waits for its trial. */
  held = false;
  /** Its row, when it was brought out of quarantine to be told something. */
  quarantined: StoredActor | undefined;
  /**
   * Of a root: whether its row says so, or will with the next commit; undefined: it has not been paused while it was in memory.
   * One that was resumed goes on when its shard has been opened again.
   */
  paused: boolean | undefined;
  /** Of a root: it was paused before what its family's actions said could be taken. They are redone. */
  missed = false;
  touchedAt = 0;
  /** Its own trace, as of its newest transition in it; kept in the envelope. */
  trace: string | undefined;
  /** The action that is running now; names what it sends to its own actor. */
  acting: { seq: number; index: number; sent: number } | undefined;

  private constructor(
    address: Address,
    type: ActorType,
    eventIds: readonly string[],
    eventIdsComplete: boolean,
    deliver: Deliver,
    scope: StepScope,
  ) {
    this.address = address;
    this.key = scope.self.sessionId;
    this.rootKey = isChildRow(address) ? addressKey(rootOf(address)) : this.key;
    this.type = type;
    if (eventIds.length > 0) this.#eventIds = new Set(eventIds);
    this.eventIdsComplete = eventIdsComplete;
    this.scope = scope;
    this.#deliver = deliver;
    scope.receiver = this;
  }

  /** One that has no row. `key`: its address as text. */
  static created(address: Address, type: ActorType, deliver: Deliver, key: string): Resident {
    const scope = createStepScope(address, undefined, key);
    const resident = new Resident(address, type, NO_EVENTS, true, deliver, scope);
    resident.#stored = false;
    return resident;
  }

  /** A child machine, in the step of its parent that begins it. */
  static born({ address, scope }: Born, type: ActorType, deliver: Deliver): Resident {
    return new Resident(address, type, NO_EVENTS, true, deliver, scope);
  }

  /** `parent` is given for a child machine whose parent still has it. @throws Error when the machine cannot take the stored snapshot. */
  static rehydrated(
    stored: StoredActor,
    type: ActorType,
    deliver: Deliver,
    parent?: Resident,
  ): Resident {
    const resident = Resident.migrating(stored, type, deliver, parent);
    resident.live = rehydrate(type, resident.scope, stored.seq, stored.snapshot);
    resident.#show(stored);
    return resident;
  }

  /** One that another version wrote: the caller steps it over to `type`. */
  static migrating(
    stored: StoredActor,
    type: ActorType,
    deliver: Deliver,
    parent?: Resident,
  ): Resident {
    const address = { type: stored.type, id: stored.id };
    const { eventIds, eventIdsComplete } = stored;
    const scope = createStepScope(address, parent?.scope.self);
    const resident = new Resident(address, type, eventIds, eventIdsComplete, deliver, scope);
    resident.#stored = true;
    resident.#blamed = stored.crashes > 0;
    if (stored.retries !== null) resident.#retries = JSON.parse(stored.retries);
    if (stored.quarantined) resident.quarantined = stored;
    if (stored.paused) resident.paused = true;
    resident.trace = traceIn(stored.snapshot);
    return resident;
  }

  /** What the actor's own actions send to itself. */
  receive(event: EventObject): void {
    this.#deliver(this, event);
  }

  /** Whether it has taken the event, as far as memory knows (`eventIdsComplete`). */
  hasTaken(eventId: string): boolean {
    const ids = this.#eventIds;
    return typeof ids === 'string' ? ids === eventId : (ids?.has(eventId) ?? false);
  }

  #tookEvent(eventId: string): void {
    const ids = this.#eventIds;
    if (ids === undefined) this.#eventIds = eventId;
    else if (typeof ids === 'string') this.#eventIds = new Set([ids, eventId]);
    else ids.add(eventId);
  }

  /** Running or waiting attempts by invoke id. */
  get invocations(): ReadonlyMap<string, Invocation> {
    return this.#invocations ?? IDLE;
  }

  hold(invokeId: string, invocation: Invocation): void {
    this.#invocations ??= new Map();
    this.#invocations.set(invokeId, invocation);
  }

  forget(invokeId: string): void {
    this.#invocations?.delete(invokeId);
    if (this.#invocations?.size === 0) this.#invocations = undefined;
  }

  /** How far its invokes have come, of those that did not pass at once. */
  get retries(): Readonly<Record<string, Retry>> {
    return this.#retries ?? NEVER_TRIED;
  }

  retry(invokeId: string, retry: Retry): void {
    this.#retries ??= {};
    this.#retries[invokeId] = retry;
  }

  /** Transitions whose custom actions have not all been executed, ascending. */
  get unacted(): readonly number[] {
    return this.#unacted ?? ALL_ACTED;
  }

  /** The custom actions of the transition are to be executed. */
  owes(seq: number): void {
    this.#unacted ??= [];
    this.#unacted.push(seq);
  }

  /** Machine children that are not over, by the id they have here. */
  get children(): ReadonlyMap<string, Resident> {
    return this.#children ?? CHILDLESS;
  }

  /** Becomes a child of `parent`; from now on both know all system ids of the family. */
  joins(parent: Resident, childId: string, ref: Child): void {
    this.parent = parent;
    this.ref = ref;
    parent.#children ??= new Map();
    parent.#children.set(childId, this);
    for (const member of [this, parent])
      member.scope.systemIds ??= () => systemIdsOf(member.head.live);
  }

  /** Its parent has it no more. */
  leaves(): void {
    const { childId } = parentOf(this.address) ?? {};
    const siblings = this.parent ? this.parent.#children : undefined;
    if (childId !== undefined && siblings?.get(childId) === this) siblings.delete(childId);
    this.parent = undefined;
  }

  /** The family's root, or whatever of it is still connected. */
  get head(): Resident {
    return this.parent ? this.parent.head : this;
  }

  /** It and all that hang below it. */
  *members(): Generator<Resident> {
    yield this;
    for (const child of this.children.values()) yield* child.members();
  }

  get status(): ActorStatus {
    return this.#status;
  }

  get finished(): boolean {
    return this.status !== 'active';
  }

  get state(): string {
    invariant(this.#state !== undefined, `${this.key} has no row yet`);
    return this.#state;
  }

  /** Nothing is done for it and its family: they are paused, or will go on when their shard is opened again. */
  get isPaused(): boolean {
    const { head } = this;
    return head.paused !== undefined && !head.finished;
  }

  /** Nothing of it is under way: dropping it from memory loses nothing. */
  get isIdle(): boolean {
    return (
      this.uncommitted === 0 &&
      this.invocations.size === 0 &&
      this.unacted.length === 0 &&
      !this.held
    );
  }

  /** When anything of the family was last in use, monotonic, ms. */
  get lastTouched(): number {
    let last = 0;
    for (const { touchedAt } of this.members()) last = Math.max(last, touchedAt);
    return last;
  }

  /** Something runs for it that a crash would cut short. */
  get busy(): boolean {
    if (this.unacted.length > 0) return true;
    if (this.finished || !this.live) return false;
    for (const _ in this.live.started) return true;
    return false;
  }

  /** The newest step, and the id of the event that caused it. */
  take(step: Step, eventId: string | null): void {
    invariant(step.live.seq === (this.live?.seq ?? 0) + 1, `${this.key}: step out of sequence`);
    if (this.#retries)
      for (const invokeId in this.#retries)
        if (step.live.started[invokeId] !== this.live?.started[invokeId])
          delete this.#retries[invokeId];
    this.live = step.live;
    this.#show(step);
    if (eventId !== null) this.#tookEvent(eventId);
    if (step.effects.some(isAct)) this.owes(step.live.seq);
  }

  #show({ status, state, tags, output, error }: Columns): void {
    this.#status = status;
    this.#state = state;
    this.#tags = tags;
    this.#output = output;
    this.#error = error;
  }

  acted(seq: number): void {
    const at = this.unacted.indexOf(seq);
    if (at >= 0) this.#unacted?.splice(at, 1);
  }

  /** Keeps the newest ids; what is not committed yet stays, Postgres cannot know it. */
  trimEventIds(max: number): void {
    const ids = this.#eventIds;
    if (!(ids instanceof Set)) return;
    for (const eventId of ids) {
      if (ids.size <= max + this.uncommitted) return;
      ids.delete(eventId);
      this.eventIdsComplete = false;
    }
  }

  /**
   * The whole row at the newest step, for the next commit: what is written later finds it there. Undefined when it may stay as
   * it is: something ran for the actor before and after, and nothing but where it stands has changed (`ShardCommit.actors`).
   */
  write(): ActorWrite | undefined {
    const { live, state, busy } = this;
    invariant(live, `${this.key} has nothing to write`);
    let retries: string | null = null;
    for (const _ in this.#retries) retries ??= JSON.stringify(this.#retries);
    const isCalm = retries === null && this.unacted.length === 0 && this.paused === undefined;
    const mayLag = busy && !this.finished && isCalm && !this.#blamed;
    const tags = mayLag ? this.#tags : undefined;
    if (tags !== undefined && tags === this.#tagsOfRow) return undefined;
    this.#tagsOfRow = tags;
    const stored = this.#stored;
    this.#stored = true;
    return {
      type: this.address.type,
      id: this.address.id,
      version: this.type.version,
      path: live.path.length === 0 ? null : JSON.stringify(live.path),
      status: this.#status,
      state,
      tags: this.#tags,
      seq: live.seq,
      output: this.#output,
      error: this.#error,
      busy,
      actedSeq: (this.unacted[0] ?? live.seq + 1) - 1,
      retries,
      paused: this.paused === undefined ? undefined : this.paused && !this.finished,
      stored,
    };
  }
}

const systemIdsOf = (live: Live | undefined) => (live ? systemIds(live.snapshot) : undefined);
