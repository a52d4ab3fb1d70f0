import type { LogMessage } from '../bus/bus.ts';
import { asError } from '../errors.ts';
import type { OpenedShard } from '../store/sharing.ts';
import { type Address, addressKey, type EventKey, type StoredActor } from '../store/store.ts';
import { frees, type Refusal, type Request, readMessage } from './intake.ts';
import { isChildRow, rootOf } from './kin.ts';
import { logTag } from './logSource.ts';
import { type Item, Mailbox } from './mailbox.ts';
import { ParkedMessage } from './parkedMessage.ts';
import { Resident } from './resident.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';
import { Suspicion } from './suspicion.ts';
import { remembers, type Taker } from './taker.ts';
import { buryUndeliverable } from './undeliverable.ts';

/**
 * A shard's mailbox and the one loop that empties it: a turn takes what waits, loads the actors it is for (not who
 * may be taken for new), and has each item stepped into the shard's batch, in order. Turns never overlap, so nothing else changes actors.
 */
export class Pump {
  readonly #ring: Ring;
  readonly #shard: Shard;
  readonly #taker: Taker;
  readonly #suspicion: Suspicion;
  readonly #mailbox = new Mailbox();
  /** Actors of the turn that runs; they stay in memory until it has ended. */
  #pinned: ReadonlyMap<string, Address> = NOBODY;
  #turning = false;
  /** Since when more transitions wait than can be sent, monotonic, ms. */
  #crowdedSince: number | undefined;
  #again = false;

  constructor(ring: Ring, shard: Shard, taker: Taker, opened: OpenedShard) {
    this.#suspicion = new Suspicion(ring, shard, this, opened);
    this.#ring = ring;
    this.#shard = shard;
    this.#taker = taker;
  }

  get isTurning(): boolean {
    return this.#turning;
  }

  get isIdle(): boolean {
    return !this.#turning && this.#mailbox.size === 0;
  }

  /** Items that wait, and actors of the turn that runs. */
  get mailboxSize(): number {
    return this.#mailbox.size + this.#pinned.size;
  }

  waitingFor(address: Address): number {
    return this.#mailbox.waitingFor(address);
  }

  /** All that is left is the log's, which whoever reads it next gets again. */
  get isDrained(): boolean {
    return !this.#turning && this.#mailbox.innerIsEmpty;
  }

  /** The turn that runs counts on the actor being in memory. */
  pins(key: string): boolean {
    return this.#pinned.has(key);
  }

  push(item: Item): void {
    if (!this.#suspicion.keeps(item)) this.#mailbox.push(item);
    this.wake();
  }

  wake(): void {
    if (this.#turning) {
      this.#again = true;
      return;
    }
    this.#turning = true;
    this.#ring.clock.soon(this.#begin);
  }

  readonly #begin = (): void => void this.#turn();

  async #turn(): Promise<void> {
    const { limits, clock, log } = this.#ring;
    try {
      // What it would take could not land, and is better kept for who opens the shard again.
      if (this.#shard.isOver) return;
      const withLog = this.#hasRoom() && !this.#shard.sealed;
      const suspected = this.#suspicion.active;
      const items = this.#mailbox.take(withLog && !suspected ? limits.shardIntakeMax : 0);
      if (suspected && withLog) items.push(...(await this.#nextSuspect()));
      if (items.length > 0) await this.#takeAll(items);
      // While others are on trial, whoever ends that wakes this pump.
      const asleep = this.#suspicion.active && this.#mailbox.innerIsEmpty;
      if (this.#mailbox.size > 0 && !this.#shard.sealed && !asleep)
        if (withLog) this.#again = true;
        // Full: the log lane waits until running actors have finished, transitions have landed and outcomes are published.
        else clock.after(FULL_WAIT_MS, () => this.wake());
    } catch (error) {
      // Of a closed shard it changes nothing (H3): whoever opens it next takes the same anew.
      if (!this.#shard.closed) {
        log.error({ ...this.#shard.place, error: asError(error).stack }, 'pump: turn failed');
        this.#shard.cannotGoOn(asError(error).message);
      }
    } finally {
      const pinned = this.#pinned;
      this.#pinned = NOBODY;
      pinned.forEach((_, key) => void this.#shard.release(key));
      this.#turning = false;
      if (this.#again) {
        this.#again = false;
        this.wake();
      }
    }
  }

  /**
   * Whether anything new is taken from the log. When as many transitions wait as the statements under way can carry, more of
   * them would make no commit larger: they would only be held in memory, and copied by the collector, until they land.
   */
  #hasRoom(): boolean {
    const { load, limits, outbox, committer, clock } = this.#ring;
    if (load.busyActors >= limits.busyActorsMax || outbox.isFull) return false;
    const isCrowded = committer.unlanded >= limits.commitMax * limits.commitsInFlight;
    this.#crowdedSince = isCrowded ? (this.#crowdedSince ?? clock.monotonic()) : undefined;
    if (this.#crowdedSince === undefined) return true;
    // Actors that never rest could keep it so for ever: what comes from outside has its turn, too.
    if (clock.monotonic() - this.#crowdedSince < CROWDED_MAX_MS) return false;
    this.#crowdedSince = undefined;
    return true;
  }

  #nextSuspect(): Promise<Item[]> {
    const takeMessages = (max: number) => this.#mailbox.takeMessages(max);
    return this.#suspicion.next(takeMessages, this.#mailbox.messages);
  }

  async #takeAll(items: readonly Item[]): Promise<void> {
    const turn: Turn = { read: new Map(), keys: [], stored: NOTHING, known: NO_EVENTS };
    const pinned = new Map<string, Address>();
    const missing: Address[] = [];
    let atStake: boolean | undefined;
    for (const item of items) {
      const address = this.#addressOf(item, turn);
      if (!address) {
        turn.keys.push('');
        continue;
      }
      const root = rootOf(address);
      const key = addressKey(root);
      turn.keys.push(address === root ? key : addressKey(address));
      if (pinned.has(key)) continue;
      pinned.set(key, root);
      if (this.#shard.residents.has(key)) continue;
      const mayBeNew = this.#mayBeNew(item, key, turn);
      if (mayBeNew) atStake ??= this.#isAtStake();
      if (!mayBeNew || atStake) missing.push(root);
    }
    this.#pinned = pinned;
    if (missing.length > 0) turn.stored = await this.#ring.loader.load(missing);
    if (this.#hasStrangers(turn)) await this.#ring.others.refresh();
    if (this.#shard.isOver) return;
    const doubtful = this.#doubtful(items, turn);
    if (doubtful.length > 0) turn.known = await this.#ring.store.knownEvents(doubtful);
    if (this.#shard.isOver) return;
    for (let i = 0; i < items.length; i++)
      this.#take(items[i] as Item, turn, turn.keys[i] as string);
    this.#shard.offer();
  }

  #addressOf(item: Item, { read }: Turn): Address | undefined {
    if (item.kind === 'published' || item.kind === 'undeliverable') return undefined;
    const { parking } = this.#shard;
    if (item.kind === 'timer' && parking.isLeftAlone(addressKey(rootOf(item.address))))
      return undefined;
    if (item.kind !== 'message') return item.address;
    const { message } = item;
    const tag = message instanceof ParkedMessage ? logTag(message.logId) : this.#ring.source.tag;
    const request =
      this.#suspicion.refusal(message.seq) ?? readMessage(message, tag, this.#ring.limits);
    read.set(item, request);
    if (!request.ok) return undefined;
    parking.tryAgain(addressKey(rootOf(request.address)));
    return request.address;
  }

  /** A start of somebody who can be taken for new without Postgres being asked. */
  #mayBeNew(item: Item, key: string, { read }: Turn): boolean {
    const request = read.get(item);
    if (!request?.ok || request.kind !== 'start' || this.#suspicion.active) return false;
    const { registry, newcomers } = this.#ring;
    if (this.#shard.parking.isBehind(key, false)) return false;
    return registry.newest(request.address.type) !== undefined && newcomers.mayBeNew(key);
  }

  /** Something of the shard runs, or has ended with a commit that is still to come: should that not land, it would be done again. */
  #isAtStake(): boolean {
    const { batch, residents } = this.#shard;
    if (batch.reports || residents.size > LOOKED_AT_MAX) return true;
    for (const resident of residents.values()) if (resident.busy) return true;
    return false;
  }

  /** Of a type nobody is known to know, with nothing recorded: a node that does may have joined just now. */
  #hasStrangers({ read, stored }: Turn): boolean {
    const { registry, others } = this.#ring;
    for (const request of read.values()) {
      if (!request.ok || registry.newest(request.address.type)) continue;
      const isNew = !stored.has(addressKey(request.address));
      if (isNew && !others.knowType(request.address.type)) return true;
    }
    return false;
  }

  /** Postgres is asked for event ids only where memory does not hold them all. */
  #doubtful(items: readonly Item[], turn: Turn): EventKey[] {
    const doubtful: EventKey[] = [];
    for (const item of items) {
      const request = turn.read.get(item);
      const own = item.kind === 'self' || item.kind === 'sent' || item.kind === 'next';
      const event = request?.ok ? request : own ? item : undefined;
      const actor = event && this.#bring(event.address, turn);
      if (event && actor && remembers(actor, event.eventId) === undefined)
        doubtful.push({ ...event.address, eventId: event.eventId });
    }
    return doubtful;
  }

  /** The actor from memory or from what was loaded; undefined when it does not exist. */
  #bring(
    address: Address,
    turn: Turn,
    free = false,
    key = addressKey(address),
  ): Resident | StoredActor | undefined {
    const resident = this.#shard.residents.get(key);
    if (resident) return (!free && resident.head.quarantined) || resident;
    if (isChildRow(address)) {
      const head = this.#bring(rootOf(address), turn, free);
      return head instanceof Resident ? this.#shard.residents.get(key) : head;
    }
    const row = turn.stored.get(key);
    const told = this.#shard.parking.told(key);
    if (!row || ((row.quarantined || row.paused || told !== undefined) && !free)) return row;
    const opens = row.status === 'active' || row.busy;
    const brought = opens ? this.#taker.opener.open(row, turn.stored) : undefined;
    if (!brought) return row;
    if (told !== undefined) brought.paused = told;
    for (const member of brought.members()) {
      if (brought.isPaused) owesActions(member, brought, turn.stored.get(member.key));
      this.#shard.adopt(member);
    }
    return (!free && brought.quarantined) || brought;
  }

  #take(item: Item, turn: Turn, key: string): void {
    const { batch } = this.#shard;
    if (item.kind === 'message')
      return this.#takeMessage(item.message, turn.read.get(item), turn, key);
    if (item.kind === 'published') return batch.delivered(item.messageId);
    if (item.kind === 'undeliverable')
      return buryUndeliverable(this.#ring, this.#shard, batch, item);
    const resident = this.#bring(item.address, turn, false, key || undefined);
    // Gone, or of a version this node does not know: nothing to do here; the rows stay as they are.
    if (!(resident instanceof Resident)) return;
    if (resident.isPaused && !mayTake(resident, item)) return;
    resident.touchedAt = this.#ring.clock.monotonic();
    switch (item.kind) {
      case 'settled':
        return this.#taker.reports.settled(batch, resident, item);
      case 'sent':
        return this.#taker.reports.sent(batch, resident, item, turn.known);
      case 'next':
        return this.#taker.reports.next(batch, resident, item, turn.known);
      case 'stepped':
        return this.#taker.reports.stepped(batch, resident, item);
      case 'timer':
        return this.#taker.timer(batch, resident, item);
      case 'self':
        return this.#taker.self(batch, resident, item, turn.known);
      case 'failed':
        return this.#taker.failed(batch, resident, item.error);
      case 'acted':
        resident.acted(item.seq);
        batch.reports = true;
        return batch.row(resident);
      default:
        item satisfies never;
    }
  }

  #takeMessage(
    message: LogMessage,
    read: Request | Refusal | undefined,
    turn: Turn,
    key: string,
  ): void {
    // Below the cursor: applied before the reader started (a consumer may hand over an older one).
    const isOld = message.seq <= this.#shard.cursor && !(message instanceof ParkedMessage);
    if (isOld || !read) return message.ack();
    const actor = read.ok ? this.#bring(read.address, turn, frees(read), key) : undefined;
    this.#taker.message(this.#shard.batch, message, read, actor, turn.known, key);
  }
}

/**
 * Of a paused actor only that its actions are done is taken: they need not be redone. Unless they have said something that
 * cannot be taken now; with the actions it is said once more.
 */
function mayTake(resident: Resident, { kind }: Item): boolean {
  const { head } = resident;
  if (kind === 'self' || kind === 'failed') head.missed = true;
  return kind === 'acted' && !head.missed;
}

/** A paused actor was left with actions to do: it is brought to be ended, and they are redone when its shard is opened again. */
function owesActions(member: Resident, root: Resident, row: StoredActor | undefined): void {
  if (!row || row.actedSeq >= row.seq) return;
  member.owes(row.actedSeq + 1);
  root.missed = true;
}

/** What one turn knows. */
interface Turn {
  readonly read: Map<Item, Request | Refusal>;
  /** Of whom each item is for; empty for one that is for nobody, or left alone. */
  readonly keys: string[];
  /** Actors that were not in memory when it began. */
  stored: ReadonlyMap<string, StoredActor>;
  /** Event ids that are recorded, of those memory could not tell. */
  known: ReadonlySet<string>;
}

/** Actors that are looked at before somebody is taken for new; with more in memory Postgres is asked. */
const LOOKED_AT_MAX = 1_000;
const FULL_WAIT_MS = 20;
const CROWDED_MAX_MS = 500;
const NOBODY: ReadonlyMap<string, Address> = new Map();
const NOTHING: ReadonlyMap<string, StoredActor> = new Map();
const NO_EVENTS: ReadonlySet<string> = new Set();
