import { type Cancel, sleep } from '../clock.ts';
import { PerdureError } from '../errors.ts';
import {
  DEADLINE_MS,
  describe,
  openSession,
  prepareSession,
  reconnectDelay,
  type Session,
  type SessionOptions,
} from './connection.ts';
import { PostgresTransaction } from './transaction.ts';

/** A session nobody has asked for in this long is closed, ms: most nodes never need one. */
const KEEP_IDLE_MS = 30_000;

/**
 * Sessions for transactions of the user's own, apart from the engine's: opened when they are needed, at most `max` at a
 * time. Whoever comes when all are taken waits, in order.
 */
export class TransactionPool {
  readonly #options: SessionOptions;
  readonly #max: number;
  readonly #sessions = new Set<Session>();
  /** Newest last; `cancel`: it is needed after all. */
  readonly #idle: { session: Session; cancel: Cancel }[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #closing = new AbortController();
  /** Places taken: by transactions, by what is opened for them, by what is made ready for the next. */
  #taken = 0;

  constructor(options: SessionOptions, max: number) {
    this.#options = { ...options, isUsers: true };
    this.#max = max;
  }

  /** Transactions that wait for a session. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** @throws when `signal` aborts, or the pool is closed */
  async begin(signal: AbortSignal): Promise<PostgresTransaction> {
    await this.#place(signal);
    try {
      return await this.#begin(AbortSignal.any([signal, this.#closing.signal]));
    } catch (error) {
      this.#free();
      throw error;
    }
  }

  /** Lets sessions that are idle say goodbye; what is under way after the grace is cut off. */
  async close(): Promise<void> {
    this.#closing.abort(closedError());
    for (const tell of this.#waiting.splice(0)) tell();
    const sessions = [...this.#sessions];
    for (let idle = this.#takeIdle(); idle; idle = this.#takeIdle())
      void idle.client.end().catch(idle.destroy);
    const stuck = this.#options.clock.after(500, () => this.destroy());
    await Promise.all(sessions.map(({ ended }) => ended));
    stuck();
  }

  /** Cuts every connection at once, as a killed process would. */
  destroy(): void {
    this.#closing.abort(closedError());
    for (const tell of this.#waiting.splice(0)) tell();
    for (const { cancel } of this.#idle.splice(0)) cancel();
    for (const session of this.#sessions) session.destroy();
  }

  async #place(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    if (this.#taken < this.#max) {
      this.#taken++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const come = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(come), 1);
        reject(signal.reason);
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(come);
    });
    this.#closing.signal.throwIfAborted();
  }

  /** The place goes to whoever waits longest. */
  #free(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#taken--;
  }

  async #begin(signal: AbortSignal): Promise<PostgresTransaction> {
    const { clock, log } = this.#options;
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      let session: Session | undefined;
      try {
        session = this.#takeIdle() ?? (await this.#open(signal));
        // One that was idle may have ended unheard: the next one will do.
        return await PostgresTransaction.begin(session, this.#options, this.#giveBack);
      } catch (error) {
        session?.destroy();
        signal.throwIfAborted();
        if (attempt % 10 === 5)
          log.warn({ err: describe(error) }, 'postgres: no session for a transaction');
      }
      await sleep(clock, reconnectDelay(clock, attempt), signal);
    }
  }

  async #open(signal: AbortSignal): Promise<Session> {
    const session = await openSession(this.#options, signal);
    this.#sessions.add(session);
    void session.ended.then(() => {
      this.#sessions.delete(session);
      const at = this.#idle.findIndex((idle) => idle.session === session);
      if (at >= 0) this.#idle.splice(at, 1)[0]?.cancel();
    });
    return session;
  }

  #takeIdle(): Session | undefined {
    const idle = this.#idle.pop();
    idle?.cancel();
    return idle?.session;
  }

  /** What one user has set, prepared or locked is nothing to the next. */
  readonly #giveBack = (session: Session): void => {
    void this.#reset(session).then((isReady) => {
      if (isReady) this.#keep(session);
      else session.destroy();
      this.#free();
    });
  };

  async #reset(session: Session): Promise<boolean> {
    if (!session.alive) return false;
    const cancelDeadline = this.#options.clock.after(DEADLINE_MS, session.destroy);
    try {
      const discarded = session.client.query('DISCARD ALL');
      await Promise.all([discarded, prepareSession(session.client, this.#options)]);
      return session.alive && !this.#closing.signal.aborted;
    } catch {
      return false;
    } finally {
      cancelDeadline();
    }
  }

  #keep(session: Session): void {
    const cancel = this.#options.clock.after(KEEP_IDLE_MS, () => {
      this.#idle.splice(
        this.#idle.findIndex((idle) => idle.session === session),
        1,
      );
      void session.client.end().catch(session.destroy);
    });
    this.#idle.push({ session, cancel });
  }
}

const closedError = () => new PerdureError('store_unavailable', 'The store is closed.');
