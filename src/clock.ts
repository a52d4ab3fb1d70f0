/**
 * The only door to time, randomness and the scheduler. Everything in `actors/` takes a `Clock`, so that
 * the engine can also run in a deterministic simulation.
 */
export interface Clock {
  /** Wall time in milliseconds since 1970; for display and log lines, never for deadlines. */
  now(): number;
  /** Milliseconds that only ever grow; for measuring durations. */
  monotonic(): number;
  /** Runs `run` once after `delayMs` (clamped to 2^31-1 ms, the longest a timer can wait). */
  after(delayMs: number, run: () => void): Cancel;
  /** Runs `run` once the events that are already waiting have been taken in; the unit of batching. */
  soon(run: () => void): void;
  /** A number in [0, 1). */
  random(): number;
  /** A fresh RFC 9562 UUID. */
  uuid(): string;
}

/** Forgets a scheduled call; harmless when it has already run. */
export type Cancel = () => void;

/** setTimeout fires at once for anything longer (Node documents the overflow), so longer waits are cut here. */
export const TIMER_MAX_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, Math.min(Math.max(delayMs, 0), TIMER_MAX_MS));
    return () => clearTimeout(timer);
  },
  soon: (run) => void setImmediate(run),
  random: () => Math.random(),
  uuid: () => crypto.randomUUID(),
};

/** A promise that settles after `delayMs`, or at once when `signal` aborts. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const cancel = clock.after(delayMs, done);
    function done() {
      signal?.removeEventListener('abort', done);
      cancel();
      resolve();
    }
    signal?.addEventListener('abort', done, { once: true });
  });
}

/** Waits until `work` has settled, however, or `limitMs` are over. Leaves no timer behind. */
export async function atMost(clock: Clock, limitMs: number, work: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  const settled = work.then(
    () => {},
    () => {},
  );
  await Promise.race([settled, sleep(clock, limitMs, over.signal)]);
  over.abort();
}

/** Capped exponential backoff with full jitter: the n-th wait (n from 1) is random in (0, min(cap, base·2^(n-1))]. */
export function backoff(clock: Clock, attempt: number, baseMs: number, capMs: number): number {
  const ceiling = Math.min(capMs, baseMs * 2 ** Math.min(attempt - 1, 30));
  return ceiling * (1 - clock.random());
}
