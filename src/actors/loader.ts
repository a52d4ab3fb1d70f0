import type { Clock } from '../clock.ts';
import { type Address, addressKey, type Store, type StoredActor } from '../store/store.ts';

/**
 * Loads actors for all shards of the node: while one query is in flight, the next one gathers, so that a burst of
 * starts over many shards costs a few round trips and not one for each shard.
 */
export class Loader {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #eventIdsMax: number;
  #waiting: { addresses: Address[]; done: Settle<Map<string, StoredActor>> }[] = [];
  #scheduled = false;
  #inFlight = 0;

  constructor(store: Store, clock: Clock, eventIdsMax: number) {
    this.#store = store;
    this.#clock = clock;
    this.#eventIdsMax = eventIdsMax;
  }

  /** The actors that exist, by `type/id`. */
  load(addresses: Address[]): Promise<Map<string, StoredActor>> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ addresses, done: { resolve, reject } });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled || this.#inFlight >= IN_FLIGHT_MAX || this.#waiting.length === 0) return;
    this.#scheduled = true;
    this.#clock.soon(() => {
      this.#scheduled = false;
      void this.#run();
    });
  }

  async #run(): Promise<void> {
    const requests = this.#waiting;
    this.#waiting = [];
    this.#inFlight++;
    try {
      const stored = await this.#store.load(
        requests.flatMap(({ addresses }) => addresses),
        this.#eventIdsMax,
      );
      const found = new Map(stored.map((actor) => [addressKey(actor), actor]));
      for (const { done } of requests) done.resolve(found);
    } catch (error) {
      for (const { done } of requests) done.reject(error);
    } finally {
      this.#inFlight--;
      this.#schedule();
    }
  }
}

const IN_FLIGHT_MAX = 2;

interface Settle<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}
