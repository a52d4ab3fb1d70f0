import type { Clock } from '../clock.ts';
import { type Address, addressKey, type Store, type StoredActor } from '../store/store.ts';
import { childRowsOf } from './kinRows.ts';

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

  /** The actors that exist, by `type/id`, and with them the machine children they have. */
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

  async #find(addresses: Address[]): Promise<Map<string, StoredActor>> {
    const found = new Map<string, StoredActor>();
    for (let next = addresses; next.length > 0; ) {
      const rows = await this.#store.load(next, this.#eventIdsMax);
      for (const row of rows) found.set(addressKey(row), row);
      // One round for each level of a family; most actors have none.
      next = rows
        .flatMap((row) => childRowsOf(row))
        .filter((address) => !found.has(addressKey(address)));
    }
    return found;
  }

  async #run(): Promise<void> {
    const requests = this.#waiting;
    this.#waiting = [];
    this.#inFlight++;
    try {
      const found = await this.#find(requests.flatMap(({ addresses }) => addresses));
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
