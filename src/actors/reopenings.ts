import { backoff, type Clock } from '../clock.ts';

/** Shards that are to be opened again, several at once together. */
export class Reopenings {
  readonly #clock: Clock;
  readonly #open: (shards: number[]) => void;
  readonly #waiting = new Set<number>();
  #isDue = false;
  /** Surprises in a row. */
  #surprises = 0;
  #surprisedAt = 0;

  constructor(clock: Clock, open: (shards: number[]) => void) {
    this.#clock = clock;
    this.#open = open;
  }

  get size(): number {
    return this.#waiting.size;
  }

  has(shard: number): boolean {
    return this.#waiting.has(shard);
  }

  /** It cannot go on as it is: at once, or later when that is no news. */
  surprised(shard: number): void {
    this.#waiting.add(shard);
    if (this.#isDue) return;
    const now = this.#clock.monotonic();
    if (now - this.#surprisedAt > CALM_AFTER_MS) this.#surprises = 0;
    this.#surprisedAt = now;
    this.#in(this.#surprises === 0 ? 0 : backoff(this.#clock, this.#surprises, 50, 2_000));
    this.#surprises++;
  }

  /** Somebody in it was resumed. */
  resumed(shard: number): void {
    this.#waiting.add(shard);
    if (!this.#isDue) this.#in(RESUME_WAIT_MS);
  }

  #in(waitMs: number): void {
    this.#isDue = true;
    this.#clock.after(waitMs, () => {
      const shards = [...this.#waiting];
      this.#waiting.clear();
      this.#isDue = false;
      this.#open(shards);
    });
  }
}

/** Without a surprise for this long, the next one is answered at once. */
const CALM_AFTER_MS = 10_000;
/** Many are often resumed at a time. */
const RESUME_WAIT_MS = 20;
