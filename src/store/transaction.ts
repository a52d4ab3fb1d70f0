import type { QueryConfig } from 'pg';
import type { Clock } from '../clock.ts';
import { asError, PerdureError } from '../errors.ts';
import { lastStatement, NOT_PASSED } from './commit.ts';
import {
  BY_INDEX,
  DEADLINE_MS,
  IDLE_MAX_MS,
  type Session,
  type SessionOptions,
  STATEMENT_TIMEOUT_MS,
  searchPath,
} from './connection.ts';
import { ConnectionLost, isConnectivity, isUnreplicated, sqlState } from './pgErrors.ts';
import { controlWord } from './sqlText.ts';
import { type CommitResult, type ShardCommit, StoreUnknown } from './store.ts';
import type { StoreTransaction, Transaction } from './userTransaction.ts';

/** What becomes of the session when the transaction is over. */
export type GiveBack = (session: Session) => void;

/**
 * One transaction of the user's on a session that nobody else has. It ends in one of three ways: with the engine's commit
 * and COMMIT, sent together; with ROLLBACK; or with the session, which the server takes for the latter.
 */
export class PostgresTransaction implements StoreTransaction {
  readonly tx: Transaction;
  readonly #session: Session;
  readonly #options: SessionOptions;
  readonly #clock: Clock;
  readonly #giveBack: GiveBack;
  /** The server's name for it: another one means that it was ended, and another one begun. */
  readonly #xid: string;
  /** What it committed with before somebody changed that: a commit must be as durable as any other. */
  readonly #durability: string;
  #state: 'open' | 'closed' | 'sent' | 'over' = 'open';
  #underWay = 0;
  #mayRunAgain = false;

  private constructor(
    session: Session,
    options: SessionOptions,
    begun: { xid: string; durability: string },
    giveBack: GiveBack,
  ) {
    this.#session = session;
    this.#options = options;
    this.#clock = options.clock;
    this.#xid = begun.xid;
    this.#durability = begun.durability;
    this.#giveBack = giveBack;
    this.tx = {
      query: (text, values = []) => this.#query(text, values),
    };
  }

  /** @throws whatever pg or the server says; the session is of no use then. */
  static async begin(
    session: Session,
    options: SessionOptions,
    giveBack: GiveBack,
  ): Promise<PostgresTransaction> {
    const cancelDeadline = options.clock.after(DEADLINE_MS, session.destroy);
    const results = (await session.client.query(BEGIN).finally(cancelDeadline)) as unknown as [
      unknown,
      { rows: [{ xid: string; durability: string }] },
    ];
    return new PostgresTransaction(session, options, results[1].rows[0], giveBack);
  }

  get mayRunAgain(): boolean {
    return this.#mayRunAgain;
  }

  async close(): Promise<void> {
    if (this.#state !== 'open') throw ended();
    this.#state = 'closed';
    const local = Object.entries({
      search_path: searchPath(this.#options),
      statement_timeout: `'${STATEMENT_TIMEOUT_MS}ms'`,
      lock_timeout: `'2s'`,
      idle_in_transaction_session_timeout: `'${IDLE_MAX_MS}ms'`,
      synchronous_commit: this.#durability,
      ...BY_INDEX,
    }).map(([name, value]) => `SET LOCAL ${name} = ${value};`);
    // Constraints first, as the user would have it: their triggers run with the settings the statements had.
    const results = await this.#send<{ rows: Closed[] }[]>(() =>
      this.#session.client.query(
        `SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL ROLE NONE; ${local.join(' ')} ${CHECK}`,
      ),
    );
    const { xid, read_only } = (results.at(-1) as { rows: [Closed] }).rows[0];
    if (xid !== this.#xid)
      throw bad('It was ended by one of its statements, so what these did is committed or undone.');
    if (read_only === 'on') throw bad('It was made read-only, so its result cannot be recorded.');
  }

  async commit(nodeId: string, commit: ShardCommit): Promise<CommitResult> {
    if (this.#state !== 'closed') throw ended();
    this.#state = 'sent';
    const { client } = this.#session;
    // Said by the server before anything was sent: nothing of it is left.
    if (!this.#session.alive) throw this.#lost();
    this.#session.warnings.length = 0;
    const cancelDeadline = this.#clock.after(DEADLINE_MS, this.#session.destroy);
    // Both are on their way before an answer is: no lock of ours is held while the server waits for this process. COMMIT is
    // one message of its own, so that should it never come, the server's patience with idle transactions ends it.
    const written = client.query(extended({ ...lastStatement(nodeId, commit), portal: 'last' }));
    const closed = client.query('COMMIT');
    const [last, end] = await Promise.allSettled([written, closed]);
    cancelDeadline();
    try {
      if (last.status === 'rejected') return this.#notWritten(last.reason);
      if (end.status === 'rejected') throw this.#unlessAnswered(end.reason);
      if (this.#session.warnings.some(isUnreplicated))
        throw new StoreUnknown('committed here, and perhaps on no replica');
      if (end.value.command !== 'COMMIT') throw new Error('Postgres has rolled it back.');
      const { at } = last.value.rows[0] as { at: string };
      return { committed: new Set([commit.shard]), mistaken: NOBODY, at: Number(at) };
    } finally {
      this.#end();
    }
  }

  abandon(): void {
    if (this.#state === 'sent' || this.#state === 'over') return;
    // What the server is busy with would keep its locks until it is done.
    if (this.#underWay > 0 || !this.#session.alive) this.#session.destroy();
    else void this.#session.client.query('ROLLBACK').catch(this.#session.destroy);
    this.#end();
  }

  #end(): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    this.#giveBack(this.#session);
  }

  async #query<Row>(
    text: string,
    values: readonly unknown[],
  ): Promise<{ rows: Row[]; rowCount: number }> {
    if (this.#state !== 'open') throw ended();
    const word = controlWord(text);
    if (word) throw bad(`${word} is not for its statements to say: it ends with the transition.`);
    const config = extended({ text, values: [...values] });
    const result = await this.#send<{ rows: Row[]; rowCount: number | null }>(() =>
      this.#session.client.query(config),
    );
    return { rows: result.rows, rowCount: result.rowCount ?? 0 };
  }

  async #send<Result>(query: () => Promise<unknown>): Promise<Result> {
    this.#underWay++;
    const cancelDeadline = this.#clock.after(DEADLINE_MS, this.#session.destroy);
    try {
      return (await query()) as Result;
    } catch (error) {
      throw this.#told(error);
    } finally {
      cancelDeadline();
      this.#underWay--;
    }
  }

  /** A statement's error, as the user's function gets it. */
  #told(error: unknown): Error {
    if (isConnectivity(error)) {
      this.#session.trouble ??= asError(error);
      this.#session.destroy();
      return this.#lost();
    }
    const code = sqlState(error);
    if (code === '40001' || code === '40P01') this.#mayRunAgain = true;
    if (code !== '25P02' || this.#state === 'open') return asError(error);
    return bad(
      'One of its statements failed and the function went on: let the error out, or set a savepoint before.',
    );
  }

  #lost(): Error {
    const { trouble } = this.#session;
    if (sqlState(trouble) === '25P03')
      return bad(`Nothing was asked of it for ${IDLE_MAX_MS} ms: do what takes time before it.`);
    this.#mayRunAgain = true;
    const reason = trouble ? `: ${trouble.message}` : '';
    return new PerdureError(
      'store_unavailable',
      `The connection of the transaction is lost, and with it what it did${reason}`,
    );
  }

  #notWritten(error: unknown): CommitResult {
    // The server has answered, so COMMIT could only roll back.
    if (sqlState(error) === NOT_PASSED) return { committed: NOBODY, mistaken: NOBODY, at: 0 };
    throw this.#unlessAnswered(error);
  }

  #unlessAnswered(error: unknown): Error {
    if (!isConnectivity(error) && !(error instanceof ConnectionLost)) return asError(error);
    this.#session.destroy();
    return new StoreUnknown(asError(error).message, { cause: error });
  }
}

/** One statement at a time, so that none hides behind another; `portal` is a name for it on the line. */
const extended = (statement: { text: string; values?: unknown[]; portal?: string }): QueryConfig =>
  ({ ...statement, queryMode: 'extended' }) as QueryConfig;

const NOBODY: ReadonlySet<number> = new Set();

interface Closed {
  xid: string;
  read_only: string;
}

/** Its isolation is not a matter of settings: a snapshot of its beginning could not see who owns the shard now. */
const BEGIN = `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SELECT pg_catalog.pg_current_xact_id()::text AS xid, pg_catalog.current_setting('synchronous_commit') AS durability`;

/** Since Postgres 17 a server lets go by itself of what a node that hangs has sent half of. */
const CHECK = `
SELECT pg_catalog.pg_current_xact_id()::text AS xid, current_setting('transaction_read_only') AS read_only,
       CASE WHEN current_setting('server_version_num')::int >= 170000
            THEN set_config('transaction_timeout', '${IDLE_MAX_MS}ms', true) END`;

const bad = (problem: string) =>
  new PerdureError('bad_transaction', `The transaction cannot be committed. ${problem}`);

const ended = () =>
  bad('It is over: its function has returned without waiting for a statement, or has been left.');
