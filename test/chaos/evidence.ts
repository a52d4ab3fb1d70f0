import { once } from 'node:events';
import {
  createWriteStream,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { namespace } from '../../src/config.ts';
import { tail } from '../../src/dev/daemon.ts';
import type { Place } from '../support/cluster.ts';
import type { World } from './world.ts';

const ROWS_MAX = 500_000;
const BATCH = 2_000;

const LOG_LINES = 200;

/** What stands still, and what it may be waiting for. Each part is asked for by itself: any of them may hang. */
export async function diagnose(world: World, dir: string): Promise<void> {
  const parts: Record<string, () => Promise<unknown>> = {
    unfinished: () =>
      world.sql.query(
        `SELECT a.type, a.id, a.status, a.state, a.seq, a.acted_seq, a.busy, a.epoch, a.shard, a.updated_at, a.retries
           FROM current_actor a WHERE a.status = 'active' OR a.busy OR a.acted_seq <> a.seq ORDER BY a.updated_at LIMIT 500`,
      ),
    outbox: () => world.sql.query('SELECT * FROM outbox ORDER BY created_at LIMIT 500'),
    timers: () => world.sql.query('SELECT *, now() AS now FROM timer ORDER BY fire_at LIMIT 500'),
    shards: () => world.sql.query('SELECT * FROM shard ORDER BY shard'),
    nodes: () => world.sql.query('SELECT *, now() AS now FROM nodes ORDER BY started_at'),
    activity: () => world.sql.query('SELECT * FROM pg_stat_activity'),
    locks: () => world.sql.query('SELECT * FROM pg_locks'),
    log: async () => {
      const jsm = await world.jsm();
      const { jobsStream, outcomesStream } = namespace(world.namespace);
      return [await jsm.streams.info(jobsStream), await jsm.streams.info(outcomesStream)];
    },
    consumers: async () => {
      const jsm = await world.jsm();
      const found: unknown[] = [];
      for await (const info of jsm.consumers.list(namespace(world.namespace).jobsStream))
        found.push(info);
      return found;
    },
  };
  const told: Record<string, unknown> = {};
  for (const [name, ask] of Object.entries(parts))
    told[name] = await ask().catch((error: Error) => `not to be had: ${error.message}`);
  for (const { name, logFile } of world.nodes)
    told[`log of ${name}`] = tail(logFile, LOG_LINES).split('\n');
  writeFileSync(join(dir, 'stuck.json'), JSON.stringify(told, null, 1));
}

/** Every table of the namespace, a file of JSON lines for each. */
export async function dumpTables(place: Place, dir: string): Promise<void> {
  const client = new Client({ connectionString: place.databaseUrl });
  client.on('error', () => {});
  await client.connect();
  try {
    const { schema } = namespace(place.namespace);
    const { rows: tables } = await client.query<{ name: string }>(
      `SELECT tablename AS name FROM pg_tables WHERE schemaname = $1`,
      [schema],
    );
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    for (const { name } of tables) {
      const file = createWriteStream(join(dir, `${name}.jsonl`));
      await client.query(
        `DECLARE rows NO SCROLL CURSOR FOR SELECT row_to_json(t)::text AS line FROM ${schema}.${name} t`,
      );
      for (let written = 0; written < ROWS_MAX; ) {
        const { rows } = await client.query<{ line: string }>(`FETCH ${BATCH} FROM rows`);
        if (rows.length === 0) break;
        written += rows.length;
        if (!file.write(rows.map(({ line }) => `${line}\n`).join(''))) await once(file, 'drain');
      }
      await client.query('CLOSE rows');
      file.end();
      await once(file, 'finish');
    }
  } finally {
    await client.end().catch(() => {});
  }
}

/** The servers' own data is large and says nothing that the dump does not; their logs are what is read. */
export function dropServerData(serversDir: string): void {
  if (!existsSync(serversDir)) return;
  for (const server of readdirSync(serversDir))
    for (const data of ['data', 'jetstream', 'password'])
      rmSync(join(serversDir, server, data), { recursive: true, force: true, maxRetries: 3 });
}

/** Lines of a node's log at level error or above. */
export function countErrors(logFile: string): number {
  if (!existsSync(logFile)) return 0;
  return readFileSync(logFile, 'utf8')
    .split('\n')
    .filter((line) => /^\{"level":[56]0,/.test(line)).length;
}
