import { atMost, backoff, type Cancel, sleep } from '../clock.ts';
import { asError } from '../errors.ts';
import type { NodeInfo, OpenedShard } from '../store/store.ts';
import type { Invocation } from './invocation.ts';
import type { Ring } from './ring.ts';
import { Shard } from './shard.ts';

/**
 * Which shards this node speaks for. Leases and detectors are hints that decide when to try; whether a write counts
 * is decided by the epoch on the shard's row alone (design §4).
 *
 *  O1  Every way to a shard (claim, restart, surprise) goes through `#open`: a new epoch, then what Postgres says.
 *  O2  An attempt that runs while its shard is opened again here goes on; its key is the same.
 */
export class Ownership {
  readonly #ring: Ring;
  readonly #node: NodeInfo;
  readonly #shardCount: number;
  readonly #shards = new Map<number, Shard>();
  /** Shards to open again, with the reason that came first. */
  readonly #surprised = new Map<number, string>();
  #reopening = false;
  #reopens = 0;
  #reopenedAt = 0;
  #stopped = false;
  #loops: Cancel[] = [];

  constructor(ring: Ring, node: NodeInfo, shardCount: number) {
    this.#ring = ring;
    this.#node = node;
    this.#shardCount = shardCount;
  }

  get shards(): ReadonlyMap<number, Shard> {
    return this.#shards;
  }

  /** Registers the node and claims its share; resolves once those shards are open. */
  async start(): Promise<void> {
    const { store, limits } = this.#ring;
    await store.register(this.#node, limits.leaseMs);
    await this.#claim();
    this.#every(limits.leaseRenewMs, () => this.#renew());
    this.#every(CLAIM_EVERY_MS, () => this.#claim());
  }

  /**
   * Lets running commits land, gives every shard back, aborts what still runs. Without Postgres that cannot end: then
   * the node just goes, as a crash would, and the shards are taken over.
   */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const cancel of this.#loops) cancel();
    await atMost(this.#ring.clock, STOP_MAX_MS, this.#giveBack());
  }

  async #giveBack(): Promise<void> {
    await Promise.all(Array.from(this.#shards.values(), (shard) => shard.reader?.stop()));
    await this.#ring.committer.idle();
    for (const shard of this.#shards.values()) abortAll(await shard.close());
    this.#shards.clear();
    await this.#ring.store.unregister(this.#node.nodeId);
  }

  /** The shard cannot go on as it is: forget it and open it again. Several at once are opened together. */
  surprise(shard: number, reason: string): void {
    if (this.#stopped || this.#surprised.has(shard)) return;
    this.#ring.log.warn({ shard, reason }, 'shard: surprise, opening again');
    this.#surprised.set(shard, reason);
    if (this.#reopening) return;
    this.#reopening = true;
    const { clock } = this.#ring;
    const now = clock.monotonic();
    if (now - this.#reopenedAt > CALM_AFTER_MS) this.#reopens = 0;
    this.#reopenedAt = now;
    const waitMs = this.#reopens === 0 ? 0 : backoff(clock, this.#reopens, 50, 2_000);
    this.#reopens++;
    clock.after(waitMs, () => void this.#reopen());
  }

  async #reopen(): Promise<void> {
    const numbers = [...this.#surprised.keys()];
    this.#surprised.clear();
    this.#reopening = false;
    const kept = new Map<number, Map<string, Invocation>>();
    const known: { shard: number; epoch: number }[] = [];
    for (const number of numbers) {
      const shard = this.#shards.get(number);
      if (!shard) continue;
      known.push({ shard: number, epoch: shard.epoch });
      kept.set(number, await shard.close());
      this.#shards.delete(number);
    }
    const { store, clock, log } = this.#ring;
    for (let attempt = 1; !this.#stopped; attempt++)
      try {
        const opened = await store.reclaim(this.#node.nodeId, known);
        const ours = new Set(opened.map(({ shard }) => shard));
        for (const [number, running] of kept) if (!ours.has(number)) abortAll(running);
        return await this.#open(opened, kept);
      } catch (error) {
        // Ours by the row and open nowhere: nobody else would take them, so this cannot be given up.
        log.error({ shards: numbers, error: asError(error).stack }, 'shard: opening again failed');
        await sleep(clock, backoff(clock, attempt, 250, 2_000));
      }
  }

  async #claim(): Promise<void> {
    if (this.#surprised.size > 0) return;
    const { store } = this.#ring;
    const fairShare = Math.ceil(this.#shardCount / Math.max(1, await store.liveNodes()));
    const wanted = fairShare - this.#shards.size;
    if (wanted <= 0) return;
    const opened = await store.claim(this.#node.nodeId, wanted);
    const news = opened.filter(({ shard }) => !this.#shards.has(shard));
    if (news.length > 0) await this.#open(news, new Map());
  }

  async #open(
    opened: readonly OpenedShard[],
    kept: ReadonlyMap<number, Map<string, Invocation>>,
  ): Promise<void> {
    if (opened.length === 0 || this.#stopped) return;
    const { store, limits, timers, log, clock } = this.#ring;
    const startedAt = clock.monotonic();
    const recovered = await store.recover(
      opened.map(({ shard }) => shard),
      limits.timerHorizonMs,
    );
    timers.observe(recovered.at);
    const opening = opened.map((row) => {
      const shard = new Shard(this.#ring, row);
      this.#shards.set(row.shard, shard);
      return shard.open(recovered, kept.get(row.shard) ?? new Map());
    });
    await Promise.all(opening);
    log.info(
      {
        shards: opened.length,
        busyActors: recovered.actors.length,
        timers: recovered.timers.length,
        outbox: recovered.outbox.length,
        ms: Math.round(clock.monotonic() - startedAt),
      },
      'shards: open',
    );
  }

  async #renew(): Promise<void> {
    const { store, limits, log } = this.#ring;
    if (await store.renew(this.#node.nodeId, limits.leaseMs)) return;
    log.warn({ node: this.#node.nodeId }, 'lease: lost, registering again');
    await store.register(this.#node, limits.leaseMs);
    for (const shard of this.#shards.keys()) this.surprise(shard, 'lease lost');
  }

  /** Runs `work` now and then, never twice at once; what fails is logged and tried at the next turn. */
  #every(periodMs: number, work: () => Promise<void>): void {
    const slot = this.#loops.length;
    const { clock, log } = this.#ring;
    const turn = () => {
      work()
        .catch((error) => log.error({ error: asError(error).stack }, 'ownership: turn failed'))
        .finally(() => {
          if (!this.#stopped) this.#loops[slot] = clock.after(periodMs, turn);
        });
    };
    this.#loops[slot] = clock.after(periodMs, turn);
  }
}

const CLAIM_EVERY_MS = 1_000;
/** A graceful stop takes at most this long. */
const STOP_MAX_MS = 5_000;
/** Without a surprise for this long, the next one is answered at once. */
const CALM_AFTER_MS = 10_000;

function abortAll(running: Map<string, Invocation>): void {
  for (const invocation of running.values()) invocation.abort();
}
