import { type Finding, fail, ok, warn } from './finding.ts';
import type { PostgresFacts } from './postgresFacts.ts';

/** Oldest Postgres the engine starts on, and the one its tests run on. */
const VERSION_MIN = 14;
const VERSION_TESTED = 18;
/** What one node opens, and what it takes while it starts. */
const NODE_CONNECTIONS = 6;
const NODE_CONNECTIONS_STARTING = 7;
/** Deadlines are kept on the database's clock; only what people read is off. */
const CLOCK_OFF_MS = 2_000;

/** Judges what a Postgres server said. Pure. */
export function postgresFindings(facts: PostgresFacts): Finding[] {
  return [
    version(facts),
    durability(facts),
    synchronousCommit(facts),
    standbys(facts),
    fullPageWrites(facts),
    autovacuum(facts),
    connections(facts),
    idleTransactions(facts),
    clock(facts),
    schema(facts),
    privileges(facts),
  ];
}

function version({ version, versionNumber }: PostgresFacts): Finding {
  const major = Math.floor(versionNumber / 10_000);
  const check = 'postgres version';
  if (major < VERSION_MIN)
    return fail(
      check,
      version,
      `Upgrade to Postgres ${VERSION_TESTED}; at least ${VERSION_MIN} is needed.`,
    );
  if (major === VERSION_TESTED) return ok(check, `${version} (tested)`);
  return ok(check, `${version} (${VERSION_MIN} and newer work; tests run on ${VERSION_TESTED})`);
}

function durability({ fsync }: PostgresFacts): Finding {
  if (fsync === 'on') return ok('postgres fsync', 'on');
  return fail(
    'postgres fsync',
    'off: a crash of the machine loses or corrupts what was committed',
    'Set fsync = on in postgresql.conf and reload.',
  );
}

function synchronousCommit({ synchronousCommit, synchronousStandbys }: PostgresFacts): Finding {
  const check = 'postgres synchronous_commit';
  if (synchronousCommit === 'off')
    return warn(
      check,
      'off by default; nodes turn it on for themselves, your own SQL in the same database does not',
      'ALTER ROLE … SET synchronous_commit = on, or set it in postgresql.conf.',
    );
  if (synchronousStandbys !== '' && synchronousCommit === 'local')
    return warn(
      check,
      'local, although there are synchronous standbys: a failover can lose the last commits',
      "Set it to on. The log's replay window heals what was lost, effects may run again.",
    );
  return ok(check, synchronousCommit);
}

/** Whether what was committed is somewhere else, too, before anything follows from it. */
function standbys({ synchronousStandbys, standbys }: PostgresFacts): Finding {
  const check = 'postgres standbys';
  if (synchronousStandbys === '' && standbys === 0)
    return ok(check, 'none: what is committed is on this server alone');
  if (synchronousStandbys === '')
    return warn(
      check,
      `${standbys} stream, and no commit waits for them: a failover loses the last commits`,
      "Set synchronous_standby_names. Within the log's replay window what was lost is done again, effects too.",
    );
  if (standbys === 0)
    return fail(
      check,
      `commits wait for ${synchronousStandbys}, and no standby is connected`,
      'Start a standby, or take it out of synchronous_standby_names and reload.',
    );
  return ok(check, `${standbys} stream; commits wait for ${synchronousStandbys}`);
}

function fullPageWrites({ fullPageWrites }: PostgresFacts): Finding {
  if (fullPageWrites === 'on') return ok('postgres full_page_writes', 'on');
  return warn(
    'postgres full_page_writes',
    'off: a crash can leave torn pages',
    'Set full_page_writes = on, unless the file system writes pages atomically (ZFS).',
  );
}

function autovacuum({ autovacuum }: PostgresFacts): Finding {
  if (autovacuum === 'on') return ok('postgres autovacuum', 'on');
  return warn(
    'postgres autovacuum',
    'off: tables that pass many rows through grow without end',
    'Set autovacuum = on.',
  );
}

function connections(facts: PostgresFacts): Finding {
  const check = 'postgres connections';
  const free = facts.maxConnections - facts.reservedConnections - facts.connections;
  const found = `${facts.connections} of ${facts.maxConnections} used, ${free} free; a node takes ${NODE_CONNECTIONS}`;
  const advice = 'Raise max_connections (it needs a restart), or close what else is connected.';
  if (free < NODE_CONNECTIONS) return fail(check, found, advice);
  if (free < 2 * NODE_CONNECTIONS) return warn(check, found, advice);
  // A deploy has two of each for a while.
  const room = facts.maxConnections - facts.reservedConnections;
  const deploying = 2 * NODE_CONNECTIONS_STARTING * facts.nodes;
  if (room < deploying)
    return warn(
      check,
      `${found}; to replace all ${facts.nodes} nodes at once takes ${deploying}, there are ${room}`,
      `${advice} Or replace nodes one by one.`,
    );
  return ok(check, found);
}

function idleTransactions({ idleInTransaction }: PostgresFacts): Finding {
  const check = 'postgres idle transactions';
  if (idleInTransaction === 0) return ok(check, 'none for over a minute');
  return warn(
    check,
    `${idleInTransaction} open for over a minute: vacuum cannot remove dead rows meanwhile`,
    "Find them in pg_stat_activity (state = 'idle in transaction'); set idle_in_transaction_session_timeout.",
  );
}

function clock({ clockAheadMs, clockErrorMs }: PostgresFacts): Finding {
  const check = 'clocks';
  const off = Math.abs(clockAheadMs);
  if (off - clockErrorMs < CLOCK_OFF_MS)
    return ok(
      check,
      `Postgres and this machine differ by ${Math.round(off)} ms (±${Math.ceil(clockErrorMs)})`,
    );
  return warn(
    check,
    `Postgres is ${(off / 1_000).toFixed(1)} s ${clockAheadMs > 0 ? 'ahead of' : 'behind'} this machine: ages shown here are wrong by that`,
    'Run NTP on both. Timers and leases use the clock of Postgres alone.',
  );
}

function schema({ schema }: PostgresFacts): Finding {
  if ('version' in schema)
    return ok('schema', `version ${schema.version}, which this perdure needs`);
  const { code, message } = schema.error;
  const advice: Record<string, string> = {
    schema_missing: 'Run perdure migrate.',
    schema_newer: 'Upgrade perdure on this machine.',
    shards_differ: 'Use the perdure the namespace was created with, or another namespace.',
    server_too_old: 'Upgrade Postgres.',
  };
  return fail(
    'schema',
    message,
    advice[code] ?? 'Grant the role what it needs, or use another role.',
  );
}

function privileges({ role, missingPrivileges, schema }: PostgresFacts): Finding {
  const check = 'postgres privileges';
  if (missingPrivileges.length > 0)
    return fail(
      check,
      `role ${role} lacks ${missingPrivileges.join(', ')}`,
      'GRANT them, or run nodes as the role that ran perdure migrate.',
    );
  if (!('version' in schema)) return ok(check, `role ${role}; tables are checked once they exist`);
  return ok(check, `role ${role} may do what a node does`);
}
