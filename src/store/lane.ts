import { backoff, sleep } from '../clock.ts';
import { asError, PerdureError } from '../errors.ts';
import {
  DEADLINE_MS,
  openSession,
  reconnectDelay,
  type Session,
  type SessionOptions,
} from './connection.ts';
import { ConnectionLost, isConnectivity, isTransient, sqlState } from './pgErrors.ts';

export interface Statement {
  /** Prepared once for each session under this name. */
  name?: string;
  text: string;
  values?: unknown[];
}

export interface LaneOptions extends SessionOptions {
  /** Connections. */
  size: number;
  /** Runs on every fresh session before anything else is sent on it. */
  onConnect?: (session: Session, reconnected: boolean) => Promise<void>;
}

type Row = Record<string, unknown>;

interface Job {
  statement: Statement;
  resolve(rows: Row[]): void;
  reject(error: Error): void;
}

/**
 * A few connections kept for one purpose, so that no kind of work can starve another. Each one is opened again
 * for ever when it ends; statements wait, in order, until a connection is free. One statement at a time on each.
 */
export class Lane {
  readonly #options: LaneOptions;
  readonly #sessions = new Set<Session>();
  readonly #idle: Session[] = [];
  readonly #waiting: Job[] = [];
  readonly #closing = new AbortController();
  readonly #supervisors: Promise<void>[];
  #running = 0;
  #drained: (() => void) | undefined;
  #lastError: string | null = null;

  constructor(options: LaneOptions) {
    this.#options = options;
    this.#supervisors = Array.from({ length: options.size }, () => this.#supervise());
  }

  /** Whether a connection is up; the last trouble when none is. */
  get health(): { up: boolean; error: string | null } {
    const up = this.#sessions.size > 0;
    return { up, error: up ? null : this.#lastError };
  }

  /**
   * Sends once, as soon as a connection is free; gives up after `timeMs` if that is given.
   * @throws ConnectionLost when it may or may not have run
   * @throws pg.DatabaseError when the server refused it: nothing landed
   */
  send<R>(statement: Statement, timeMs?: number): Promise<R[]> {
    const answer = new Promise<Row[]>((resolve, reject) => {
      if (this.#closing.signal.aborted) return reject(closedError());
      const job: Job = { statement, resolve, reject };
      this.#waiting.push(job);
      if (timeMs !== undefined) this.#giveUpAfter(timeMs, job);
      this.#pump();
    });
    return answer as Promise<R[]>;
  }

  /** Sends until it is answered. Only for statements that may run twice. @throws pg.DatabaseError for a bug */
  async ask<R>(statement: Statement): Promise<R[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.send<R>(statement);
      } catch (error) {
        if (!isPassing(error)) throw error;
        await this.pause(attempt, error);
      }
    }
  }

  /**
   * Sends until it is answered or the time is up: for people, who would rather be told than wait for ever.
   * @throws PerdureError `store_unavailable`
   */
  async askWithin<R>(timeMs: number, statement: Statement): Promise<R[]> {
    const { clock } = this.#options;
    const until = clock.monotonic() + timeMs;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.send<R>(statement, until - clock.monotonic());
      } catch (error) {
        if (!isPassing(error)) throw error;
        if (clock.monotonic() >= until) {
          const reason = this.health.error ?? asError(error).message;
          const message = `Postgres has not answered within ${timeMs} ms: ${reason}`;
          throw new PerdureError('store_unavailable', message, { cause: error });
        }
        await this.pause(attempt, error);
      }
    }
  }

  /** Waits before another attempt at what failed for a passing reason. */
  async pause(attempt: number, error: unknown): Promise<void> {
    const { clock, log } = this.#options;
    const code = sqlState(error);
    if (code !== undefined)
      log.warn({ code, attempt, err: asError(error).message }, 'postgres refused for now');
    await sleep(clock, backoff(clock, attempt, 10, 1_000), this.#closing.signal);
    if (this.#closing.signal.aborted) throw closedError();
  }

  /** Refuses new statements, lets those in flight end, closes. Those not sent yet are rejected. */
  async close(graceMs: number): Promise<void> {
    this.#closing.abort();
    for (const job of this.#waiting.splice(0)) job.reject(closedError());
    const drained = new Promise<void>((resolve) => {
      this.#drained = resolve;
      if (this.#running === 0) resolve();
    });
    const giveUp = new AbortController();
    await Promise.race([drained, sleep(this.#options.clock, graceMs, giveUp.signal)]);
    giveUp.abort();
    for (const session of this.#sessions) {
      // A polite goodbye, or the server's log complains; the socket goes either way.
      if (this.#running === 0) void session.client.end().catch(() => {});
      else session.destroy();
    }
    const stuck = this.#options.clock.after(500, () => this.destroy());
    await Promise.all(this.#supervisors);
    stuck();
  }

  /** Cuts every connection at once, as a killed process would. */
  destroy(): void {
    this.#closing.abort();
    for (const job of this.#waiting.splice(0)) job.reject(closedError());
    for (const session of this.#sessions) session.destroy();
  }

  #giveUpAfter(timeMs: number, job: Job): void {
    const cancel = this.#options.clock.after(timeMs, () => {
      const at = this.#waiting.indexOf(job);
      if (at >= 0) this.#waiting.splice(at, 1);
      reject(new ConnectionLost('no answer in time'));
    });
    const { resolve, reject } = job;
    job.resolve = (rows) => {
      cancel();
      resolve(rows);
    };
    job.reject = (error) => {
      cancel();
      reject(error);
    };
  }

  async #supervise(): Promise<void> {
    const { clock, log, onConnect } = this.#options;
    const closing = this.#closing.signal;
    let reconnected = false;
    for (let attempt = 1; !closing.aborted; ) {
      try {
        const session = await openSession(this.#options, closing);
        this.#sessions.add(session);
        try {
          if (closing.aborted) session.destroy();
          else if (onConnect) {
            const cancelDeadline = clock.after(DEADLINE_MS, session.destroy);
            await onConnect(session, reconnected).finally(cancelDeadline);
          }
          if (session.alive) {
            if (attempt > 1) log.info('postgres connection is back');
            attempt = 1;
            this.#idle.push(session);
            this.#pump();
          }
          await session.ended;
        } finally {
          session.destroy();
          this.#sessions.delete(session);
          const at = this.#idle.indexOf(session);
          if (at >= 0) this.#idle.splice(at, 1);
        }
        this.#lastError = 'connection lost';
        if (!closing.aborted) log.warn('postgres connection lost');
      } catch (error) {
        this.#lastError = asError(error).message;
        if (attempt === 5) log.error({ err: this.#lastError }, 'postgres cannot be reached');
      }
      reconnected = true;
      await sleep(clock, reconnectDelay(clock, attempt++), closing);
    }
  }

  #pump(): void {
    while (this.#waiting.length > 0) {
      const session = this.#idle.pop();
      if (!session) return;
      // An ended session is dropped here; its supervisor opens the next one.
      if (session.alive) void this.#run(session, this.#waiting.shift() as Job);
    }
  }

  async #run(session: Session, job: Job): Promise<void> {
    this.#running++;
    session.warnings.length = 0;
    const cancelDeadline = this.#options.clock.after(DEADLINE_MS, session.destroy);
    try {
      const { rows } = await session.client.query<Row>(job.statement);
      if (session.warnings.some(isUnreplicated))
        throw new ConnectionLost('committed here, and perhaps on no replica');
      job.resolve(rows);
    } catch (error) {
      if (error instanceof ConnectionLost) job.reject(error);
      else if (isConnectivity(error)) {
        session.destroy();
        job.reject(new ConnectionLost(asError(error).message, { cause: error }));
      } else {
        // A standby will not become the primary on this connection's account: find the new one.
        if (sqlState(error) === '25006') session.destroy();
        job.reject(asError(error));
      }
    } finally {
      cancelDeadline();
      this.#running--;
      if (session.alive) this.#idle.push(session);
      if (this.#running === 0) this.#drained?.();
      this.#pump();
    }
  }
}

/**
 * A cancelled wait for synchronous replication looks like success plus a warning (01000, or 57P01 at shutdown):
 * a failover may still lose it, so it is unknown. Our statements raise no other warnings.
 */
const isUnreplicated = (code: string): boolean => code === '01000' || code === '57P01';

/** Worth another attempt, for a statement that may run twice. */
const isPassing = (error: unknown) => error instanceof ConnectionLost || isTransient(error);

const closedError = () => new PerdureError('store_unavailable', 'The store is closed.');
