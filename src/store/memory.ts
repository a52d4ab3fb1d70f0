import type { Clock } from '../clock.ts';
import { LIMITS, SHARDS } from '../config.ts';
import { asError, invariant, PerdureError } from '../errors.ts';
import { wholeDelay } from './commitParts.ts';
import type { ParkedActor, ParkedPosition, StoredParked } from './elsewhere.ts';
import { recordAttempt, recordTransition } from './memoryHistory.ts';
import { MemoryOwnership } from './memoryOwnership.ts';
import {
  type ActorState,
  byText,
  freeShard,
  isPaused,
  type ParkedState,
  type ShardState,
} from './memoryTables.ts';
import { MemoryTransaction, type TestTransaction } from './memoryTransaction.ts';
import type { ReadStore } from './read.ts';
import { StoreRefused } from './refused.ts';
import {
  type Address,
  addressKey,
  type CommitResult,
  type EventKey,
  eventKey,
  type OutboxRow,
  type Recovered,
  type ShardCommit,
  type Store,
  type StoredActor,
  type StoredTimer,
  type StoredTransition,
  type TimerKey,
} from './store.ts';
import type { StoreTransaction } from './userTransaction.ts';

const MARK_EVERY_MS = 30_000;

export interface MemoryStoreOptions {
  /** Stands in for the database's clock. */
  clock: Clock;
  shards?: number;
  /** Event ids that `recover` returns for each actor. */
  eventIdsMax?: number;
  /** What stands in for Postgres where users have statements of their own. */
  transaction?: (() => TestTransaction) | undefined;
}

/** The in-memory twin of the Postgres store, for simulation; one instance is shared by all nodes. */
export function createMemoryStore(options: MemoryStoreOptions): MemoryStore {
  return new MemoryStore(options);
}

export class MemoryStore extends MemoryOwnership implements Store, ReadStore {
  readonly #eventIdsMax: number;
  readonly #transaction: (() => TestTransaction) | undefined;
  #deadLetterId = 0;

  constructor({
    clock,
    shards = SHARDS,
    eventIdsMax = LIMITS.eventIdsInMemory,
    transaction,
  }: MemoryStoreOptions) {
    super(clock, {
      shards: Array.from({ length: shards }, (_, shard) => freeShard(shard)),
      nodes: new Map(),
      actors: new Map(),
      searchable: new Map(),
      failedAttempts: new Map(),
      transitions: new Map(),
      eventIds: new Map(),
      timers: new Map(),
      outbox: new Map(),
      deadLetters: new Map(),
      parked: new Map(),
      marks: [],
      machines: new Map(),
    });
    this.#eventIdsMax = eventIdsMax;
    this.#transaction = transaction;
  }

  async recover(shards: readonly number[], timerHorizonMs: number): Promise<Recovered> {
    const { at, timers } = await this.nearTimers(shards, timerHorizonMs);
    const actors = [...this.tables.actors.values()]
      .filter((actor) => actor.busy && actor.quarantinedAt === null && shards.includes(actor.shard))
      .filter((actor) => !isPaused(this.tables, actor))
      .map((actor) => this.#stored(actor, this.#eventIdsMax));
    const outbox = this.#outboxOf(shards, Number.POSITIVE_INFINITY);
    return { at, actors, timers, outbox, parked: this.#parkedActors(shards) };
  }

  async parkedMessages(
    shard: number,
    after: ParkedPosition | undefined,
    limit: number,
  ): Promise<StoredParked[]> {
    return this.#parkedOf([shard])
      .filter((row) => after === undefined || byPosition(row, after) > 0)
      .slice(0, limit)
      .map(({ at: _at, ...row }) => ({ ...row, body: row.body.slice() }));
  }

  async nearTimers(
    shards: readonly number[],
    horizonMs: number,
  ): Promise<{ at: number; timers: StoredTimer[] }> {
    const now = this.clock.now();
    const timers = [...this.tables.timers.values()]
      .filter((timer) => shards.includes(timer.shard) && timer.fireAt <= now + horizonMs)
      .filter((timer) => !isPaused(this.tables, timer))
      .sort(
        (a, b) =>
          a.fireAt - b.fireAt ||
          byText(a.type, b.type) ||
          byText(a.id, b.id) ||
          a.armedSeq - b.armedSeq ||
          a.position - b.position,
      )
      .map((timer) => ({ ...timer }));
    return { at: Math.floor(now), timers };
  }

  async staleOutbox(
    shards: readonly number[],
    olderThanMs: number,
    limit: number,
  ): Promise<OutboxRow[]> {
    return this.#outboxOf(shards, this.clock.now() - olderThanMs).slice(0, limit);
  }

  async load(addresses: readonly Address[], eventIdsMax: number): Promise<StoredActor[]> {
    return addresses.flatMap((address) => {
      const actor = this.tables.actors.get(addressKey(address));
      return actor ? [this.#stored(actor, eventIdsMax)] : [];
    });
  }

  async knownEvents(events: readonly EventKey[]): Promise<Set<string>> {
    const known = events.filter((event) =>
      this.tables.eventIds.get(addressKey(event))?.has(event.eventId),
    );
    return new Set(known.map(eventKey));
  }

  async transitions(address: Address, fromSeq: number, limit: number): Promise<StoredTransition[]> {
    return (this.tables.transitions.get(addressKey(address)) ?? [])
      .filter((row) => row.seq >= fromSeq)
      .slice(0, limit)
      .map((row) => ({ ...row }));
  }

  async commit(nodeId: string, commits: readonly ShardCommit[]): Promise<CommitResult> {
    return this.#commit(nodeId, commits, () => {});
  }

  async begin(signal: AbortSignal): Promise<StoreTransaction> {
    signal.throwIfAborted();
    if (!this.#transaction)
      throw new PerdureError(
        'bad_options',
        'There is nothing here to run transactions on: give testCluster the option transaction.',
      );
    return new MemoryTransaction(this.#transaction(), (nodeId, commit, before) =>
      this.#commit(nodeId, [commit], before),
    );
  }

  /** `before` runs when nothing can be refused any more; when it throws, nothing lands. */
  #commit(nodeId: string, commits: readonly ShardCommit[], before: () => void): CommitResult {
    invariant(
      new Set(commits.map(({ shard }) => shard)).size === commits.length,
      'a shard appears twice in one commit',
    );
    const at = Math.ceil(this.clock.now());
    const ours = commits.filter((part) => {
      const shard = this.tables.shards[part.shard];
      return (
        shard?.owner === nodeId &&
        shard.epoch === part.epoch &&
        shard.commitNo === part.commitNo - 1
      );
    });
    // Everything is checked before anything is written: a refused statement leaves nothing behind (S2, S4).
    const passed = this.#check(ours);
    if (passed.length > 0) before();
    for (const part of passed) this.#apply(nodeId, part, at);
    const committed = new Set(passed.map(({ shard }) => shard));
    const others = ours.map(({ shard }) => shard).filter((shard) => !committed.has(shard));
    return { committed, mistaken: new Set(others), at };
  }

  /** Without those that take somebody for new who is there: as in Postgres, they are looked for when a key is there already. */
  #check(parts: readonly ShardCommit[]): readonly ShardCommit[] {
    try {
      this.#refuse(parts);
      return parts;
    } catch (error) {
      const passed = parts.filter(({ actors }) => !actors.some((row) => this.#isMistaken(row)));
      const isDuplicate = asError(error).message.startsWith('duplicate');
      if (!isDuplicate || passed.length === parts.length) throw error;
      this.#refuse(passed);
      return passed;
    }
  }

  /** Taken for new, and there. */
  #isMistaken({ stored, ...row }: ShardCommit['actors'][number]): boolean {
    return stored === false && this.tables.actors.has(addressKey(row));
  }

  async markLog(
    passed: readonly { shard: number; seq: number }[],
    replayWindowMs: number,
  ): Promise<number> {
    for (const { shard, seq } of passed) {
      const row = this.tables.shards[shard];
      if (row) row.passed = Math.max(row.passed, seq);
    }
    const now = this.clock.now();
    const older = this.tables.marks.filter((mark) => mark.at < now - replayWindowMs);
    const newest = older.at(-1);
    this.tables.marks = this.tables.marks.filter((mark) => !newest || mark.at >= newest.at);
    if (!this.tables.marks.some((mark) => mark.at > now - MARK_EVERY_MS))
      this.tables.marks.push({
        at: now,
        seq: Math.min(...this.tables.shards.map((row) => Math.max(row.cursor, row.passed))),
      });
    return newest?.seq ?? 0;
  }

  #stored(actor: ActorState, eventIdsMax: number): StoredActor {
    const {
      createdAt: _created,
      updatedAt: _updated,
      onTrial: _onTrial,
      quarantinedAt,
      pausedAt,
      ...row
    } = actor;
    const eventIds = [...(this.tables.eventIds.get(addressKey(actor)) ?? [])].sort(byText);
    return {
      ...row,
      snapshot: this.snapshotOf(row) as string,
      quarantined: quarantinedAt !== null,
      paused: pausedAt !== null,
      eventIds: eventIds.slice(0, eventIdsMax),
      eventIdsComplete: eventIds.length <= eventIdsMax,
    };
  }

  #outboxOf(shards: readonly number[], before: number): OutboxRow[] {
    return [...this.tables.outbox.values()]
      .filter((row) => shards.includes(row.shard) && row.createdAt < before)
      .sort((a, b) => a.createdAt - b.createdAt || byText(a.messageId, b.messageId))
      .map(({ createdAt: _created, ...row }) => row);
  }

  #parkedOf(shards: readonly number[]): ParkedState[] {
    return [...this.tables.parked.values()]
      .filter(({ shard }) => shards.includes(shard))
      .sort(byPosition);
  }

  #parkedActors(shards: readonly number[]): ParkedActor[] {
    const found = new Map<string, ParkedActor>();
    for (const { shard, type, id, at } of this.#parkedOf(shards)) {
      const key = addressKey({ type, id });
      const version = this.tables.actors.get(key)?.version ?? null;
      const paused = isPaused(this.tables, { type, id });
      const row = found.get(key) ?? { shard, type, id, version, paused, messages: 0, since: at };
      found.set(key, { ...row, messages: row.messages + 1, since: Math.min(row.since, at) });
    }
    return [...found.values()].sort((a, b) => byText(a.type, b.type) || byText(a.id, b.id));
  }

  #refuse(parts: readonly ShardCommit[]): void {
    const seen = new Set<string>();
    for (const { stored, paused, ...row } of parts.flatMap(({ actors }) => actors)) {
      if (paused !== undefined) continue;
      const isThere = this.tables.actors.has(addressKey(row));
      if (stored === false && isThere) throw new StoreRefused(`duplicate actor ${addressKey(row)}`);
      if (stored && !isThere) throw new StoreRefused('the row of an actor is gone');
    }
    for (const part of parts)
      for (const row of part.transitions) {
        const key = addressKey(row);
        const earlier = this.tables.transitions.get(key);
        const stored =
          row.seq <= (earlier?.at(-1)?.seq ?? 0) && earlier?.some(({ seq }) => seq === row.seq);
        if (stored || seen.has(`${key}/${row.seq}`))
          throw new StoreRefused(`duplicate transition ${key}/${row.seq}`);
        seen.add(`${key}/${row.seq}`);
        if (row.eventId === null) continue;
        const event = `${key} ${row.eventId}`;
        if (seen.has(event) || this.tables.eventIds.get(key)?.has(row.eventId))
          throw new StoreRefused(`duplicate event ${event}`);
        seen.add(event);
      }
  }

  #apply(nodeId: string, part: ShardCommit, at: number): void {
    const { tables } = this;
    const shard = tables.shards[part.shard] as ShardState;
    const isParked = [...tables.parked.values()].some(
      (row) => row.shard === part.shard && !isPaused(tables, row),
    );
    if (part.cursor > shard.cursor && shard.suspectSeq === null && !isParked) shard.crashes = 0;
    shard.cursor = Math.max(shard.cursor, part.cursor);
    shard.commitNo = part.commitNo;
    for (const { paused, stored: _, ...row } of part.actors) {
      const earlier = tables.actors.get(addressKey(row));
      const before = earlier?.pausedAt ?? null;
      tables.actors.set(addressKey(row), {
        ...row,
        shard: earlier?.shard ?? part.shard,
        epoch: part.epoch,
        createdAt: earlier?.createdAt ?? at,
        // To be paused is no transition.
        updatedAt: paused !== undefined && earlier?.seq === row.seq ? earlier.updatedAt : at,
        crashes: 0,
        onTrial: false,
        quarantinedAt: null,
        pausedAt: paused === undefined ? before : paused ? (before ?? at) : null,
      });
    }
    for (const { paused, ...address } of part.paused) {
      const actor = tables.actors.get(addressKey(address));
      if (actor) actor.pausedAt = paused ? (actor.pausedAt ?? at) : null;
    }
    for (const row of part.searchable ?? []) {
      const fields = tables.searchable.get(addressKey(row)) ?? new Map<string, string>();
      tables.searchable.set(addressKey(row), fields.set(row.field, row.value));
    }
    for (const row of part.failedAttempts ?? []) recordAttempt(tables, row, nodeId, at);
    for (const row of part.transitions)
      recordTransition(tables, { ...row, epoch: part.epoch, nodeId, at });
    for (const key of part.timersDropped) tables.timers.delete(timerKey(key));
    for (const { delayMs, ...row } of part.timersArmed)
      tables.timers.set(timerKey(row), {
        ...row,
        shard: tables.timers.get(timerKey(row))?.shard ?? part.shard,
        fireAt: at + wholeDelay(delayMs),
      });
    for (const messageId of part.outboxDone) tables.outbox.delete(messageId);
    for (const row of part.outboxAdded)
      if (!tables.outbox.has(row.messageId))
        tables.outbox.set(row.messageId, { ...row, shard: part.shard, createdAt: at });
    for (const row of part.deadLetters) {
      const key = `${row.logId}/${row.logSeq}`;
      if (tables.deadLetters.has(key)) continue;
      const id = ++this.#deadLetterId;
      const { shard: number } = part;
      const body = row.body.slice();
      tables.deadLetters.set(key, { ...row, body, id, shard: number, at, redrivenAt: null });
    }
    for (const { logId, logSeq } of part.unparked) tables.parked.delete(`${logId}/${logSeq}`);
    for (const row of part.parked) {
      const key = `${row.logId}/${row.logSeq}`;
      const { shard: number, epoch } = part;
      if (!tables.parked.has(key))
        tables.parked.set(key, { ...row, body: row.body.slice(), shard: number, epoch, at });
    }
  }
}

const byPosition = (a: ParkedPosition, b: ParkedPosition): number =>
  a.epoch - b.epoch || a.logSeq - b.logSeq;

const timerKey = (timer: TimerKey) => `${addressKey(timer)}/${timer.timerId}`;
