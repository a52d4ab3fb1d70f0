import type { Cancel, Clock } from '../clock.ts';
import type { StoredTimer } from '../store/store.ts';

/**
 * Near timers of the shards this node owns, by deadline on the database clock (G6). Memory only: the rows are the
 * truth, an entry that was cancelled meanwhile is recognised when it comes due, by the transition that armed it.
 */
export class Timers {
  readonly #clock: Clock;
  readonly #due: (timer: StoredTimer) => void;
  readonly #heap: StoredTimer[] = [];
  readonly #known = new Set<string>();
  #wake: Cancel | undefined;
  #wakeAt = Number.POSITIVE_INFINITY;
  /** Database time minus our monotonic time: the largest lower bound seen, minus drift. */
  #offset = Number.NEGATIVE_INFINITY;
  #offsetAt = 0;

  constructor(clock: Clock, due: (timer: StoredTimer) => void) {
    this.#clock = clock;
    this.#due = due;
  }

  /**
   * Learns the database's time from an answer that arrived just now. The database is at least that far, so timers
   * never fire early; the bound sinks by 1 ms a second, more than two clocks drift apart.
   */
  observe(databaseTime: number): void {
    const now = this.#clock.monotonic();
    this.#offset = Math.max(databaseTime - now, this.#offset - (now - this.#offsetAt) / 1000);
    this.#offsetAt = now;
  }

  /** Database time, never ahead of it. */
  databaseTime(): number {
    return this.#clock.monotonic() + this.#offset;
  }

  /** Timers in memory. */
  get size(): number {
    return this.#heap.length;
  }

  add(timer: StoredTimer): void {
    const name = nameOf(timer);
    if (this.#known.has(name)) return;
    this.#known.add(name);
    push(this.#heap, timer);
    this.#schedule();
  }

  /** Forgets the timers of shards that are no longer ours. */
  forget(shard: number): void {
    const kept = this.#heap.filter(
      (timer) => timer.shard !== shard || !this.#known.delete(nameOf(timer)),
    );
    this.#heap.length = 0;
    for (const timer of kept) push(this.#heap, timer);
  }

  stop(): void {
    this.#wake?.();
    this.#heap.length = 0;
    this.#known.clear();
  }

  #schedule(): void {
    const next = this.#heap[0];
    if (!next || next.fireAt >= this.#wakeAt) return;
    this.#wake?.();
    this.#wakeAt = next.fireAt;
    this.#wake = this.#clock.after(
      Math.max(0, Math.ceil(next.fireAt - this.databaseTime())),
      () => {
        this.#wakeAt = Number.POSITIVE_INFINITY;
        this.#fire();
      },
    );
  }

  #fire(): void {
    const now = this.databaseTime();
    for (let next = this.#heap[0]; next && next.fireAt <= now; next = this.#heap[0]) {
      pop(this.#heap);
      this.#known.delete(nameOf(next));
      this.#due(next);
    }
    this.#schedule();
  }
}

const nameOf = (timer: StoredTimer): string =>
  `${timer.type}/${timer.id}/${timer.timerId}/${timer.armedSeq}`;

/** Deadline, then the order in which they were armed. */
function before(a: StoredTimer, b: StoredTimer): boolean {
  if (a.fireAt !== b.fireAt) return a.fireAt < b.fireAt;
  if (a.armedSeq !== b.armedSeq) return a.armedSeq < b.armedSeq;
  return a.position < b.position;
}

function push(heap: StoredTimer[], timer: StoredTimer): void {
  let at = heap.push(timer) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!before(timer, heap[parent] as StoredTimer)) break;
    heap[at] = heap[parent] as StoredTimer;
    at = parent;
  }
  heap[at] = timer;
}

function pop(heap: StoredTimer[]): void {
  const last = heap.pop() as StoredTimer;
  if (heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (
      child + 1 < heap.length &&
      before(heap[child + 1] as StoredTimer, heap[child] as StoredTimer)
    )
      child++;
    if (!before(heap[child] as StoredTimer, last)) break;
    heap[at] = heap[child] as StoredTimer;
    at = child;
  }
  heap[at] = last;
}
