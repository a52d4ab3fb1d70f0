import { type Clock, systemClock } from '../clock.ts';
import { isIn } from '../store/memorySearch.ts';
import type { ParkedRow, ReadStore } from '../store/read.ts';
import type { ActorSearch, PopulationRow } from '../store/search.ts';
import { Rested } from './rested.ts';

/** One of so many is enough for a page to be found soon by going through them one by one. */
const DENSE_SHARE = 200;

/** How many actors were where, and when that was. */
export interface Population {
  /** ISO 8601. */
  counted_at: string;
  rows: PopulationRow[];
}

/** Counts over all actors, which rest in between. */
export class Counts {
  readonly #population: Rested<Population>;
  readonly #parked: Rested<ParkedRow[]>;

  constructor(store: Pick<ReadStore, 'population' | 'parked'>, clock: Clock = systemClock) {
    this.#population = new Rested(async () => {
      const counted_at = new Date(clock.now()).toISOString();
      return { counted_at, rows: await store.population() };
    }, clock);
    this.#parked = new Rested(() => store.parked(), clock);
  }

  async population(type?: string): Promise<Population> {
    const population = await this.#population.get();
    if (type === undefined) return population;
    return { ...population, rows: population.rows.filter((row) => row.type === type) };
  }

  /** Whether of the actors of a type many are in a state, as far as they have been counted. */
  isDense({ type, state }: ActorSearch): boolean {
    if (state === undefined) return false;
    let all = 0;
    let inIt = 0;
    for (const row of this.#population.last?.rows ?? []) {
      if (type !== undefined && row.type !== type) continue;
      all += row.count;
      if (isIn(row.state, state)) inIt += row.count;
    }
    return inIt > all / DENSE_SHARE;
  }

  parked(): Promise<ParkedRow[]> {
    return this.#parked.get();
  }
}
