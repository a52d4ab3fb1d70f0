import { type Clock, systemClock } from '../clock.ts';
import type { ParkedRow, ReadStore } from '../store/read.ts';
import type { PopulationRow } from '../store/search.ts';
import { Rested } from './rested.ts';

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

  constructor(
    store: Pick<ReadStore, 'population' | 'parked' | 'mayBeParked'>,
    clock: Clock = systemClock,
  ) {
    this.#population = new Rested(async () => {
      const counted_at = new Date(clock.now()).toISOString();
      return { counted_at, rows: await store.population() };
    }, clock);
    // Which versions there are is known from the last count: outside of deploys nothing is counted for this.
    this.#parked = new Rested(async () => {
      const { rows } = await this.#population.get();
      const known = rows.filter(({ status }) => status === 'active');
      const versions = new Map(known.map((row) => [`${row.type}@${row.version}`, row]));
      return (await store.mayBeParked([...versions.values()])) ? store.parked() : [];
    }, clock);
  }

  async population(type?: string): Promise<Population> {
    const population = await this.#population.get();
    if (type === undefined) return population;
    return { ...population, rows: population.rows.filter((row) => row.type === type) };
  }

  parked(): Promise<ParkedRow[]> {
    return this.#parked.get();
  }
}
