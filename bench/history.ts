import { statfsSync } from 'node:fs';
import pg from 'pg';
import { namespace } from '../src/config.ts';
import type { Stage } from './stage.ts';

/** Finished flows that are copied: enough to be on every shard. */
export const TEMPLATES = 1_000;
/** Rows of one statement; a larger one would keep too much of the write-ahead log. */
const CHUNK_JOBS = 200_000;
/** What one finished flow takes with its four transitions and all indexes: 3.0 kB were measured, at 3 and at 7 million. */
const BYTES_EACH = 3_300;

export interface History {
  jobs: number;
  transitions: number;
  bytes: number;
  minutes: number;
}

/**
 * Makes a long past by SQL: rows of flows that were really run are copied under new ids, whatever columns there are, until
 * there are `jobs` of them. The log of NATS has none of them: it forgets what is an hour old anyway.
 */
export async function makeHistory(stage: Stage, dir: string, jobs: number): Promise<History> {
  const { bavail, bsize } = statfsSync(dir);
  const free = bavail * bsize;
  if (jobs * BYTES_EACH > free / 2)
    throw new Error(
      `a history of ${jobs} would take more than half of the disk that is free; at most ${Math.floor(free / 2 / BYTES_EACH)}`,
    );
  const startedAt = performance.now();
  const { schema } = namespace(stage.place.name);
  const client = new pg.Client({ connectionString: stage.place.databaseUrl });
  await client.connect();
  try {
    await client.query(`SET search_path = "${schema}"`);
    const copies = Math.ceil(jobs / TEMPLATES);
    for (const table of ['actor', 'transition']) {
      const { rows } = await client.query<{ name: string }>(
        `SELECT quote_ident(attname) AS name FROM pg_attribute
          WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''`,
        [table],
      );
      const names = rows.map(({ name }) => name);
      const values = names.map((name) => (name === 'id' ? `md5(g || id) || '-' || g` : name));
      const step = Math.max(1, Math.floor(CHUNK_JOBS / TEMPLATES));
      for (let from = 1; from < copies; from += step)
        await client.query(
          `INSERT INTO ${table} (${names.join(', ')})
           SELECT ${values.join(', ')} FROM ${table}, generate_series($1::int, $2::int) g
            WHERE type = 'flow' AND id LIKE $3`,
          [from, Math.min(from + step, copies) - 1, `${stage.place.prefix}%`],
        );
    }
    // The history is never vacuumed for its inserts (store/sql/0012).
    await client.query('VACUUM ANALYZE actor');
    await client.query('ANALYZE transition');
    await client.query('CHECKPOINT');
    const { rows } = await client.query<{ jobs: number; transitions: number; bytes: number }>(
      `SELECT (SELECT count(*) FROM actor)::float8 AS jobs, (SELECT count(*) FROM transition)::float8 AS transitions,
              pg_database_size(current_database())::float8 AS bytes`,
    );
    const made = rows[0] ?? { jobs: 0, transitions: 0, bytes: 0 };
    return { ...made, minutes: (performance.now() - startedAt) / 60_000 };
  } finally {
    await client.end();
  }
}
