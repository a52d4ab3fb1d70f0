import type { EventObject } from 'xstate';
import type { LogMessage, LogReader } from '../bus/bus.ts';
import { backoff, sleep } from '../clock.ts';
import { asError, invariant } from '../errors.ts';
import {
  type Address,
  addressKey,
  type EventKey,
  type OpenedShard,
  type Recovered,
  type ShardCommit,
  type StoredActor,
} from '../store/store.ts';
import { Batch } from './batch.ts';
import type { CommitSource } from './committer.ts';
import { type Refusal, type Request, readMessage } from './intake.ts';
import type { Invocation } from './invocation.ts';
import { type Item, Mailbox } from './mailbox.ts';
import { perform } from './perform.ts';
import { Resident } from './resident.ts';
import { resume } from './resume.ts';
import type { Ring } from './ring.ts';
import { remembers, Taker } from './taker.ts';

/**
 * One shard while this node owns it: reader → mailbox → step → batch → committer → effects, one way round.
 *
 *  H1  Items are taken in mailbox order, messages in log order, so the cursor never passes a message whose effect is
 *      not in the same batch or an earlier one.
 *  H2  A message is acknowledged, and a step's effects start, only after its batch has landed (G3).
 *  H3  Once closed, a shard takes nothing, commits nothing and starts nothing.
 */
export class Shard implements CommitSource {
  readonly number: number;
  readonly residents = new Map<string, Resident>();
  readonly #ring: Ring;
  readonly #mailbox = new Mailbox();
  readonly #taker: Taker;
  #epoch: number;
  #commitNo: number;
  #cursor: number;
  #batch: Batch;
  #inFlight: Batch | undefined;
  #sent: ShardCommit | undefined;
  #reader: LogReader | undefined;
  #pumping = false;
  #pumpWanted = false;
  #lazy = false;
  #closed = false;

  constructor(ring: Ring, opened: OpenedShard) {
    this.#ring = ring;
    this.number = opened.shard;
    this.#epoch = opened.epoch;
    this.#commitNo = opened.commitNo;
    this.#cursor = opened.cursor;
    this.#batch = new Batch(this.number);
    this.#taker = new Taker(ring, this);
  }

  get epoch(): number {
    return this.#epoch;
  }

  get cursor(): number {
    return this.#cursor;
  }

  get reader(): LogReader | undefined {
    return this.#reader;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Steps (2)–(4) of opening (design §4); `kept` are attempts that still run from before, by key. */
  async open(recovered: Recovered, kept: Map<string, Invocation>): Promise<void> {
    await resume(this.#ring, this, recovered, kept);
    await this.#openReader();
  }

  /** Running actors go on while NATS is away: the reader alone waits for it. */
  async #openReader(): Promise<void> {
    const { clock, log } = this.#ring;
    for (let attempt = 1; !this.#closed; attempt++)
      try {
        this.#reader = await this.#readLog();
        break;
      } catch (error) {
        const reason = asError(error).message;
        if (attempt % 10 === 1) log.warn({ shard: this.number, reason }, 'shard: no reader yet');
        await sleep(clock, 100 + backoff(clock, attempt, 100, 1_000));
      }
    if (this.#closed) await this.#reader?.stop();
    this.#wake();
  }

  async #readLog(): Promise<LogReader> {
    await this.#ring.source.check();
    return this.#ring.bus.openReader({
      shard: this.number,
      epoch: this.#epoch,
      startSeq: this.#cursor + 1,
      pendingMax: this.#ring.limits.shardPendingMax,
      ackWaitMs: this.#ring.limits.ackWaitMs,
      onMessage: (message) => this.post({ kind: 'message', message }),
      onSurprise: (reason) => {
        if (!this.#closed) this.#ring.surprise(this.number, reason);
      },
    });
  }

  /**
   * A log sequence up to which nothing is left to do for a shard that is idle; undefined for one that is not. `lag`
   * reads the log's end first, then what waits, so nothing at or before that end can be missed.
   */
  async passed(): Promise<number | undefined> {
    if (!this.#reader || this.#closed) return undefined;
    const { waiting, logEnd } = await this.#reader.lag();
    const idle = waiting === 0 && this.#mailbox.size === 0 && this.#batch.isEmpty && !this.#pumping;
    return idle && !this.#inFlight && !this.#closed ? logEnd : undefined;
  }

  /** Stops taking. Returns the attempts that still run, by key, for whoever opens the shard here again. */
  async close(): Promise<Map<string, Invocation>> {
    this.#closed = true;
    this.#ring.committer.withdraw(this);
    this.#ring.timers.forget(this.number);
    const running = new Map<string, Invocation>();
    for (const resident of this.residents.values()) {
      this.#count(resident, -1);
      for (const invocation of resident.invocations.values())
        running.set(invocation.key, invocation);
    }
    this.residents.clear();
    await this.#reader?.stop();
    return running;
  }

  post(item: Item): void {
    if (this.#closed) return;
    this.#mailbox.push(item);
    this.#wake();
  }

  /** What an action of the actor sends to `self`: named by the action, so that redoing the action sends it once. */
  readonly deliver = (resident: Resident, event: EventObject): void => {
    const { acting, address } = resident;
    const eventId = acting
      ? `${resident.key}/${acting.seq}/${acting.index}.${acting.sent++}`
      : this.#ring.clock.uuid();
    this.post({ kind: 'self', address, eventId, event });
  };

  /** The actor in memory; undefined (and logged) when no version here can open it. */
  rehydrate(row: StoredActor): Resident | undefined {
    return this.#taker.rehydrate(row);
  }

  adopt(resident: Resident): void {
    this.residents.set(resident.key, resident);
    this.#count(resident, 1);
  }

  #count(resident: Resident, by: 1 | -1): void {
    this.#ring.load.residents += by;
    if (resident.invocations.size > 0) this.#ring.load.busyActors += by;
  }

  /** Drops idle actors from memory; the rows stay. `all`: also the ones used just now. */
  passivate(all: boolean): void {
    const before = this.#ring.clock.monotonic() - this.#ring.limits.passivateAfterMs;
    for (const resident of this.residents.values())
      if (isIdle(resident) && (all || resident.finished || resident.touchedAt <= before))
        this.#drop(resident);
  }

  #drop(resident: Resident): void {
    if (this.residents.delete(resident.key)) this.#count(resident, -1);
  }

  // ── mailbox → step → batch ──────────────────────────────────────────────────────────────────────

  #wake(): void {
    if (this.#pumping) {
      this.#pumpWanted = true;
      return;
    }
    this.#pumping = true;
    this.#ring.clock.soon(() => void this.#pump());
  }

  async #pump(): Promise<void> {
    try {
      const { load, limits } = this.#ring;
      const withLog = load.busyActors < limits.busyActorsMax;
      const items = this.#closed ? [] : this.#mailbox.take(withLog ? limits.shardIntakeMax : 0);
      if (items.length > 0) await this.#takeAll(items);
      if (withLog && this.#mailbox.size > 0) this.#pumpWanted = true;
      // Full: the log lane waits for running actors to finish; look again when one has.
      if (!withLog && this.#mailbox.size > 0) this.#ring.clock.after(20, () => this.#wake());
    } catch (error) {
      this.#ring.log.error(
        { shard: this.number, error: asError(error).stack },
        'shard: pump failed',
      );
      if (!this.#closed) this.#ring.surprise(this.number, asError(error).message);
    } finally {
      this.#pumping = false;
      if (this.#pumpWanted) {
        this.#pumpWanted = false;
        this.#wake();
      }
    }
  }

  async #takeAll(items: Item[]): Promise<void> {
    const { limits } = this.#ring;
    const logTag = this.#ring.source.tag;
    const read = new Map<Item, Request | Refusal>();
    const addresses = new Map<string, Address>();
    for (const item of items) {
      let address: Address | undefined;
      if (item.kind === 'message') {
        const request = readMessage(item.message, logTag, limits);
        read.set(item, request);
        if (request.ok) address = request.address;
      } else if (item.kind !== 'published') address = item.address;
      if (address) addresses.set(addressKey(address), address);
    }
    const stored = await this.#load(addresses);
    if (this.#closed) return;
    const bring = (address: Address) => this.#bring(address, stored);
    const known = await this.#knownEvents(items, read, bring);
    if (this.#closed) return;
    for (const item of items) this.#take(item, read.get(item), bring, known);
    if (this.#batch.isEmpty) return;
    if (this.#batch.size > 0 || this.#batch.replies.length > 0) this.#ring.committer.offer(this);
    else this.#commitSoon();
  }

  /** Row-only news (an outcome is out, an action is done) rides with the next commit, or goes by itself soon. */
  #commitSoon(): void {
    if (this.#lazy) return;
    this.#lazy = true;
    this.#ring.clock.after(LAZY_COMMIT_MS, () => {
      this.#lazy = false;
      if (!this.#closed && !this.#batch.isEmpty) this.#ring.committer.offer(this);
    });
  }

  /** Those that are not in memory; an actor may leave memory while others are loaded, so it looks until all are there. */
  async #load(addresses: Map<string, Address>): Promise<Map<string, StoredActor>> {
    const stored = new Map<string, StoredActor>();
    for (;;) {
      const missing: Address[] = [];
      for (const [key, address] of addresses)
        if (!this.residents.has(key)) {
          missing.push(address);
          addresses.delete(key);
        }
      if (missing.length === 0) return stored;
      for (const [key, row] of await this.#ring.loader.load(missing)) stored.set(key, row);
    }
  }

  /** The actor from memory or from what was loaded; undefined when it does not exist. */
  #bring(address: Address, stored: Map<string, StoredActor>): Resident | StoredActor | undefined {
    const key = addressKey(address);
    const resident = this.residents.get(key);
    if (resident) return resident;
    const row = stored.get(key);
    if (!row) return undefined;
    const brought = row.status === 'active' || row.busy ? this.#taker.rehydrate(row) : undefined;
    if (!brought) return row;
    this.adopt(brought);
    return brought;
  }

  /** Postgres is asked for event ids only where memory does not hold them all. */
  async #knownEvents(
    items: readonly Item[],
    read: Map<Item, Request | Refusal>,
    bring: (address: Address) => Resident | StoredActor | undefined,
  ): Promise<Set<string>> {
    const doubtful: EventKey[] = [];
    for (const item of items) {
      const request = read.get(item);
      const event = request?.ok ? request : item.kind === 'self' ? item : undefined;
      const actor = event && bring(event.address);
      if (event && actor && remembers(actor, event.eventId) === undefined)
        doubtful.push({ ...event.address, eventId: event.eventId });
    }
    return doubtful.length > 0 ? this.#ring.loader.knownEvents(doubtful) : NO_EVENTS;
  }

  #take(
    item: Item,
    read: Request | Refusal | undefined,
    bring: (address: Address) => Resident | StoredActor | undefined,
    known: Set<string>,
  ): void {
    const batch = this.#batch;
    if (item.kind === 'message') return this.#takeMessage(item.message, read, bring, known);
    if (item.kind === 'published') return batch.delivered(item.messageId);
    const resident = bring(item.address);
    // Gone, or of a version this node does not know: nothing to do here; the rows stay as they are.
    if (!(resident instanceof Resident)) return;
    resident.touchedAt = this.#ring.clock.monotonic();
    switch (item.kind) {
      case 'settled':
        return this.#taker.settled(batch, resident, item, (run) => this.#afterCommit.push(run));
      case 'timer':
        return this.#taker.timer(batch, resident, item);
      case 'self':
        return this.#taker.self(batch, resident, item, known);
      case 'failed':
        return this.#taker.failed(batch, resident, item.error);
      case 'acted':
        resident.acted(item.seq);
        return batch.row(resident);
    }
  }

  #takeMessage(
    message: LogMessage,
    read: Request | Refusal | undefined,
    bring: (address: Address) => Resident | StoredActor | undefined,
    known: Set<string>,
  ): void {
    // Below the cursor: applied before the reader started (a consumer may hand over an older one).
    if (message.seq <= this.#cursor || !read) return message.ack();
    const actor = read.ok ? bring(read.address) : undefined;
    const created = this.#taker.message(this.#batch, message, read, actor, known);
    if (created) this.adopt(created);
  }

  /** Things the next landed batch sets off besides its steps (a retry that was recorded). */
  #afterCommit: (() => void)[] = [];
  #afterInFlight: (() => void)[] = [];

  // ── committer ───────────────────────────────────────────────────────────────────────────────────

  get waiting(): number {
    return this.#batch.size;
  }

  take(): ShardCommit | undefined {
    if (this.#closed || this.#batch.isEmpty) return undefined;
    this.#inFlight = this.#batch;
    this.#batch = new Batch(this.number);
    this.#afterInFlight = this.#afterCommit;
    this.#afterCommit = [];
    this.#sent = this.#inFlight.toCommit(this.#epoch, this.#commitNo + 1, this.#cursor);
    return this.#sent;
  }

  resend(epoch: number): ShardCommit {
    invariant(this.#sent, `shard ${this.number} has nothing in flight`);
    this.#epoch = epoch;
    this.#sent = { ...this.#sent, epoch };
    return this.#sent;
  }

  landed(commitNo: number, at: number | null): void {
    const batch = this.#inFlight;
    const after = this.#afterInFlight;
    this.#inFlight = undefined;
    if (this.#closed || !batch) return;
    this.#commitNo = commitNo;
    this.#cursor = Math.max(this.#cursor, batch.cursor);
    for (const message of batch.messages) message.ack();
    if (at !== null) this.#ring.timers.observe(at);
    perform(this.#ring, this, batch, at);
    for (const run of after) run();
    for (const resident of batch.residents) {
      resident.trimEventIds(this.#ring.limits.eventIdsInMemory);
      if (resident.finished && isIdle(resident)) this.#drop(resident);
    }
    if (!this.#batch.isEmpty) this.#ring.committer.offer(this);
  }

  fenced(): void {
    if (this.#closed) return;
    this.#ring.log.warn(
      { shard: this.number, epoch: this.#epoch },
      'shard: fenced, another node owns it',
    );
    this.#ring.surprise(this.number, 'fenced');
  }

  refused(error: Error): void {
    if (!this.#closed) this.#ring.surprise(this.number, `commit refused: ${error.message}`);
  }
}

/** Nothing of it is under way: dropping it from memory loses nothing. */
function isIdle(resident: Resident): boolean {
  return (
    resident.uncommitted === 0 && resident.invocations.size === 0 && resident.unacted.length === 0
  );
}

const LAZY_COMMIT_MS = 25;
const NO_EVENTS: Set<string> = new Set();
