import { backoff, type Clock, sleep } from '../clock.ts';
import { PerdureError } from '../errors.ts';
import type { Store } from '../store/store.ts';
import type { StoreTransaction, Transaction } from '../store/userTransaction.ts';

/** A transaction whose function has ended well. */
export interface Ended<T> {
  output: T;
  transaction: StoreTransaction;
}

/**
 * Runs the functions of `fromTransaction`, each in a transaction of its own, up to where its commit takes over.
 *
 *  X1  A transaction is handed on once, to the batch that has the step its result causes, or it is abandoned.
 *  X2  What failed for a reason that passes has left nothing behind: it runs again within the same attempt, a bounded
 *      number of times.
 */
export class Transactions {
  readonly #store: Store;
  readonly #clock: Clock;
  /** Commits in a row that Postgres refused, by idempotency key: each made the shard forget the step. */
  readonly #refusals = new Map<string, { times: number; error: Error }>();

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** @throws what the function throws; PerdureError `bad_transaction` when it cannot be committed */
  async run<T>(
    key: string,
    signal: AbortSignal,
    work: (tx: Transaction) => PromiseLike<T>,
  ): Promise<Ended<T>> {
    const refusal = this.#refusals.get(key);
    if (refusal && refusal.times >= REFUSALS_MAX) {
      this.#refusals.delete(key);
      throw new PerdureError(
        'bad_transaction',
        `Postgres has refused to commit it ${REFUSALS_MAX} times: ${refusal.error.message}`,
        { cause: refusal.error },
      );
    }
    for (let run = 1; ; run++) {
      const transaction = await this.#store.begin(signal);
      try {
        return { output: await inside(transaction, signal, work), transaction };
      } catch (error) {
        transaction.abandon();
        if (!transaction.mayRunAgain || run >= RUNS_MAX || signal.aborted) throw error;
      }
      await sleep(this.#clock, backoff(this.#clock, run, 10, 1_000), signal);
    }
  }

  /** The commit has landed. */
  settled(key: string): void {
    this.#refusals.delete(key);
  }

  refused(key: string, error: Error): void {
    const times = (this.#refusals.get(key)?.times ?? 0) + 1;
    // Newest last; what was left meanwhile is never heard of again.
    this.#refusals.delete(key);
    this.#refusals.set(key, { times, error });
    if (this.#refusals.size <= REMEMBERED_MAX) return;
    for (const oldest of this.#refusals.keys()) return void this.#refusals.delete(oldest);
  }
}

async function inside<T>(
  transaction: StoreTransaction,
  signal: AbortSignal,
  work: (tx: Transaction) => PromiseLike<T>,
): Promise<T> {
  const abandon = () => transaction.abandon();
  signal.addEventListener('abort', abandon, { once: true });
  try {
    signal.throwIfAborted();
    const output = await work(transaction.tx);
    await transaction.close();
    signal.throwIfAborted();
    return output;
  } finally {
    signal.removeEventListener('abort', abandon);
  }
}

/** Runs of one attempt. */
const RUNS_MAX = 10;
/** Refused commits after which the attempt has failed. */
const REFUSALS_MAX = 5;
const REMEMBERED_MAX = 1_000;
