import pg from 'pg';

/** What Postgres did for one statement. */
export interface Statement {
  text: string;
  calls: number;
  /** From its first to its last moment in the server, waiting for locks and the disk included. */
  totalMs: number;
  rows: number;
  walBytes: number;
  /** 8 kB each: found in Postgres' own memory, asked of the system, changed. */
  hit: number;
  read: number;
  dirtied: number;
}

/** Has a server load a library the next time it starts. */
export const preload = (url: string, library: 'pg_stat_statements') =>
  ask(url, `ALTER SYSTEM SET shared_preload_libraries = '${library}'`, []);

/** Lets a server count; it must have been started with the library loaded. The counts of all databases are seen from the one of `url`. */
export const countStatements = (url: string) =>
  ask(url, 'CREATE EXTENSION IF NOT EXISTS pg_stat_statements', []);

/** Forgets what was counted in the database. */
export const forgetStatements = (url: string, database: string) =>
  ask(url, 'SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = $1', [
    database,
  ]);

/** What was done in the database since then. */
export function statementsOf(url: string, database: string): Promise<Statement[]> {
  return ask<Statement>(
    url,
    `SELECT query AS text, calls::float8, total_exec_time AS "totalMs", rows::float8, wal_bytes::float8 AS "walBytes",
            shared_blks_hit::float8 AS hit, shared_blks_read::float8 AS read, shared_blks_dirtied::float8 AS dirtied
       FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
      WHERE d.datname = $1`,
    [database],
  );
}

async function ask<Row>(url: string, sql: string, values: string[]): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql, values)).rows as Row[];
  } finally {
    await client.end();
  }
}

/** Adds up what is the same statement in different namespaces: each round has one of its own. */
export function addStatements(
  sums: Map<string, Statement>,
  statements: readonly Statement[],
  schema: string,
): void {
  for (const statement of statements) {
    const text = statement.text
      .replaceAll(`"${schema}".`, '')
      .replaceAll(`${schema}.`, '')
      .replaceAll(/\s+/g, ' ')
      .trim();
    const { calls, totalMs, rows, walBytes, hit, read, dirtied } = statement;
    const sum = sums.get(text) ?? ZERO;
    sums.set(text, {
      text,
      calls: sum.calls + calls,
      totalMs: sum.totalMs + totalMs,
      rows: sum.rows + rows,
      walBytes: sum.walBytes + walBytes,
      hit: sum.hit + hit,
      read: sum.read + read,
      dirtied: sum.dirtied + dirtied,
    });
  }
}

const ZERO = { calls: 0, totalMs: 0, rows: 0, walBytes: 0, hit: 0, read: 0, dirtied: 0 };
