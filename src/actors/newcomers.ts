import type { Clock } from '../clock.ts';

/**
 * Whether Postgres has to be asked before an actor is started. Nearly all whose start comes are new, and the commit finds out
 * who is not: then nothing of its shard lands, the shard is opened again, and for a while it is asked first (ADR 0018). Whoever
 * was here a short time ago is no newcomer: jobs are often put twice.
 */
export class Newcomers {
  readonly #clock: Clock;
  /** Roots that are there and not in memory, by `type/id`: who was met last, and those before. */
  #met = new Set<string>();
  #metBefore: ReadonlySet<string> = this.#met;
  #mistakes = 0;
  /** Until then nobody is taken for new unasked; monotonic, ms. */
  #askUntil = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `key`: of a root that is not in memory. */
  mayBeNew(key: string): boolean {
    if (this.#mistakes > 0 && this.#clock.monotonic() < this.#askUntil) return false;
    return !this.#met.has(key) && !this.#metBefore.has(key);
  }

  /** It is there, and no longer in memory or never was. */
  met(key: string): void {
    this.#met.add(key);
    if (this.#met.size < MET_MAX) return;
    this.#metBefore = this.#met;
    this.#met = new Set();
  }

  /** Somebody who was taken for new was there. */
  mistaken(): void {
    const now = this.#clock.monotonic();
    // Others of the same burst.
    if (now < this.#askUntil) return;
    this.#askUntil = now + Math.min(ASK_MS * 2 ** this.#mistakes, ASK_MAX_MS);
    this.#mistakes++;
  }
}

/** Keys that are held, twice: a few hundred kilobytes. */
const MET_MAX = 5_000;
/** After the first mistake; twice that after each further one. */
const ASK_MS = 60_000;
const ASK_MAX_MS = 3_600_000;
