import { backoff, sleep } from '../clock.ts';
import { asError, PerdureError } from '../errors.ts';
import {
  DEADLINE_MS,
  describe,
  openSession,
  reconnectDelay,
  type Session,
  type SessionOptions,
} from './connection.ts';
import {
  ConnectionLost,
  isConnectivity,
  isFull,
  isTransient,
  isUnreplicated,
  sqlState,
} from './pgErrors.ts';

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
  onConnect?: (session: Session) => Promise<void>;
}

/**
 * Statements that wait for a free connection of one lane, at most. Each caller of the engine waits for its answer
 * before it asks again (commits: `commitsInFlight`; loads: one for each shard, one for each shard that opens, and a
 * handful of rounds), so that however long Postgres is away a few hundred wait. What exceeds this is a flood from
 * outside, or a bug.
 */
const WAITING_MAX = 1_000;

/** Whether Postgres can be used now. A breaker: `closed` works, `open` waits for its next try, `half-open` tries. */
export interface LaneHealth {
  state: 'closed' | 'open' | 'half-open';
  /** Since when it works, or does not: wall time, ms since 1970. */
  since: number;
  /**
   * The last trouble with the connection; null when there was none. Answers to statements do not count, save that the
   * server has no room: then it is of no use either, and `state` is `open` until it takes a statement again.
   */
  error: string | null;
  /** How often it came back. */
  reconnects: number;
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
  /** Connections that statements can be sent on. */
  #up = 0;
  #health: LaneHealth;
  /** Since when the server has refused statements for want of room, wall time, ms; undefined while it does not. */
  #fullSince: number | undefined;

  constructor(options: LaneOptions) {
    this.#options = options;
    this.#health = { state: 'open', since: options.clock.now(), error: null, reconnects: 0 };
    this.#supervisors = Array.from({ length: options.size }, () => this.#supervise());
  }

  /** One connection that works is enough for `closed`. */
  get health(): Readonly<LaneHealth> {
    if (this.#fullSince === undefined || this.#health.state !== 'closed') return this.#health;
    return { ...this.#health, state: 'open', since: this.#fullSince };
  }

  /** Statements that wait for a free connection. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Sends once, as soon as a connection is free; gives up after `timeMs` if that is given.
   * @throws ConnectionLost when it may or may not have run
   * @throws pg.DatabaseError when the server refused it: nothing landed
   * @throws PerdureError `store_unavailable` when too many wait already: nothing was sent
   */
  send<R>(statement: Statement, timeMs?: number): Promise<R[]> {
    const answer = new Promise<Row[]>((resolve, reject) => {
      if (this.#closing.signal.aborted) return reject(closedError());
      if (this.#waiting.length >= WAITING_MAX) return reject(new LaneFull());
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
        // The engine waits its turn outside of the queue; nothing was sent.
        if (!isPassing(error) && !(error instanceof LaneFull)) throw error;
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
          const { state, error: trouble } = this.#health;
          const reason = (state !== 'closed' && trouble) || asError(error).message;
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
    if (isFull(error)) {
      this.#fullSince ??= clock.now();
      this.#health.error = asError(error).message;
    }
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
      if (this.#up === 0) this.#health.state = 'half-open';
      let up = false;
      try {
        const session = await openSession(this.#options, closing);
        this.#sessions.add(session);
        try {
          if (closing.aborted) session.destroy();
          else if (onConnect) {
            const cancelDeadline = clock.after(DEADLINE_MS, session.destroy);
            await onConnect(session).finally(cancelDeadline);
          }
          if (session.alive) {
            if (attempt > 1) log.info('postgres connection is back');
            attempt = 1;
            up = true;
            this.#came(reconnected);
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
        this.#went(up, 'connection lost');
        if (!closing.aborted) log.warn('postgres connection lost');
      } catch (error) {
        const reason = describe(error);
        this.#went(up, reason);
        if (attempt === 5) log.error({ err: reason }, 'postgres cannot be reached');
      }
      reconnected = true;
      await sleep(clock, reconnectDelay(clock, attempt++), closing);
    }
  }

  #came(again: boolean): void {
    if (again) this.#health.reconnects++;
    if (this.#up++ === 0) {
      this.#health.state = 'closed';
      this.#health.since = this.#options.clock.now();
    }
  }

  #went(wasUp: boolean, error: string): void {
    this.#health.error = error;
    if (wasUp && --this.#up === 0) this.#health.since = this.#options.clock.now();
    if (this.#up === 0) this.#health.state = 'open';
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
      this.#fullSince = undefined;
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

/** Worth another attempt, for a statement that may run twice. */
const isPassing = (error: unknown) => error instanceof ConnectionLost || isTransient(error);

class LaneFull extends PerdureError {
  constructor() {
    super('store_unavailable', `More than ${WAITING_MAX} statements wait for Postgres already.`);
  }
}

const closedError = () => new PerdureError('store_unavailable', 'The store is closed.');
