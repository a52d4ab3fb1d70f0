import { PerdureError } from '../errors.ts';
import type { CommitResult, ShardCommit } from './store.ts';
import type { StoreTransaction, Transaction } from './userTransaction.ts';

/**
 * What stands in for one Postgres transaction where there is no Postgres. `commit` or `rollback` is called, once; both are
 * done when they return, so that nothing comes between them and the commit of the actor. A `commit` that throws is
 * followed by `rollback`.
 */
export interface TestTransaction {
  readonly tx: Transaction;
  commit(): void;
  rollback(): void;
}

/** Commits one shard's part; `before` runs when nothing can be refused any more. */
type Commit = (nodeId: string, commit: ShardCommit, before: () => void) => CommitResult;

/** The in-memory twin of a transaction: it fails in the same places. */
export class MemoryTransaction implements StoreTransaction {
  readonly tx: Transaction;
  readonly mayRunAgain = false;
  readonly #users: TestTransaction;
  readonly #commit: Commit;
  #state: 'open' | 'closed' | 'over' = 'open';

  constructor(users: TestTransaction, commit: Commit) {
    this.#users = users;
    this.#commit = commit;
    this.tx = {
      query: async (text, values) => {
        if (this.#state !== 'open') throw ended();
        return users.tx.query(text, values);
      },
    };
  }

  async close(): Promise<void> {
    if (this.#state !== 'open') throw ended();
    this.#state = 'closed';
  }

  async commit(nodeId: string, commit: ShardCommit): Promise<CommitResult> {
    if (this.#state !== 'closed') throw ended();
    try {
      return this.#commit(nodeId, commit, () => {
        this.#users.commit();
        this.#state = 'over';
      });
    } finally {
      this.abandon();
    }
  }

  abandon(): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    this.#users.rollback();
  }
}

const ended = () =>
  new PerdureError(
    'bad_transaction',
    'The transaction cannot be committed. It is over: its function has returned without waiting for a statement, or has been left.',
  );
