import { type Clock, systemClock } from '../clock.ts';
import type { PopulationRow, SearchStore } from '../store/search.ts';

/** How many actors were where, and when that was. */
export interface Population {
  /** ISO 8601. */
  counted_at: string;
  rows: PopulationRow[];
}

/** A count that took so long is not repeated before this many times as long has passed: 2 % of a core at most. */
const REST_FACTOR = 50;
const REST_MIN_MS = 1_000;

interface Known {
  population: Population;
  /** Monotonic. */
  staleAt: number;
}

/**
 * Counts actors by where they are. Counting looks at every row, so however many pages look on, it is done by one for
 * all of them, and rests in between.
 */
export class Counts {
  readonly #store: Pick<SearchStore, 'population'>;
  readonly #clock: Clock;
  #known: Known | undefined;
  #counting: Promise<Known> | undefined;

  constructor(store: Pick<SearchStore, 'population'>, clock: Clock = systemClock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Waits for a count only when there is none yet. */
  async population(type?: string): Promise<Population> {
    const { population } = await this.#fresh();
    if (type === undefined) return population;
    return { ...population, rows: population.rows.filter((row) => row.type === type) };
  }

  #fresh(): Promise<Known> {
    if (this.#known && this.#clock.monotonic() < this.#known.staleAt)
      return Promise.resolve(this.#known);
    this.#counting ??= this.#count().finally(() => {
      this.#counting = undefined;
    });
    return this.#counting;
  }

  async #count(): Promise<Known> {
    const from = this.#clock.monotonic();
    const counted_at = new Date(this.#clock.now()).toISOString();
    const rows = await this.#store.population();
    const now = this.#clock.monotonic();
    const rest = Math.max(REST_MIN_MS, (now - from) * REST_FACTOR);
    this.#known = { population: { counted_at, rows }, staleAt: now + rest };
    return this.#known;
  }
}
