import type { Invocation } from './invocation.ts';
import type { Peers } from './peers.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';

/** Shards that are to leave. */
export interface Leave {
  has(shard: number): boolean;
  count: number;
  /** After this they leave whatever runs, ms. */
  graceMs: number;
}

/**
 * Gives shards back while they work. A shard leaves at a moment when none of its invokes runs, so that none has to
 * run twice; after the grace it leaves anyway, and what runs is aborted and runs again under its key elsewhere.
 */
export class HandOver {
  readonly #ring: Ring;
  readonly #peers: Peers;
  readonly #shards: Map<number, Shard>;
  /** When each shard leaves whatever runs, monotonic, ms. */
  readonly #leaving = new Map<number, number>();
  /** Sealed, and not given back yet. */
  readonly #going = new Set<number>();
  #watching = false;
  #onEmpty: (() => void)[] = [];

  /** Shards that have left are taken out of `shards`. */
  constructor(ring: Ring, peers: Peers, shards: Map<number, Shard>) {
    this.#ring = ring;
    this.#peers = peers;
    this.#shards = shards;
  }

  /** Shards on their way out. */
  get size(): number {
    return this.#leaving.size + this.#going.size;
  }

  /** Sealed: whatever happens to it now, it is not opened here again. */
  isGoing(shard: number): boolean {
    return this.#going.has(shard);
  }

  /**
   * Lets so many shards of each group leave, those with the least to do first; what is more on its way already may
   * stay. Every shard is in one group.
   */
  leave(groups: readonly Leave[]): void {
    for (const group of groups) this.#leave(group);
    this.#watch();
  }

  #leave({ has, count, graceMs }: Leave): void {
    for (const shard of this.#leaving.keys())
      if (!this.#shards.has(shard) || (has(shard) && this.sizeOf(has) > count))
        this.#leaving.delete(shard);
    const deadline = this.#ring.clock.monotonic() + graceMs;
    for (const [shard, until] of this.#leaving)
      if (has(shard) && until > deadline) this.#leaving.set(shard, deadline);
    const more = count - this.sizeOf(has);
    if (more <= 0) return;
    const candidates = [...this.#shards.values()]
      .filter(({ number }) => has(number) && !this.#leaving.has(number) && !this.#going.has(number))
      .sort((a, b) => running(a) - running(b));
    for (const shard of candidates.slice(0, more)) this.#leaving.set(shard.number, deadline);
  }

  /** Shards of a group on their way out. */
  sizeOf(has: Leave['has']): number {
    return [...this.#leaving.keys(), ...this.#going].filter(has).length;
  }

  /** Resolves once nothing is on its way out any more. */
  empty(): Promise<void> {
    if (this.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onEmpty.push(resolve));
  }

  #watch(): void {
    if (this.#watching) return;
    const now = this.#ring.clock.monotonic();
    const ready: Shard[] = [];
    for (const [number, deadline] of this.#leaving) {
      const shard = this.#shards.get(number);
      // Being opened again just now: it leaves when that is done.
      if (!shard || shard.closed) continue;
      if (running(shard) > 0 && now < deadline) continue;
      this.#leaving.delete(number);
      this.#going.add(number);
      ready.push(shard);
    }
    if (ready.length > 0) void this.#give(ready);
    if (this.#leaving.size === 0) return this.#tellEmpty();
    this.#watching = true;
    this.#ring.clock.after(LOOK_EVERY_MS, () => {
      this.#watching = false;
      this.#watch();
    });
  }

  async #give(shards: Shard[]): Promise<void> {
    const { store, nodeId, log, load } = this.#ring;
    await Promise.all(shards.map((shard) => shard.seal()));
    const given: { shard: number; epoch: number }[] = [];
    for (const shard of shards) {
      if (this.#shards.get(shard.number) === shard) this.#shards.delete(shard.number);
      given.push({ shard: shard.number, epoch: shard.epoch });
      abortAll(shard.close());
    }
    try {
      await store.release(nodeId, given);
      load.handovers += given.length;
      log.info({ shards: given.map(({ shard }) => shard) }, 'shards: given back');
      this.#peers.tell('look');
    } finally {
      // What could not be released is still ours by the row, and claimed again by the next look.
      for (const { number } of shards) this.#going.delete(number);
      this.#tellEmpty();
    }
  }

  #tellEmpty(): void {
    if (this.size === 0) for (const resolve of this.#onEmpty.splice(0)) resolve();
  }
}

const LOOK_EVERY_MS = 20;

/** Attempts of invokes that are under way and will end by themselves. */
function running({ residents }: Shard): number {
  let count = 0;
  for (const resident of residents.values())
    for (const invocation of resident.invocations.values()) if (!invocation.isOpenEnded) count++;
  return count;
}

export function abortAll(running: ReadonlyMap<string, Invocation>): void {
  for (const invocation of running.values()) invocation.abort();
}
