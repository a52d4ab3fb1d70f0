import type { CommitResult, ShardCommit } from './store.ts';

/** What `fromTransaction` is given to work with. */
export interface Transaction {
  /**
   * One statement, on Postgres' READ COMMITTED and the `search_path` of the database or role. Values are `$1`, `$2`, …;
   * rows are as the `pg` package gives them.
   * @throws PerdureError `bad_transaction` for a statement that would begin or end a transaction, and after the function
   *   has ended; `store_unavailable` when the connection is lost; else what Postgres says (`code` is its SQLSTATE)
   */
  query<Row extends object = Record<string, unknown>>(
    text: string,
    values?: readonly unknown[],
  ): Promise<{ rows: Row[]; rowCount: number }>;
}

/** A transaction on a session of its own, which ends with a commit of the engine's or leaves nothing behind (S5). */
export interface StoreTransaction {
  readonly tx: Transaction;
  /** It failed for a reason that passes (a deadlock, a lost connection): the same once more may succeed. */
  readonly mayRunAgain: boolean;
  /**
   * The function is done: `tx` takes nothing more, and deferred constraints are checked.
   * @throws PerdureError `bad_transaction` when it cannot be committed; else what Postgres says
   */
  close(): Promise<void>;
  /**
   * As `Store.commit` for one shard: both land, or neither; a shard that was fenced undoes both. Once, after `close`.
   * @throws StoreUnknown when the connection died before the answer: both may have landed, and it cannot be sent again
   * @throws Error when neither has landed
   */
  commit(nodeId: string, commit: ShardCommit): Promise<CommitResult>;
  /** Undoes it. Does nothing once `commit` has been called, or it is over. */
  abandon(): void;
}
