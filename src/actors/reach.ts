import type { Bus } from '../bus/bus.ts';
import type { Standing } from '../store/sharing.ts';

/**
 * Whether this node reaches NATS, and whether it gives its shards away when it does not while others do. An outage
 * for all is noticed, and over, at another moment by each node: what looks like a node's own trouble then is none.
 */
export class Reach {
  /** Kept true through a moment's silence. */
  #ok = true;
  #misses = 0;
  /** What the record says. */
  #told = true;
  /** The record said of another node that it does not reach NATS. */
  #othersMiss = false;
  /** Nobody reached NATS when last looked at. */
  #wasForAll = false;
  /** Since when this node is owed nothing because others reach NATS and it does not, monotonic, ms. */
  #alone: { since: number; afterAll: boolean } | undefined;

  get ok(): boolean {
    return this.#ok;
  }

  /** The record does not say yet what is known here. */
  get isNews(): boolean {
    return this.#ok !== this.#told;
  }

  told(ok: boolean): void {
    this.#told = ok;
  }

  async probe(bus: Pick<Bus, 'probe'>): Promise<void> {
    this.#misses = (await bus.probe(PROBE_WAIT_MS)) ? 0 : this.#misses + 1;
    // Where others have lost it too, once is enough: the sooner all say so, the sooner it is nobody's own trouble.
    this.#ok = this.#misses < (this.#othersMiss ? 1 : PROBE_MISSES);
  }

  /** Another node has lost NATS and this one, as far as it knows, has not: a reason to probe at once. */
  hearsOfTrouble({ cutOff }: Pick<Standing, 'cutOff'>): boolean {
    const before = this.#othersMiss;
    this.#othersMiss = cutOff > 0;
    return this.#othersMiss && !before && this.#ok;
  }

  /** Owed nothing, and not to act on that yet: the others may be about to lose NATS as well, or this node to be back. */
  waits({ shares }: Pick<Standing, 'shares'>, now: number): boolean {
    if (shares) {
      this.#wasForAll = !this.#told;
      this.#alone = undefined;
      return false;
    }
    this.#alone ??= { since: now, afterAll: this.#wasForAll };
    return now - this.#alone.since < (this.#alone.afterAll ? BACK_MS : ALONE_MS);
  }
}

export const PROBE_EVERY_MS = 1_000;
const PROBE_WAIT_MS = 1_000;
/** Probes in a row without an answer after which NATS counts as out of reach. */
const PROBE_MISSES = 2;
/** How long others may take to notice what this node has noticed. */
const ALONE_MS = 2_000;
/** How long it may take this node to be back when NATS is: a connection that hangs (4 s), a rest (0.5 s), a probe (1 s). */
const BACK_MS = 6_000;
