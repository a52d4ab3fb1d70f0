import { type Clock, systemClock } from '../clock.ts';

/**
 * A read that took so long is not repeated before this many times as long has passed. There are two that look at every
 * actor: together they take less than 2 % of a core.
 */
const REST_FACTOR = 150;
/** Who asks while it is read again waits so long, ms, and gets what was read before then. */
const WAIT_MS = 100;
const REST_MIN_MS = 1_000;

/**
 * A read that looks at every row there is. However many pages look on, it is done by one for all of them, and rests in
 * between for as long as it was dear.
 */
export class Rested<T> {
  readonly #read: () => Promise<T>;
  readonly #clock: Clock;
  /** `staleAt` is monotonic time. */
  #known: { value: T; staleAt: number } | undefined;
  #reading: Promise<T> | undefined;

  constructor(read: () => Promise<T>, clock: Clock = systemClock) {
    this.#read = read;
    this.#clock = clock;
  }

  async get(): Promise<T> {
    if (this.#known && this.#clock.monotonic() < this.#known.staleAt) return this.#known.value;
    this.#reading ??= this.#again().finally(() => {
      this.#reading = undefined;
    });
    if (!this.#known) return this.#reading;
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
    this.#known = { value, staleAt: now + Math.max(REST_MIN_MS, (now - from) * REST_FACTOR) };
    return value;
  }
}
