import type {
  AnyMachineSnapshot,
  AnyStateMachine,
  EventFromLogic,
  OutputFrom,
  SnapshotFrom,
} from 'xstate';
import { parse } from '../actors/codec.ts';
import type { ActorType } from '../actors/define.ts';
import { machinesIn } from '../actors/envelope.ts';
import { childRow } from '../actors/kin.ts';
import { snapshotOf } from '../actors/kinRows.ts';
import { childType } from '../actors/standIns.ts';
import { CANCEL, PAUSE, RESUME } from '../actors/step.ts';
import { PerdureError } from '../errors.ts';
import type { ActorStatus, Address } from '../store/store.ts';
import type { EffectEntry } from './effectLog.ts';
import type { HistoryEntry, RecordStore, TimerEntry } from './record.ts';

/** An event that actor emitted. */
export interface EmittedEntry {
  /** `type/id` */
  actor: string;
  /** The transition that emitted it. */
  seq: number;
  event: { type: string; [key: string]: unknown };
}

/** What the handles of one cluster look at and act through. */
export interface Stage {
  readonly store: RecordStore;
  readonly effects: readonly EffectEntry[];
  readonly emitted: readonly EmittedEntry[];
  send(address: Address, event: object): Promise<void>;
  /** Says something of Perdure's own to the actor. */
  tell(address: Address, type: string): Promise<void>;
}

type MatchOf<M extends AnyStateMachine> =
  SnapshotFrom<M> extends { matches(value: infer V): boolean } ? V : never;

/**
 * One actor of a test cluster. What it shows is what is committed. All of it throws PerdureError `not_found` while the
 * actor does not exist.
 */
export class TestActor<M extends AnyStateMachine = AnyStateMachine> {
  readonly type: string;
  readonly id: string;
  readonly #type: ActorType<string, M>;
  readonly #stage: Stage;

  /** Made by `TestCluster.start` and `TestCluster.actor`. */
  constructor(type: ActorType<string, M>, id: string, stage: Stage) {
    this.type = type.name;
    this.id = id;
    this.#type = type;
    this.#stage = stage;
  }

  /**
   * Sends an event, and lets it take effect as far as it can without time.
   * @throws PerdureError `bad_event`, and the reason of the dead letter it became: `unknown_actor`, `actor_finished`, …
   */
  send(event: EventFromLogic<M>): Promise<void> {
    return this.#stage.send(this, event);
  }

  /** Ends the actor where it stands: status `stopped`. @throws as `send` */
  cancel(): Promise<void> {
    return this.#stage.tell(this, CANCEL);
  }

  /** Nothing is done for it until it is resumed, and what it is sent waits. @throws as `send`, and `already_paused` */
  pause(): Promise<void> {
    return this.#stage.tell(this, PAUSE);
  }

  /** It goes on with what has waited. @throws as `send`, and `not_paused` */
  resume(): Promise<void> {
    return this.#stage.tell(this, RESUME);
  }

  get paused(): boolean {
    return this.#row().pausedAt !== null;
  }

  /** Whether it has been started. */
  get exists(): boolean {
    return this.#stage.store.row(this) !== undefined;
  }

  /** The committed snapshot, as XState knows it. */
  get snapshot(): SnapshotFrom<M> {
    const row = this.#row();
    return snapshotOf(this.#type, row, (address) => this.#stage.store.row(address)) as never;
  }

  /**
   * The machine that this one has invoked or spawned under that id, while its snapshot has it. Its history is its own.
   * @throws PerdureError `not_found`
   */
  child(id: string): TestActor {
    const row = this.#row();
    const startedBy = machinesIn(row.snapshot)[id];
    const { src } = (this.snapshot as AnyMachineSnapshot).children[id] ?? {};
    const type = typeof src === 'string' ? childType(this.#type, src) : undefined;
    if (startedBy === undefined || !type)
      throw new PerdureError('not_found', `${this.type}/${this.id} has no machine ${id} now.`);
    return new TestActor(type, childRow(this, id, startedBy).id, this.#stage);
  }

  /** The state value. */
  get state(): SnapshotFrom<M> extends { value: infer V } ? V : unknown {
    return JSON.parse(this.#row().state);
  }

  get context(): SnapshotFrom<M> extends { context: infer C } ? C : unknown {
    return (this.snapshot as { context: never }).context;
  }

  get status(): ActorStatus {
    return this.#row().status;
  }

  /** Undefined until it is done. */
  get output(): OutputFrom<M> | undefined {
    const { output } = this.#row();
    return output === null ? undefined : (parse(output) as OutputFrom<M>);
  }

  /** Undefined unless its status is `error`. */
  get error(): { name: string; message: string; code?: string } | undefined {
    const { error } = this.#row();
    return error === null ? undefined : JSON.parse(error);
  }

  get tags(): string[] {
    return JSON.parse(this.#row().tags);
  }

  matches(state: MatchOf<M>): boolean {
    return (this.snapshot as { matches(state: unknown): boolean }).matches(state);
  }

  hasTag(tag: string): boolean {
    return this.tags.includes(tag);
  }

  /** Whether the event would cause a transition. Asks the guards. */
  can(event: EventFromLogic<M>): boolean {
    return (this.snapshot as { can(event: unknown): boolean }).can(event);
  }

  /** Every transition, the first one included. */
  get history(): HistoryEntry[] {
    return this.#stage.store.historyOf(this);
  }

  /** What it waits for in time, the next one first. */
  get timers(): TimerEntry[] {
    return this.#stage.store.timersOf(this);
  }

  /** Its custom actions and what it invoked, in the order they began; after a crash some of it twice. */
  get effects(): EffectEntry[] {
    const name = `${this.type}/${this.id}`;
    return this.#stage.effects.filter(({ actor }) => actor === name);
  }

  /** The events it emitted, as the live feed told of them. */
  get emitted(): EmittedEntry['event'][] {
    const name = `${this.type}/${this.id}`;
    return this.#stage.emitted.filter(({ actor }) => actor === name).map(({ event }) => event);
  }

  #row() {
    const row = this.#stage.store.row(this);
    if (row) return row;
    throw new PerdureError('not_found', `There is no ${this.type}/${this.id} in this cluster.`);
  }
}
