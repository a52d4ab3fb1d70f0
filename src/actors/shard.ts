import type { EventObject } from 'xstate';
import type { LogReader } from '../bus/bus.ts';
import { sleep } from '../clock.ts';
import { asError, invariant } from '../errors.ts';
import { StoreRefused } from '../store/refused.ts';
import type { OpenedShard } from '../store/sharing.ts';
import type { Address, Recovered, ShardCommit, StoredActor } from '../store/store.ts';
import type { StoreTransaction } from '../store/userTransaction.ts';
import { Batch, type OwnTransaction } from './batch.ts';
import type { CommitSource } from './committer.ts';
import type { Invocation } from './invocation.ts';
import type { Rows } from './kinRows.ts';
import type { Item } from './mailbox.ts';
import { Parking } from './parking.ts';
import { perform } from './perform.ts';
import { Pump } from './pump.ts';
import { openReader } from './reading.ts';
import type { Resident } from './resident.ts';
import { resume } from './resume.ts';
import type { Ring } from './ring.ts';
import { Taker } from './taker.ts';
import { unpark } from './unpark.ts';

/**
 * One shard while this node owns it: reader → mailbox → step → batch → committer → effects, one way round.
 *
 *  H1  Items are taken in mailbox order, messages in log order, so the cursor never passes a message whose effect is
 *      not in the same batch or an earlier one.
 *  H2  A message is acknowledged, and a step's effects start, only after its batch has landed (G3).
 *  H3  Once closed, a shard takes nothing, commits nothing and starts nothing.
 *  H4  Once sealed, it takes nothing more of the log and starts nothing; what has been stepped is committed still.
 *  H5  Once a commit did not land or a turn failed, it commits nothing more: its memory follows from what was lost.
 *  H6  A step that is committed in a transaction is alone in its batch. Batches are committed in the order of their
 *      steps.
 */
export class Shard implements CommitSource {
  readonly number: number;
  readonly residents = new Map<string, Resident>();
  readonly parking: Parking;
  /** Monotonic, ms. */
  readonly openedAt: number;
  readonly #ring: Ring;
  readonly #taker: Taker;
  readonly #pump: Pump;
  /** Attempts from before that no actor has taken over yet, while the shard is being opened. */
  #kept: ReadonlyMap<string, Invocation> = new Map();
  #epoch: number;
  #commitNo: number;
  #cursor: number;
  /** Closed, oldest first: those of transactions, and what came before them. */
  readonly #closedBatches: Batch[] = [];
  #batch: Batch;
  #inFlight: Batch | undefined;
  #sent: ShardCommit | undefined;
  #reader: LogReader | undefined;
  #sealed = false;
  /** A commit did not land, or a turn failed. */
  #broken = false;
  #closed = false;

  constructor(ring: Ring, opened: OpenedShard) {
    this.#ring = ring;
    this.openedAt = ring.clock.monotonic();
    this.number = opened.shard;
    this.#epoch = opened.epoch;
    this.#commitNo = opened.commitNo;
    this.#cursor = opened.cursor;
    this.#batch = new Batch(this.number);
    this.parking = new Parking(ring.others, ring.limits.shardParkedMax);
    this.#taker = new Taker(ring, this);
    this.#pump = new Pump(ring, this, this.#taker, opened);
  }

  get epoch(): number {
    return this.#epoch;
  }

  get place(): { shard: number; epoch: number } {
    return { shard: this.number, epoch: this.#epoch };
  }

  get cursor(): number {
    return this.#cursor;
  }

  get commitNo(): number {
    return this.#commitNo;
  }

  get mailboxSize(): number {
    return this.#pump.mailboxSize;
  }

  /** Items of the mailbox that are for one actor. */
  waitingFor(address: Address): number {
    return this.#pump.waitingFor(address);
  }

  get hasCommitInFlight(): boolean {
    return this.#inFlight !== undefined;
  }

  get reader(): LogReader | undefined {
    return this.#reader;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Nothing it does from now on lands (H3, H5). */
  get isOver(): boolean {
    return this.#closed || this.#broken;
  }

  get sealed(): boolean {
    return this.#sealed;
  }

  /** Steps have been taken that are not committed. */
  get isUnderWay(): boolean {
    return !this.#next.isEmpty || this.#inFlight !== undefined;
  }

  /** Steps (2)–(4) of opening (design §4); `kept` are attempts that still run from before, by key. */
  async open(recovered: Recovered, kept: Map<string, Invocation>): Promise<void> {
    const parked = recovered.parked.filter(({ shard }) => shard === this.number);
    const isParkedForUs = this.parking.open(parked);
    this.#kept = kept;
    await resume(this.#ring, this, recovered, kept);
    if (!isParkedForUs) return this.#openReader();
    // Newer messages come behind; nobody else's shards wait for that.
    void unpark(this.#ring, this)
      .then(() => this.#openReader())
      .catch((error) => this.surprised(asError(error).message));
  }

  async #openReader(): Promise<void> {
    this.#reader = await openReader(this.#ring, this);
    if (this.#closed || this.#sealed) this.#stopReading();
    this.#pump.wake();
  }

  /**
   * A log sequence up to which nothing is left to do for a shard that is idle; undefined for one that is not. `lag`
   * reads the log's end first, then what waits, so nothing at or before that end can be missed.
   */
  async passed(): Promise<number | undefined> {
    if (!this.#reader || this.isOver) return undefined;
    const { waiting, logEnd } = await this.#reader.lag();
    const idle = waiting === 0 && this.#pump.isIdle && !this.isUnderWay;
    return idle && !this.isOver ? logEnd : undefined;
  }

  /**
   * Makes ready to be given back: resolves when nothing is under way any more. What its last steps cause is left to
   * whoever opens it next, who finds it recorded.
   */
  async seal(): Promise<void> {
    this.#sealed = true;
    this.#stopReading();
    const { clock } = this.#ring;
    const until = clock.monotonic() + SEAL_MAX_MS;
    const isDrained = () => this.isOver || (this.#pump.isDrained && !this.isUnderWay);
    while (!isDrained() && clock.monotonic() < until) await sleep(clock, 5);
  }

  /** Stops taking. Returns attempts that run, or have ended unrecorded, by key, for whoever opens the shard here again. */
  close(): Map<string, Invocation> {
    this.#closed = true;
    this.#ring.committer.withdraw(this);
    const batches = [...this.#closedBatches, this.#batch];
    for (const batch of batches) {
      batch.own?.transaction.abandon();
      batch.neverLands();
    }
    this.#ring.timers.forget(this.number);
    // How one ended may be what the shard cannot go on with.
    const unrecorded = this.#broken ? [] : [this.#inFlight, ...batches];
    const ended = unrecorded.flatMap((batch) => batch?.ended ?? []);
    const running = new Map(this.#kept);
    this.#kept = new Map();
    for (const invocation of ended) running.set(invocation.key, invocation);
    for (const resident of this.residents.values()) {
      this.#count(resident, -1);
      for (const invocation of resident.invocations.values())
        running.set(invocation.key, invocation);
    }
    this.residents.clear();
    this.#stopReading();
    return running;
  }

  /** Nobody waits for the server to hear of it: the next reader of the shard removes what is left. */
  #stopReading(): void {
    this.#reader?.stop().catch((error) => {
      this.#ring.log.debug({ ...this.place, error: asError(error).message }, 'reader: stopped');
    });
  }

  post(item: Item): void {
    if (!this.#closed) this.#pump.push(item);
  }

  /** What an action of the actor sends to `self`: named by the action, so that redoing the action sends it once. */
  readonly deliver = (resident: Resident, event: EventObject): void => {
    const { acting, address } = resident;
    const eventId = acting
      ? `${resident.key}/${acting.seq}/${acting.index}.${acting.sent++}`
      : this.#ring.clock.uuid();
    this.post({ kind: 'self', address, eventId, event });
  };

  /** The actor in memory, with its machine children; undefined (and logged) when no version here can open it. */
  rehydrate(row: StoredActor, kin: Rows): Resident | undefined {
    return this.#taker.opener.open(row, kin);
  }

  adopt(resident: Resident): void {
    if (this.residents.get(resident.key) === resident) return;
    this.residents.set(resident.key, resident);
    this.#count(resident, 1);
  }

  #count(resident: Resident, by: 1 | -1): void {
    this.#ring.load.residents += by;
    if (resident.invocations.size > 0) this.#ring.load.busyActors += by;
    if (by < 0 && resident.key === resident.rootKey) this.#ring.newcomers.met(resident.key);
  }

  /** Drops idle actors from memory; the rows stay. `all`: also the ones used just now. */
  passivate(all: boolean): void {
    const before = this.#ring.clock.monotonic() - this.#ring.limits.passivateAfterMs;
    for (const resident of this.residents.values())
      if (resident.isIdle && (all || resident.finished || resident.lastTouched <= before))
        this.#drop(resident);
  }

  /** The turn that held the actor in memory is over. */
  release(key: string): void {
    const resident = this.residents.get(key);
    if (resident?.finished && resident.isIdle) this.#drop(resident);
  }

  /** A family leaves as one: whoever of it is needed needs the others. */
  #drop(resident: Resident): void {
    if (resident.parent) return;
    if (this.#pump.pins(resident.rootKey)) return;
    const members = resident.children.size === 0 ? [resident] : [...resident.members()];
    // A row that is about to be written: brought back before that, the actor would be there twice.
    const stays = (member: Resident) =>
      !member.isIdle ||
      this.#batch.residents.has(member) ||
      this.#inFlight?.residents.has(member) ||
      this.#closedBatches.some(({ residents }) => residents.has(member));
    if (members.some(stays)) return;
    for (const { key } of members) if (this.residents.delete(key)) this.#count(resident, -1);
  }

  /** What the pump fills; handed over whole with the next commit. */
  get batch(): Batch {
    return this.#batch;
  }

  /** Has `step` taken into a batch that is committed in a transaction: behind what there is, ahead of what comes. */
  alone(own: OwnTransaction, step: (batch: Batch) => void): void {
    this.#closeBatch();
    this.#batch.own = own;
    step(this.#batch);
    this.#closeBatch();
  }

  #closeBatch(): void {
    if (this.#batch.isEmpty) return;
    this.#batch.close();
    this.#closedBatches.push(this.#batch);
    this.#batch = new Batch(this.number);
  }

  /** The batch that is committed next. */
  get #next(): Batch {
    return this.#closedBatches[0] ?? this.#batch;
  }

  /** The shard cannot go on as it is. */
  surprised(reason: string, refused = false): void {
    if (!this.#closed) this.#ring.surprise(this.number, reason, refused);
  }

  /** Has the batch committed: now, or before long when there is only row-only news (an outcome is out, an action is done). */
  offer(): void {
    const batch = this.#next;
    if (batch.isEmpty || this.#closed) return;
    const isAwaited = batch.size > 0 || batch.replies.length > 0 || batch.someoneWaits;
    if (isAwaited || this.#closedBatches.length > 0) this.#ring.committer.offer(this);
    else this.#ring.committer.offerLazily(this);
  }

  get waiting(): number {
    return this.#next.size;
  }

  get transaction(): StoreTransaction | undefined {
    return this.#next.own?.transaction;
  }

  take(): ShardCommit | undefined {
    if (this.isOver || this.#next.isEmpty) return undefined;
    this.#inFlight = this.#next;
    if (this.#closedBatches.shift() === undefined) this.#batch = new Batch(this.number);
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
    this.#inFlight = undefined;
    if (!batch) return;
    if (batch.own) this.#ring.transactions.settled(batch.own.key);
    if (this.#ring.tracing) batch.endSpans();
    // Also of a shard that has been given away meanwhile: it is committed, and its next owner does not count it.
    batch.count(this.#ring.load);
    if (this.#closed) return perform(this.#ring, this, batch, at);
    this.#commitNo = commitNo;
    this.#cursor = Math.max(this.#cursor, batch.cursor);
    batch.acknowledge();
    if (at !== null) this.#ring.timers.observe(at);
    const waitedMs = batch.waitedMs(this.#ring.clock.now());
    if (waitedMs !== undefined) this.#ring.waited?.(waitedMs);
    perform(this.#ring, this, batch, at, waitedMs);
    for (const resident of batch.residents) {
      // A turn that waits for Postgres has asked this memory already, and will not ask again.
      if (!this.#pump.pins(resident.rootKey))
        resident.trimEventIds(this.#ring.limits.eventIdsInMemory);
      if (resident.finished && resident.isIdle) this.#drop(resident);
    }
    this.offer();
  }

  fenced(): void {
    if (!this.#closed) this.#ring.log.warn(this.place, 'shard: fenced, another node owns it');
    this.#neverLands('fenced');
  }

  mistaken(): void {
    if (!this.#closed) this.#ring.newcomers.mistaken();
    this.#neverLands('mistaken: an actor whose start came is there already');
  }

  refused(error: Error): void {
    const own = this.#inFlight?.own;
    if (own) this.#ring.transactions.refused(own.key, error);
    this.#neverLands(`commit refused: ${error.message}`, !own && error instanceof StoreRefused);
  }

  lost(): void {
    this.#neverLands('commit lost with the session of its transaction');
  }

  #neverLands(reason: string, refused = false): void {
    this.#inFlight?.neverLands();
    this.cannotGoOn(reason, refused);
  }

  /** Something it has taken is lost: what comes behind that must not be committed before it is taken again. */
  cannotGoOn(reason: string, refused = false): void {
    this.#broken = true;
    this.surprised(reason, refused);
  }
}

/** What is under way when a shard is sealed has this long to be committed. */
const SEAL_MAX_MS = 1_000;
