import type { Clock } from '../clock.ts';

/**
 * What this node knows by itself about its lease, on its own monotonic clock: it ends no later here than in Postgres,
 * because it is counted from before the renewal was sent. A node that was stopped or cut off learns from it that
 * others may speak for its shards by now, before it has asked anybody.
 */
export class Lease {
  readonly #clock: Clock;
  readonly #leaseMs: number;
  /** Asks for a renewal now. */
  readonly #renewNow: () => void;
  #until = Number.NEGATIVE_INFINITY;
  #waiting: (() => void)[] = [];

  constructor(clock: Clock, leaseMs: number, renewNow: () => void) {
    this.#clock = clock;
    this.#leaseMs = leaseMs;
    this.#renewNow = renewNow;
  }

  /** Nobody else can have been given our shards for want of a sign of life. */
  get holds(): boolean {
    return this.#clock.monotonic() < this.#until;
  }

  /** How long it has been over, ms; 0 while it holds. */
  get overSinceMs(): number {
    return Math.max(0, this.#clock.monotonic() - this.#until);
  }

  /**
   * It was renewed, by a statement sent at `sentAt` (monotonic, ms), and the shards that were lost meanwhile are
   * closed.
   */
  renewed(sentAt: number): void {
    this.#until = Math.max(this.#until, sentAt + this.#leaseMs);
    if (!this.holds) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Resolves once it holds, and what was lost is closed. */
  held(): Promise<void> {
    if (this.holds) return Promise.resolve();
    this.#renewNow();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  stop(): void {
    this.#waiting = [];
  }
}
