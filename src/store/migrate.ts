import { readdirSync, readFileSync } from 'node:fs';
import type pg from 'pg';
import { systemClock } from '../clock.ts';
import type { Namespace } from '../config.ts';
import { invariant, PerdureError } from '../errors.ts';
import { createLogger, type Logger } from '../log.ts';
import { waitUntilReachable } from './connection.ts';

/** Oldest Postgres whose SQL we use, as server_version_num. */
const SERVER_VERSION_MIN = 140_000;
/** Another migrator may hold the lock for as long as a migration takes, ms. */
const LOCK_WAIT_MS = 60_000;

interface Migration {
  version: number;
  name: string;
  sql: string;
}

export interface MigrateOptions {
  namespace: Namespace;
  /** Recorded when the namespace is new; must agree when it is not. */
  shards: number;
  log?: Logger;
  databaseUrl?: string;
  /** A connection of the caller's, idle and outside a transaction; used instead of `databaseUrl`. */
  client?: pg.ClientBase;
  /** Ends the waiting for a Postgres that cannot be reached. */
  signal?: AbortSignal;
}

/**
 * Brings the namespace's schema up to what this code knows, creating it when it is missing. Any number of
 * processes may do so at once: they take turns. Waits for a Postgres that cannot be reached.
 *
 * @returns the files applied now, and the version the schema is at
 * @throws PerdureError `schema_newer`, `shards_differ`, `wrong_credentials`, `server_too_old`; `store_unavailable` when
 *   `signal` aborts
 */
export async function migrate(
  options: MigrateOptions,
): Promise<{ applied: string[]; version: number }> {
  if (options.client) return migrateOn(options.client, options);
  if (!options.databaseUrl)
    throw new PerdureError('bad_options', 'migrate needs a databaseUrl or a client.');
  const { session } = await waitUntilReachable({
    databaseUrl: options.databaseUrl,
    schema: options.namespace.schema,
    applicationName: `perdure migrate ${options.namespace.name}`,
    clock: systemClock,
    log: options.log ?? createLogger(),
    ...(options.signal && { signal: options.signal }),
  });
  try {
    return await migrateOn(session.client, options);
  } finally {
    await session.client.end();
  }
}

async function migrateOn(client: pg.ClientBase, options: MigrateOptions) {
  const { schema } = options.namespace;
  await checkServer(client);
  const applied: string[] = [];
  for (const migration of migrations()) {
    const fresh = await transaction(client, schema, async () => {
      if ((await appliedVersion(client, schema)) >= migration.version) return false;
      // The marker goes first: whatever slipped past the lock loses here, before it changes anything.
      await client.query('INSERT INTO migration (version, name) VALUES ($1, $2)', [
        migration.version,
        migration.name,
      ]);
      await client.query(migration.sql);
      return true;
    });
    if (!fresh) continue;
    options.log?.info({ schema, migration: migration.name }, 'migration applied');
    applied.push(migration.name);
  }
  await transaction(client, schema, () => createNamespace(client, options));
  await checkSchema(client, options);
  return { applied, version: newestVersion() };
}

/**
 * Says whether a node of this code may work on the database, for nodes that do not migrate.
 * @throws PerdureError `schema_missing`, `schema_newer`, `shards_differ`, `server_too_old`
 */
export async function checkSchema(
  client: pg.ClientBase,
  { namespace, shards }: { namespace: Namespace; shards?: number },
): Promise<void> {
  await checkServer(client);
  const { schema } = namespace;
  const { rows } = await client.query<{ exists: boolean }>(
    'SELECT to_regclass($1) IS NOT NULL AS exists',
    [`${schema}.migration`],
  );
  const version = rows[0]?.exists ? await appliedVersion(client, schema) : 0;
  refuseNewer(schema, version);
  const recorded =
    version === newestVersion()
      ? await client.query<{ shards: number }>(`SELECT shards FROM ${schema}.namespace`)
      : undefined;
  const found = recorded?.rows[0];
  if (!found)
    throw new PerdureError(
      'schema_missing',
      `Schema ${schema} is at version ${version}; this perdure needs ${newestVersion()}. Run perdure migrate.`,
    );
  if (shards !== undefined && found.shards !== shards)
    throw new PerdureError(
      'shards_differ',
      `Namespace ${namespace.name} was created with ${found.shards} shards; this node is set to ${shards}.`,
    );
}

function refuseNewer(schema: string, version: number): void {
  if (version > newestVersion())
    throw new PerdureError(
      'schema_newer',
      `Schema ${schema} is at version ${version}; this perdure knows ${newestVersion()}. Upgrade perdure.`,
    );
}

async function checkServer(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ number: number; version: string }>(
    `SELECT current_setting('server_version_num')::integer AS number,
            current_setting('server_version') AS version`,
  );
  if ((rows[0]?.number ?? 0) < SERVER_VERSION_MIN)
    throw new PerdureError(
      'server_too_old',
      `This is Postgres ${rows[0]?.version}; perdure needs 14 or newer.`,
    );
}

/** Runs `work` alone: under the schema's migration lock, inside a transaction, with the schema there. */
async function transaction<T>(
  client: pg.ClientBase,
  schema: string,
  work: () => Promise<T>,
): Promise<T> {
  await client.query('BEGIN');
  try {
    await client.query(`SET LOCAL lock_timeout = ${LOCK_WAIT_MS}`);
    await client.query(`SET LOCAL statement_timeout = ${LOCK_WAIT_MS}`);
    await client.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [
      `perdure migrate ${schema}`,
    ]);
    // Building an index on a table that has grown takes its time.
    await client.query('SET LOCAL statement_timeout = 0');
    // Asked first, since CREATE SCHEMA IF NOT EXISTS wants the right to create one even when it exists.
    const { rows } = await client.query('SELECT FROM pg_namespace WHERE nspname = $1', [schema]);
    if (rows.length === 0) await client.query(`CREATE SCHEMA ${schema}`);
    await client.query(`SET LOCAL search_path = ${schema}, pg_temp`);
    await client.query(`CREATE TABLE IF NOT EXISTS migration (
      version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`);
    refuseNewer(schema, await appliedVersion(client, schema));
    const result = await work();
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    throw error;
  }
}

async function appliedVersion(client: pg.ClientBase, schema: string): Promise<number> {
  const { rows } = await client.query<{ version: number }>(
    `SELECT coalesce(max(version), 0) AS version FROM ${schema}.migration`,
  );
  return rows[0]?.version ?? 0;
}

async function createNamespace(client: pg.ClientBase, options: MigrateOptions): Promise<void> {
  const { name } = options.namespace;
  const created = await client.query(
    'INSERT INTO namespace (name, shards) VALUES ($1, $2) ON CONFLICT DO NOTHING',
    [name, options.shards],
  );
  if (created.rowCount === 1)
    await client.query('INSERT INTO shard (shard) SELECT generate_series(0, $1::integer - 1)', [
      options.shards,
    ]);
}

let cached: Migration[] | undefined;

/** The numbered files beside this one, in order; the build copies them next to the compiled code. */
function migrations(): Migration[] {
  if (cached) return cached;
  const folder = new URL('./sql/', import.meta.url);
  const found = readdirSync(folder)
    .filter((name) => /^\d{4}_\w+\.sql$/.test(name))
    .sort()
    .map((name) => ({
      version: Number(name.slice(0, 4)),
      name,
      sql: readFileSync(new URL(name, folder), 'utf8'),
    }));
  found.forEach((migration, index) => {
    invariant(migration.version === index + 1, `migration ${index + 1} is missing`);
  });
  invariant(found.length > 0, 'no migrations found');
  cached = found;
  return found;
}

const newestVersion = (): number => migrations().length;
