import { type Clock, systemClock } from '../clock.ts';

interface Rest {
  /** A read that took so long is not repeated before this many times as long has passed. */
  factor: number;
  /** Who asks while it is read again soon gets what was read before. */
  givesOld: boolean;
}

/** What looks at every actor; the two there are together take less than 2 % of a core. It says itself how old it is. */
const DEAR: Rest = { factor: 150, givesOld: true };
/** What is asked for every few seconds by each page that is open. When Postgres is away that has to be told. */
export const CHEAP: Rest = { factor: 20, givesOld: false };
/** Who may get what was read before waits so long for what is read now, ms. */
const WAIT_MS = 100;
const REST_MIN_MS = 1_000;

/**
 * A read that looks at every row there is. However many pages look on, it is done by one for all of them, and rests in
 * between for as long as it was dear.
 */
export class Rested<T> {
  readonly #read: () => Promise<T>;
  readonly #clock: Clock;
  readonly #rest: Rest;
  /** `staleAt` is monotonic time. */
  #known: { value: T; staleAt: number } | undefined;
  #reading: Promise<T> | undefined;

  constructor(read: () => Promise<T>, clock: Clock = systemClock, rest: Rest = DEAR) {
    this.#rest = rest;
    this.#read = read;
    this.#clock = clock;
  }

  async get(): Promise<T> {
    if (this.#known && this.#clock.monotonic() < this.#known.staleAt) return this.#known.value;
    this.#reading ??= this.#again().finally(() => {
      this.#reading = undefined;
    });
    if (!this.#known || !this.#rest.givesOld) return this.#reading;
    const { value } = this.#known;
    // Nobody may be there any more to hear that it has failed.
    this.#reading.catch(() => {});
    let cancel = () => {};
    const old = new Promise<T>((resolve) => {
      cancel = this.#clock.after(WAIT_MS, () => resolve(value));
    });
    return Promise.race([this.#reading, old]).finally(() => cancel());
  }

  async #again(): Promise<T> {
    const from = this.#clock.monotonic();
    const value = await this.#read();
    const now = this.#clock.monotonic();
    this.#known = { value, staleAt: now + Math.max(REST_MIN_MS, (now - from) * this.#rest.factor) };
    return value;
  }
}
