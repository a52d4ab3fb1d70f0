import { type Namespace, SHARDS } from '../config.ts';
import { PerdureError } from '../errors.ts';
import type { Session } from '../store/connection.ts';
import { checkSchema } from '../store/migrate.ts';

/** What `perdure doctor` asks a Postgres server. */
export interface PostgresFacts {
  version: string;
  versionNumber: number;
  fsync: string;
  /** As a new session of this role gets it. */
  synchronousCommit: string;
  fullPageWrites: string;
  /** Names of synchronous standbys that must confirm a commit, '' for none. */
  synchronousStandbys: string;
  /** Servers that stream from this one, whether commits wait for them or not. */
  standbys: number;
  autovacuum: string;
  role: string;
  maxConnections: number;
  /** Kept for superusers. */
  reservedConnections: number;
  connections: number;
  /** Nodes of the namespace that live. */
  nodes: number;
  /** Sessions that hold a transaction open and do nothing, for over a minute. */
  idleInTransaction: number;
  /** Database clock minus this machine's, ms, and how far off the measurement may be. */
  clockAheadMs: number;
  clockErrorMs: number;
  schema: { version: number } | { error: { code: string; message: string } };
  /** `INSERT on actor`, … that the role lacks; empty when there is no schema yet. */
  missingPrivileges: string[];
}

/** What a node does to each table. */
const PRIVILEGES: Record<string, string> = {
  migration: 'SELECT',
  namespace: 'SELECT UPDATE',
  node: 'SELECT INSERT UPDATE DELETE',
  shard: 'SELECT UPDATE',
  actor: 'SELECT INSERT UPDATE',
  transition: 'SELECT INSERT',
  timer: 'SELECT INSERT UPDATE DELETE',
  outbox: 'SELECT INSERT DELETE',
  dead_letter: 'SELECT INSERT UPDATE',
  log_mark: 'SELECT INSERT DELETE',
  nodes: 'SELECT',
};

const SERVER = `
  SELECT current_setting('server_version') AS version,
         current_setting('server_version_num')::int4 AS "versionNumber",
         current_setting('fsync') AS fsync,
         -- The current value may be what our own session setup made of it.
         (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit') AS "synchronousCommit",
         current_setting('full_page_writes') AS "fullPageWrites",
         current_setting('synchronous_standby_names') AS "synchronousStandbys",
         -- A base backup streams as well; a role that may not see so much takes it for a standby.
         (SELECT count(*) FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup')::int4 AS standbys,
         current_setting('autovacuum') AS autovacuum,
         current_user::text AS role,
         current_setting('max_connections')::int4 AS "maxConnections",
         current_setting('superuser_reserved_connections')::int4
           + coalesce(current_setting('reserved_connections', true)::int4, 0) AS "reservedConnections",
         count(*)::int4 AS connections,
         (count(*) FILTER (WHERE state LIKE 'idle in transaction%'
                             AND state_change < now() - interval '1 minute'))::int4 AS "idleInTransaction"
    FROM pg_stat_activity WHERE backend_type = 'client backend'`;

const LACKING = `
  SELECT privilege || ' on ' || name AS lacking
    FROM unnest($1::text[], $2::text[]) AS wanted (name, privilege)
   WHERE to_regclass($3 || '.' || name) IS NOT NULL
     AND NOT has_table_privilege($3 || '.' || name, privilege)
   ORDER BY name, privilege`;

/** Asks on a session of its own. @throws whatever Postgres says */
export async function readPostgresFacts(
  client: Session['client'],
  namespace: Namespace,
): Promise<PostgresFacts> {
  const { rows } =
    await client.query<
      Omit<
        PostgresFacts,
        'clockAheadMs' | 'clockErrorMs' | 'schema' | 'missingPrivileges' | 'nodes'
      >
    >(SERVER);
  const server = rows[0];
  if (!server) throw new PerdureError('store_unavailable', 'Postgres answered nothing.');
  const schema = await readSchema(client, namespace);
  const missingPrivileges = await readMissingPrivileges(client, namespace);
  const countable = 'version' in schema && missingPrivileges.length === 0;
  return {
    ...server,
    ...(await readClock(client)),
    schema,
    missingPrivileges,
    nodes: countable ? await countNodes(client, namespace) : 0,
  };
}

/** The fastest of a few answers says the most. */
async function readClock(client: Session['client']) {
  let best = { clockAheadMs: 0, clockErrorMs: Number.POSITIVE_INFINITY };
  for (let attempt = 0; attempt < 3; attempt++) {
    const before = Date.now();
    const { rows } = await client.query<{ now: number }>(
      `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now`,
    );
    const tookMs = Date.now() - before;
    const there = rows[0]?.now ?? before;
    const measured = { clockAheadMs: there - (before + tookMs / 2), clockErrorMs: tookMs / 2 };
    if (measured.clockErrorMs < best.clockErrorMs) best = measured;
  }
  return best;
}

async function countNodes(client: Session['client'], { schema }: Namespace): Promise<number> {
  const { rows } = await client.query<{ live: number }>(
    `SELECT count(*)::int4 AS live FROM ${schema}.nodes WHERE live`,
  );
  return rows[0]?.live ?? 0;
}

async function readSchema(
  client: Session['client'],
  namespace: Namespace,
): Promise<PostgresFacts['schema']> {
  try {
    await checkSchema(client, { namespace, shards: SHARDS });
  } catch (thrown) {
    const code = thrown instanceof PerdureError ? thrown.code : 'unexpected';
    return { error: { code, message: (thrown as Error).message } };
  }
  const { rows } = await client.query<{ version: number }>(
    `SELECT max(version) AS version FROM ${namespace.schema}.migration`,
  );
  return { version: rows[0]?.version ?? 0 };
}

async function readMissingPrivileges(
  client: Session['client'],
  { schema }: Namespace,
): Promise<string[]> {
  const { rows: usage } = await client.query<{ may: boolean }>(
    `SELECT has_schema_privilege(oid, 'USAGE') AS may FROM pg_namespace WHERE nspname = $1`,
    [schema],
  );
  if (usage[0] === undefined) return [];
  if (!usage[0].may) return [`USAGE on schema ${schema}`];
  const wanted = Object.entries(PRIVILEGES).flatMap(([table, privileges]) =>
    privileges.split(' ').map((privilege) => [table, privilege] as const),
  );
  const { rows } = await client.query<{ lacking: string }>(LACKING, [
    wanted.map(([table]) => table),
    wanted.map(([, privilege]) => privilege),
    schema,
  ]);
  const { rows: sequence } = await client.query<{ may: boolean }>(
    `SELECT has_sequence_privilege($1, 'USAGE') AS may WHERE to_regclass($1) IS NOT NULL`,
    [`${schema}.node_lock`],
  );
  const lacking = rows.map((row) => row.lacking);
  return sequence[0]?.may === false ? [...lacking, 'USAGE on sequence node_lock'] : lacking;
}
