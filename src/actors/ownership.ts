import { atMost, backoff, sleep } from '../clock.ts';
import { asError } from '../errors.ts';
import type { Reopened } from '../store/refused.ts';
import type { NodeInfo, OpenedShard, ShardEpoch, Standing } from '../store/sharing.ts';
import { abortAll, HandOver } from './handOver.ts';
import type { Invocation } from './invocation.ts';
import { Peers } from './peers.ts';
import { newNeeds, pools, type ShardPool } from './placement.ts';
import { PROBE_EVERY_MS, Reach } from './reach.ts';
import { Reopenings } from './reopenings.ts';
import type { Ring } from './ring.ts';
import { Shard } from './shard.ts';
import { surpriseReason } from './surpriseReason.ts';
import { Turns } from './turns.ts';

/**
 * Which shards this node speaks for. Leases and detectors are hints that decide when to try; whether a write counts
 * is decided by the epoch on the shard's row alone (design §4).
 *
 *  O1  Every way to a shard (claim, takeover, restart, surprise) goes through `#open`: a new epoch, then what
 *      Postgres says.
 *  O2  An attempt that runs while its shard is opened again here goes on; its key is the same.
 *  O3  A shard that is ours no longer by the row is closed here, and what runs for it aborted, before the lease
 *      counts as renewed.
 */
export class Ownership {
  readonly #ring: Ring;
  readonly #node: NodeInfo;
  readonly #shardCount: number;
  readonly #shards = new Map<number, Shard>();
  readonly #peers: Peers;
  readonly #handOver: HandOver;
  /** Shards whose commit was refused, until they are opened again. */
  readonly #refused = new Set<number>();
  readonly #reopenings: Reopenings;
  /** Being opened again: neither here nor gone. */
  readonly #reopeningNow = new Set<number>();
  #stopped = false;
  #draining = false;
  readonly #turns: Turns;
  readonly #reach = new Reach();
  /** Owners that were dead when last looked at. */
  #dead: ReadonlySet<string> = new Set();
  /** Shards whose epoch was not ours when last looked at. */
  #doubted: ReadonlySet<number> = new Set();

  constructor(ring: Ring, node: NodeInfo, shardCount: number) {
    this.#ring = ring;
    this.#node = node;
    this.#shardCount = shardCount;
    this.#turns = new Turns(ring.clock, ring.log);
    this.#reopenings = new Reopenings(ring.clock, (shards) => void this.#reopen(shards));
    this.#peers = new Peers(ring.bus, ring.clock, ring.namespace, ring.nodeId);
    this.#handOver = new HandOver(ring, this.#peers, this.#shards);
  }

  get shards(): ReadonlyMap<number, Shard> {
    return this.#shards;
  }

  /** Messages that wait for other nodes, and for how long the oldest does, ms. */
  get parked(): { messages: number; ageMs: number } {
    const now = this.#ring.timers.databaseTime();
    let messages = 0;
    let ageMs = 0;
    for (const { parking } of this.#shards.values()) {
      messages += parking.messages;
      ageMs = Math.max(ageMs, now - (parking.since ?? now));
    }
    return { messages, ageMs };
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Registers the node and claims its share; resolves once those shards are open. */
  async start(): Promise<void> {
    const { store, limits, clock, lease, log } = this.#ring;
    const sentAt = clock.monotonic();
    for (const { type, version } of await store.register(this.#node, limits.leaseMs))
      log.warn(
        { type, version },
        'machine: changed under its version, which its actors may not fit: see perdure check',
      );
    lease.renewed(sentAt);
    await this.#look();
    if (this.#dead.size > 0) {
      await sleep(clock, LOOK_EVERY_MS);
      await this.#look();
    }
    this.#turns.every('renew', limits.leaseRenewMs, () => this.#renew());
    this.#turns.every('look', LOOK_EVERY_MS, () => this.#look());
    this.#turns.every('probe', PROBE_EVERY_MS, () => this.#probe());
    this.#turns.every('watch', WATCH_EVERY_MS, () => this.#watchLease());
    this.#peers.listen(() => this.#turns.soon('look'));
    this.#peers.tell('look');
  }

  /** Renews the lease without waiting for its turn. */
  renewNow(): void {
    this.#turns.soon('renew');
  }

  /**
   * Gives every shard back: those without running invokes at once, the others when they have ended or `drainMs` are
   * over. Without Postgres that cannot end: then the node just goes, as a crash would, and the shards are taken over.
   */
  async stop(): Promise<void> {
    this.#draining = true;
    const { clock, limits, lease } = this.#ring;
    await atMost(clock, limits.drainMs + STOP_MAX_MS, this.#drain());
    this.#stopped = true;
    this.#turns.stop();
    this.#peers.stop();
    lease.stop();
    for (const shard of this.#shards.values()) abortAll(shard.close());
    this.#shards.clear();
    await atMost(clock, STOP_MAX_MS, this.#ring.store.unregister(this.#node.nodeId));
    this.#peers.tell('look');
  }

  async #drain(): Promise<void> {
    await this.#ring.store.drain(this.#node.nodeId);
    // Whoever is owed more now may look already; the shards come free one after the other.
    this.#peers.tell('look');
    while (this.#shards.size > 0 || this.#handOver.size > 0) {
      const { drainMs: graceMs } = this.#ring.limits;
      this.#handOver.leave([{ has: () => true, count: this.#shards.size, graceMs }]);
      await this.#handOver.empty();
    }
  }

  /** The shard cannot go on as it is: forget it and open it again. Several at once are opened together. */
  surprise(shard: number, reason: string, refused = false): void {
    if (refused) this.#refused.add(shard);
    if (!this.#isNews(shard, reason)) return;
    const epoch = this.#shards.get(shard)?.epoch;
    this.#ring.log.warn({ shard, epoch, reason }, 'shard: surprise, opening again');
    this.#reopenings.surprised(shard);
  }

  /** An actor of the shard was resumed: it goes on when the shard is opened again, with those that are resumed meanwhile. */
  resumed(shard: number): void {
    if (this.#isNews(shard, 'resumed')) this.#reopenings.resumed(shard);
  }

  /** False when it is about to be opened again in any case, or given away. */
  #isNews(shard: number, reason: string): boolean {
    if (this.#stopped || this.#reopenings.has(shard) || this.#handOver.isGoing(shard)) return false;
    this.#ring.load.surprises[surpriseReason(reason)]++;
    return true;
  }

  async #reopen(numbers: readonly number[]): Promise<void> {
    const kept = new Map<number, Map<string, Invocation>>();
    const known: Reopened[] = [];
    for (const number of numbers) {
      const shard = this.#shards.get(number);
      if (!shard) continue;
      this.#reopeningNow.add(number);
      known.push({ shard: number, epoch: shard.epoch, refused: this.#refused.delete(number) });
      kept.set(number, shard.close());
      this.#shards.delete(number);
    }
    if (known.length > 0) await this.#openAgain(known, kept);
  }

  /** Until they are open, or another node's. `kept` are attempts that run for them. */
  async #openAgain(
    known: readonly Reopened[],
    kept: ReadonlyMap<number, Map<string, Invocation>>,
  ): Promise<void> {
    const { store, clock, log } = this.#ring;
    for (let attempt = 1; !this.#stopped; attempt++)
      try {
        const opened = await store.reclaim(this.#node.nodeId, known);
        const ours = new Set(opened.map(numberOf));
        for (const { shard } of known)
          if (!ours.has(shard)) {
            this.#reopeningNow.delete(shard);
            abortAll(kept.get(shard) ?? new Map());
          }
        await this.#open(opened, kept);
        break;
      } catch (error) {
        if (this.#stopped) break;
        // Ours by the row and open nowhere: nobody else would take them, so this cannot be given up.
        const shards = known.map(numberOf);
        log.error({ shards, error: asError(error).stack }, 'shard: opening again failed');
        await sleep(clock, backoff(clock, attempt, 250, 2_000));
      }
    if (this.#stopped) for (const running of kept.values()) abortAll(running);
  }

  /** Compares what this node holds with what it owns and is owed, and acts on the difference. */
  async #look(): Promise<void> {
    const { store, clock, limits } = this.#ring;
    const before = Array.from(this.#shards.values(), heldNow);
    const standing = await store.standing(this.#node.nodeId);
    this.#closeLost(before, standing);
    this.#ring.others.observe(standing.others);
    this.#goOn();
    if (this.#reach.hearsOfTrouble(standing)) this.#turns.soon('probe');
    if (!this.#draining && this.#reach.waits(standing, clock.monotonic())) return;
    await this.#tellNeeds(standing);
    const { others, registry } = this.#ring;
    const shared = pools(standing, this.#shardCount, others, registry);
    if (!this.#draining)
      this.#handOver.leave(
        shared.map((pool) => ({
          has: pool.has,
          count: this.#sizeOf(pool) - pool.target,
          // What runs here is not cut short for what waits for others.
          graceMs: pool.isForOthers ? Number.POSITIVE_INFINITY : limits.drainMs,
        })),
      );
    // Dead twice in a row: a lease session that is merely opened again takes less.
    const dead = standing.dead.filter((owner) => this.#dead.has(owner));
    this.#dead = new Set(standing.dead);
    const strays = standing.owned.filter(({ shard }) => !this.#hasInHand(shard));
    for (const pool of shared) {
      const wanted = pool.target - this.#sizeOf(pool) - this.#handOver.sizeOf(pool.has);
      const straying = strays.filter(({ shard }) => pool.has(shard));
      if (this.#draining || wanted <= 0) await this.#giveUp(straying);
      else if (standing.free > 0 || dead.length > 0 || straying.length > 0)
        await this.#claim(wanted, pool.numbers);
    }
  }

  #sizeOf({ has }: ShardPool): number {
    return [...this.#shards.keys(), ...this.#reopeningNow].filter(has).length;
  }

  /** Opens shards again in which something was left to nodes that are gone. */
  #goOn(): void {
    for (const { number, parking } of this.#shards.values())
      if (parking.canGoOn) this.surprise(number, 'versions: nobody else knows one any more');
  }

  /** Says what the owners of this node's shards have to open, where that makes a difference. */
  async #tellNeeds(standing: Standing): Promise<void> {
    const { others, registry, store, clock } = this.#ring;
    if (!others.differ) return;
    const news = newNeeds(this.#shards.values(), standing, others, registry, clock.monotonic());
    if (news.length === 0) return;
    await store.need(this.#node.nodeId, news);
    const told = new Set(news.map(({ shard }) => shard));
    const before = standing.needs.filter(({ shard }) => !told.has(shard));
    standing.needs = [...before, ...news.map((row) => ({ ...row, fresh: true }))];
  }

  #hasInHand(shard: number): boolean {
    return (
      this.#shards.has(shard) || this.#reopeningNow.has(shard) || this.#handOver.isGoing(shard)
    );
  }

  /** Ours by the record alone (it was put back to an earlier state), and more than our share: nobody would open them. */
  async #giveUp(strays: readonly ShardEpoch[]): Promise<void> {
    if (strays.length === 0) return;
    await this.#ring.store.release(this.#node.nodeId, strays);
    this.#peers.tell('look');
  }

  async #claim(wanted: number, among: readonly number[]): Promise<void> {
    const { store, load, log } = this.#ring;
    // One that is being opened again is not to be taken a second time meanwhile.
    const others = among.filter((shard) => !this.#hasInHand(shard));
    const opened = await store.claim(this.#node.nodeId, wanted, others);
    for (const { previousOwner } of opened)
      if (previousOwner === null) load.claims++;
      else load.takeovers++;
    await this.#open(opened, new Map()).catch((error: unknown) => {
      const shards = opened.map(numberOf);
      log.error({ shards, error: asError(error).stack }, 'shards: opening failed');
      for (const { shard } of opened) this.#reopeningNow.add(shard);
      void this.#openAgain(opened, new Map());
    });
  }

  /** What the record says about the shards that were held before it was asked. */
  #closeLost(before: readonly Held[], { owned }: Standing): void {
    const recorded = new Map(owned.map((row) => [row.shard, row]));
    const doubted = new Set<number>();
    for (const { shard, epoch, commitNo } of before) {
      const { number } = shard;
      if (shard.closed || this.#handOver.isGoing(number)) continue;
      const row = recorded.get(number);
      if (!row) this.#lose(shard);
      else if (row.commitNo < commitNo)
        this.surprise(number, 'Postgres has been put back to an earlier state');
      else if (row.epoch !== epoch)
        if (this.#doubted.has(number))
          // Once is no news: this node may just be raising the epoch itself.
          this.surprise(number, 'the epoch is another one');
        else doubted.add(number);
    }
    this.#doubted = doubted;
  }

  #lose(shard: Shard): void {
    const { number, epoch } = shard;
    this.#ring.log.warn({ shard: number, epoch }, 'shard: lost, another node owns it');
    this.#shards.delete(number);
    abortAll(shard.close());
  }

  async #open(
    opened: readonly OpenedShard[],
    kept: ReadonlyMap<number, Map<string, Invocation>>,
  ): Promise<void> {
    if (opened.length === 0 || this.#stopped) return;
    const { store, limits, timers, log, clock } = this.#ring;
    const startedAt = clock.monotonic();
    const recovered = await store.recover(opened.map(numberOf), limits.timerHorizonMs);
    timers.observe(recovered.at);
    const opening = opened.map((row) => {
      const shard = new Shard(this.#ring, row);
      this.#shards.set(row.shard, shard);
      this.#reopeningNow.delete(row.shard);
      return shard.open(recovered, kept.get(row.shard) ?? new Map()).catch((error: unknown) => {
        // It alone is opened again, with what runs: it holds up no others, and does not stay half open.
        log.error({ ...shard.place, error: asError(error).stack }, 'shard: opening failed');
        shard.cannotGoOn(asError(error).message);
      });
    });
    await Promise.all(opening);
    log.info(
      {
        shards: opened.length,
        taken: opened.filter(({ previousOwner }) => previousOwner !== null).length,
        busyActors: recovered.actors.length,
        timers: recovered.timers.length,
        outbox: recovered.outbox.length,
        ms: Math.round(clock.monotonic() - startedAt),
      },
      'shards: open',
    );
  }

  async #renew(): Promise<void> {
    const { store, limits, log, clock, lease, committer } = this.#ring;
    const { nodeId } = this.#node;
    const sentAt = clock.monotonic();
    const lapsed = !lease.holds;
    const natsOk = this.#reach.ok;
    if (!(await store.renew(nodeId, limits.leaseMs, natsOk, committer.counts.fenced))) {
      log.warn({ node: nodeId }, 'lease: lost, registering again');
      await store.register(this.#node, limits.leaseMs);
    }
    this.#reach.told(natsOk);
    if (lapsed) {
      log.warn('lease: was over, looking which shards are still ours');
      const before = Array.from(this.#shards.values(), heldNow);
      this.#closeLost(before, await store.standing(nodeId));
    }
    lease.renewed(sentAt);
    // It took so long that it is over again, or Postgres was away: once more, at once.
    if (!lease.holds) this.renewNow();
    else this.#peers.tell('renewed');
  }

  async #probe(): Promise<void> {
    await this.#reach.probe(this.#ring.bus);
    if (this.#reach.isNews) this.renewNow();
  }

  /**
   * The lease is over although Postgres works, for others: this node is cut off and its shards are taken. What runs
   * is aborted. When nobody renews, Postgres is down for all, nobody takes anything, and what runs may go on.
   */
  #watchLease(): void {
    const { lease, limits, log } = this.#ring;
    if (lease.holds || this.#shards.size === 0) return;
    if (!this.#peers.someoneRenews(limits.leaseRenewMs)) return;
    log.error(
      { overSinceMs: Math.round(lease.overSinceMs) },
      'lease: over, and others reach Postgres; giving up what runs here',
    );
    for (const shard of this.#shards.values()) {
      abortAll(shard.close());
      this.surprise(shard.number, 'the lease is over');
    }
  }
}

/** As it is before the record is asked: what lands meanwhile makes no difference. */
const heldNow = (shard: Shard) => ({ shard, epoch: shard.epoch, commitNo: shard.commitNo });

type Held = ReturnType<typeof heldNow>;

const numberOf = ({ shard }: ShardEpoch): number => shard;

const LOOK_EVERY_MS = 250;
const WATCH_EVERY_MS = 500;
/** A graceful stop takes at most this long beyond the time running invokes are given. */
const STOP_MAX_MS = 5_000;
