import type { Client } from 'pg';
import { recordsOf } from '../src/actors/chartOf.ts';
import { SHARDS } from '../src/config.ts';
import { order, ping } from '../test/support/pageActors.ts';

export interface Fill {
  actors: number;
  transitions: number;
}

/** Rows of one statement: so many that a statement is worth it, so few that one can see it get on. */
const AT_ONCE = 100_000;

/**
 * Two in a thousand failed, most are done, the rest is here and there; contexts of some 600 bytes. The order of the ids is
 * not that in which the rows lie, as with any id that is not counted up.
 */
const ACTORS = `
  INSERT INTO actor (seq, acted_seq, epoch, created_at, updated_at, shard, busy, status, type, id, version, state,
                     tags, output, error)
  SELECT $4, $4, 1, now() - n * interval '1 s', now() - (n % 100000) * interval '1 s', n % ${SHARDS}, false,
         CASE WHEN n % 1000 < 2 THEN 'error' WHEN n % 10 < 6 THEN 'done' ELSE 'active' END,
         CASE WHEN n % 4 = 0 THEN 'ping' ELSE 'order' END, 'a-' || lpad((n::int8 * 7919 % $1)::text, 9, '0') || '-' || n, '1',
         CASE WHEN n % 10 < 6 THEN '"completed"' WHEN n % 10 = 6 THEN '{"review":"waiting"}'
              WHEN n % 5000 = 7 THEN '{"review":"onHold"}' ELSE '"cart"' END,
         CASE WHEN n % 5000 = 7 THEN '["blocked"]' ELSE '[]' END, null,
         CASE WHEN n % 1000 < 2 THEN '{"name":"Error","message":"no"}' END
    FROM generate_series($2::int4, $3::int4) n`;

const HISTORY = `
  INSERT INTO transition (seq, epoch, at, actions, type, id, node_id, event_type, event_id, origin, from_state, to_state,
                          edges, event, snapshot)
  SELECT s, 1, now(), 0, CASE WHEN n % 4 = 0 THEN 'ping' ELSE 'order' END,
         'a-' || lpad((n::int8 * 7919 % $1)::text, 9, '0') || '-' || n, 'n', 'PAY', null, 'event', '"cart"', '"cart"', '[]',
         '{"type":"PAY"}',
         '{"machine":"order","version":"1","started":{},"timers":{},"snapshot":{"value":"cart","context":{"total":' || n
           || ',"text":"' || repeat('x', 500) || '"}}}'
    FROM generate_series($2::int4, $3::int4) n, generate_series(1, $4::int4) s`;

/** Every customer has 20 orders, and half of all orders are of one region. */
const FIELDS = `
  INSERT INTO searchable (field, value, type, id)
  SELECT f.field, f.value, 'order', 'a-' || lpad((n::int8 * 7919 % $1)::text, 9, '0') || '-' || n
    FROM generate_series($2::int4, $3::int4) n,
         LATERAL (VALUES ('customerId', 'c-' || n / 27), ('region', CASE WHEN n % 8 < 4 THEN 'eu' ELSE 'us' END)) f (field, value)
   WHERE n % 4 <> 0`;

/** Fills an empty namespace that is in the search path. */
export async function fill(client: Client, { actors, transitions }: Fill): Promise<void> {
  const each = Math.max(1, Math.round(transitions / actors));
  await client.query('SET synchronous_commit = off');
  for (let from = 1; from <= actors; from += AT_ONCE) {
    const range = [actors, from, Math.min(actors, from + AT_ONCE - 1)];
    await client.query(ACTORS, [...range, each]);
    await client.query(HISTORY, [...range, each]);
    await client.query(FIELDS, range);
    console.log(`${range[2]} of ${actors} actors`);
  }
  const marked = { ...order, searchable: ['customerId', 'region'] };
  // A version that nobody has yet.
  const types = [marked, ping, { ...ping, version: '2' }];
  for (const { type, version, definition } of recordsOf(types))
    await client.query('INSERT INTO machine VALUES ($1, $2, now(), $3)', [
      type,
      version,
      definition,
    ]);
  for (const table of ['actor', 'transition', 'searchable'])
    await client.query(`VACUUM ANALYZE ${table}`);
}
