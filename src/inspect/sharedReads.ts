import { PerdureError } from '../errors.ts';

/** Different questions that wait for Postgres at once, at most. */
const WAITING_MAX = 32;
/** Longest anybody waits for an answer, ms. */
const ANSWER_MS = 5_000;

/**
 * Runs the same read once for all who ask at the same time, and lets nobody wait for ever. While Postgres is away
 * the reads stay open, so their number has a limit.
 */
export class SharedReads {
  readonly #running = new Map<string, Promise<unknown>>();

  /** @throws PerdureError `timeout`, `store_unavailable` when too many wait already; as `read` */
  async share(key: string, read: () => Promise<unknown>): Promise<unknown> {
    let running = this.#running.get(key);
    if (running === undefined) {
      if (this.#running.size >= WAITING_MAX)
        throw new PerdureError(
          'store_unavailable',
          `${WAITING_MAX} questions wait for Postgres already; ask again later.`,
        );
      running = read().finally(() => this.#running.delete(key));
      this.#running.set(key, running);
      // Whoever asked may have gone by the time it fails.
      running.catch(() => {});
    }
    return withDeadline(running);
  }
}

async function withDeadline<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new PerdureError('timeout', `Postgres did not answer within ${ANSWER_MS} ms.`)),
      ANSWER_MS,
    );
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
