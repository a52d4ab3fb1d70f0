import { Socket } from 'node:net';
import pg from 'pg';
import { backoff, type Clock, sleep } from '../clock.ts';
import { asError, InvariantViolation, PerdureError } from '../errors.ts';
import { type Logger, withoutSecrets } from '../log.ts';
import { bindInPieces } from './bind.ts';
import { asWrongCredentials } from './pgErrors.ts';

/** How one session with Postgres is set up. */
export interface SessionOptions {
  databaseUrl: string;
  schema: string;
  /** Shown in pg_stat_activity. */
  applicationName: string;
  clock: Clock;
  log: Logger;
  /**
   * Plan by index whatever the statistics say. The engine's statements are planned once, often while the tables
   * are empty; a plan that suits an empty table (scan it, hash it) is a disaster a minute later.
   */
  indexPlans?: boolean;
  /** For statements of the user's own: `search_path` and the types of values are as everywhere else. */
  isUsers?: boolean;
}

/** Longest a statement may run on the server, ms. */
export const STATEMENT_TIMEOUT_MS = 5_000;
/** Longest a transaction may wait for its next statement, ms: well within the lease of a node that hangs. */
export const IDLE_MAX_MS = 5_000;
/** The server did not even say that it gave up: the connection is dead. */
export const DEADLINE_MS = STATEMENT_TIMEOUT_MS + 1_000;
const CONNECT_TIMEOUT_MS = 3_000;
/** A restarted Postgres is in use again within this. */
const RECONNECT_CAP_MS = 1_000;
const RECONNECT_BASE_MS = 25;
const WAITING_NOTICE_MS = 3_000;

/** Reconnect delay before the n-th try, ms. */
export const reconnectDelay = (clock: Clock, attempt: number): number =>
  backoff(clock, attempt, RECONNECT_BASE_MS, RECONNECT_CAP_MS);

/** An open session. It ends once; then another one is opened in its place. */
export interface Session {
  readonly client: pg.Client;
  readonly ended: Promise<void>;
  alive: boolean;
  /** Closes the socket without a word. Whatever is in flight is lost. */
  destroy(): void;
  /** Codes of warnings since the last statement was sent. */
  warnings: string[];
  /** What the server or the socket said when it ended. */
  trouble: Error | undefined;
}

const INT8 = 20;

/** bigint columns as numbers; every one of ours stays far below 2^53. */
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text') =>
    oid === INT8
      ? safeInteger
      : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
};

function safeInteger(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number)) throw new InvariantViolation(`bigint ${text} is beyond 2^53`);
  return number;
}

/** Opens one session. @throws whatever pg or the server says; the socket is closed then. */
export async function openSession(options: SessionOptions, signal?: AbortSignal): Promise<Session> {
  const socket = new Socket();
  const client = new pg.Client({
    connectionString: options.databaseUrl,
    application_name: options.applicationName,
    keepAlive: true,
    keepAliveInitialDelayMillis: 5_000,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    stream: () => socket,
    // Statements that belong together are sent together.
    ...(options.isUsers ? { pipeline: true } : { types }),
  });
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const session: Session = {
    client,
    ended,
    alive: true,
    warnings: [],
    trouble: undefined,
    destroy() {
      session.alive = false;
      socket.destroy();
    },
  };
  // Without a listener an error on an idle connection ends the process.
  client.on('error', (error) => {
    options.log.debug({ err: error.message }, 'postgres connection error');
    session.trouble ??= error;
    session.destroy();
  });
  client.on('end', () => {
    session.alive = false;
    end();
  });
  client.on('notice', (notice) => {
    if (notice.code !== undefined) session.warnings.push(notice.code);
  });
  const cancelDeadline = options.clock.after(2 * CONNECT_TIMEOUT_MS, session.destroy);
  signal?.addEventListener('abort', session.destroy);
  try {
    await client.connect();
    // What a user gives to a statement is the user's again at once, and may be changed before it is on its way.
    if (!options.isUsers) bindInPieces(client);
    await prepareSession(client, options);
    return session;
  } catch (error) {
    session.destroy();
    throw error;
  } finally {
    signal?.removeEventListener('abort', session.destroy);
    cancelDeadline();
  }
}

/** pg_temp last: nobody's temporary table may stand in for one of ours. */
export const searchPath = ({ schema }: SessionOptions): string => `${schema}, pg_temp`;

/** Settings by which the planner takes an index wherever there is one. */
export const BY_INDEX = { enable_seqscan: 'off', enable_hashjoin: 'off', enable_mergejoin: 'off' };

/** Sets what must never depend on how a server or role happens to be configured (reliability: deadlines). */
export async function prepareSession(client: pg.Client, options: SessionOptions): Promise<void> {
  const settings: Record<string, string> = {
    ...(!options.isUsers && { search_path: searchPath(options) }),
    statement_timeout: `${STATEMENT_TIMEOUT_MS}ms`,
    lock_timeout: '2s',
    idle_in_transaction_session_timeout: `${IDLE_MAX_MS}ms`,
    // The server gives up on a vanished client within about 11 s and frees its locks.
    tcp_keepalives_idle: '5',
    tcp_keepalives_interval: '2',
    tcp_keepalives_count: '3',
    tcp_user_timeout: '10s',
    // Compiling a statement that takes milliseconds is never worth it.
    jit: 'off',
    ...(options.indexPlans && { plan_cache_mode: 'force_generic_plan', ...BY_INDEX }),
  };
  const { rows } = await client.query<{ sync: string; fsync: string; standby: boolean }>(
    `SELECT (SELECT count(set_config(name, value, false))
               FROM unnest($1::text[], $2::text[]) AS setting(name, value)),
            CASE current_setting('synchronous_commit')
              WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END,
            current_setting('fsync') AS fsync, pg_is_in_recovery() AS standby`,
    [Object.keys(settings), Object.values(settings)],
  );
  if (rows[0]?.standby) throw new Error('this server is a read-only standby');
  if (rows[0]?.fsync === 'off')
    options.log.warn('fsync is off in Postgres: a crash of the machine loses what was committed');
  // Not every platform can watch for closed sockets; then the keepalives above have to do.
  await client.query(`SET client_connection_check_interval = '2s'`).catch(() => {});
}

export interface WaitOptions extends SessionOptions {
  /** Told every few seconds what is being waited for. */
  onWaiting?: (reason: string) => void;
  signal?: AbortSignal;
}

/** pg takes any text for a host's name, and then waits for that host. */
function assertUrl(databaseUrl: string): void {
  if (/^(postgres(ql)?|socket):\/\//.test(databaseUrl)) return;
  throw new PerdureError(
    'bad_options',
    `${withoutSecrets(databaseUrl)} is not a Postgres URL: write postgres://user:password@host:5432/database.`,
  );
}

/**
 * Opens a session, trying for as long as it takes. `waited` says whether the first try failed.
 * @throws PerdureError `wrong_credentials` at once when the server answers that it never will
 */
export async function waitUntilReachable(
  options: WaitOptions,
): Promise<{ session: Session; waited: boolean }> {
  const { clock } = options;
  assertUrl(options.databaseUrl);
  let toldAt = Number.NEGATIVE_INFINITY;
  for (let attempt = 1; ; attempt++) {
    try {
      return { session: await openSession(options, options.signal), waited: attempt > 1 };
    } catch (error) {
      const wrong = asWrongCredentials(error, options.databaseUrl);
      if (wrong) throw wrong;
      if (options.signal?.aborted)
        throw new PerdureError('store_unavailable', 'Gave up waiting for Postgres.', {
          cause: error,
        });
      if (clock.monotonic() - toldAt >= WAITING_NOTICE_MS) {
        toldAt = clock.monotonic();
        const reason = `waiting for Postgres at ${withoutSecrets(options.databaseUrl)}: ${describe(error)}`;
        options.log.warn(reason);
        options.onWaiting?.(reason);
      }
    }
    await sleep(clock, reconnectDelay(clock, attempt), options.signal);
  }
}

/** A refused dual-stack connect is an AggregateError without a message of its own. */
export function describe(thrown: unknown): string {
  const error = asError(thrown);
  const first = error instanceof AggregateError ? asError(error.errors[0]) : error;
  return first.message || String((first as { code?: string }).code ?? first.name);
}
