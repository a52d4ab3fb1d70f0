import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Client } from 'pg';
import { recordsOf } from '../src/actors/chartOf.ts';
import { namespace, SHARDS } from '../src/config.ts';
import { startNats } from '../src/dev/natsServer.ts';
import { startPostgres } from '../src/dev/postgres.ts';
import { startInspectServer } from '../src/inspect/server.ts';
import { migrate } from '../src/store/migrate.ts';
import { order } from '../test/support/pageActors.ts';

// How long the inspector's questions take when there are many actors: `node bench/inspect.ts --actors 1000000`.

const { values } = parseArgs({
  options: {
    actors: { type: 'string', default: '200000' },
    rounds: { type: 'string', default: '20' },
  },
});
const ACTORS = Number(values.actors);
const ROUNDS = Number(values.rounds);

/** Five in a hundred failed, most are done, the rest is here and there; contexts of some 600 bytes. */
const FILL = `
  INSERT INTO actor (seq, acted_seq, epoch, created_at, updated_at, shard, busy, status, type, id, version, state,
                     tags, output, error)
  SELECT 3, 3, 1, now() - n * interval '1 s', now() - (n % 100000) * interval '1 s', n % ${SHARDS}, false,
         CASE WHEN n % 1000 < 2 THEN 'error' WHEN n % 10 < 6 THEN 'done' ELSE 'active' END,
         CASE WHEN n % 4 = 0 THEN 'ping' ELSE 'order' END, 'a-' || lpad((n::int8 * 7919 % $1)::text, 9, '0') || '-' || n, '1',
         CASE WHEN n % 10 < 6 THEN '"completed"' WHEN n % 10 = 6 THEN '{"review":"waiting"}'
              WHEN n % 5000 = 7 THEN '{"review":"onHold"}' ELSE '"cart"' END,
         CASE WHEN n % 5000 = 7 THEN '["blocked"]' ELSE '[]' END, null, CASE WHEN n % 1000 < 2 THEN '{"name":"Error","message":"no"}' END
    FROM generate_series(1, $1::int4) n`;
const HISTORY = `
  INSERT INTO transition (seq, epoch, at, actions, type, id, node_id, event_type, event_id, origin, from_state, to_state,
                          edges, event, snapshot)
  SELECT s, 1, now(), 0, a.type, a.id, 'n', 'PAY', null, 'event', '"cart"', a.state, '[]', '{"type":"PAY"}',
         '{"machine":"order","version":"1","started":{},"timers":{},"snapshot":{"value":"cart","context":{"total":' || s
           || ',"text":"' || repeat('x', 500) || '"}}}'
    FROM actor a, generate_series(1, 5) s WHERE a.shard < $1`;

const QUESTIONS: Record<string, string> = {
  overview: '/api/overview',
  'first page of all': '/api/actors',
  'first page of a type': '/api/actors?type=order',
  'page in the middle': '/api/actors?type=order&after=order%2Fa-000100000',
  'failed ones': '/api/actors?status=error',
  'failed ones of a type': '/api/actors?type=order&status=error',
  'active ones': '/api/actors?status=active',
  'in a common state': '/api/actors?type=order&state=review.waiting',
  'in a rare state': '/api/actors?type=order&state=review.onHold',
  'in a state nobody is in': '/api/actors?type=order&state=review.nowhere',
  'with a rare tag': '/api/actors?type=order&tag=blocked',
  'text in the id, rare': `/api/actors?text=-${Math.floor(ACTORS / 2) + 1}`,
  'text in the id, nobody': '/api/actors?text=nobody',
  quarantined: '/api/actors?quarantined=true',
  'not moved for a day': '/api/actors?status=active&idle=86400',
  'count of a type': '/api/count?type=order',
  'count of failed ones': '/api/count?status=error',
  'count in a rare state': '/api/count?type=order&state=review.onHold',
  population: '/api/types/order/population',
  'one actor': '/api/actors/order/ACTOR',
  'its history': '/api/actors/order/ACTOR/history',
  'one step': '/api/actors/order/ACTOR/history/3',
};

const dir = mkdtempSync(join(tmpdir(), 'perdure-bench-inspect-'));
chmodSync(dir, 0o755);
const postgres = await startPostgres({ dir: join(dir, 'postgres') });
const nats = await startNats({ dir: join(dir, 'nats') });
const client = new Client(postgres.url);
try {
  const space = namespace();
  await client.connect();
  await migrate({ client, namespace: space, shards: SHARDS });
  await client.query(`SET search_path = ${space.schema}`);
  await client.query(FILL, [ACTORS]);
  await client.query(HISTORY, [Math.max(1, Math.round((SHARDS * 200_000) / ACTORS))]);
  for (const { type, version, definition } of recordsOf([order]))
    await client.query('INSERT INTO machine VALUES ($1, $2, now(), $3)', [
      type,
      version,
      definition,
    ]);
  await client.query('VACUUM ANALYZE actor');
  await client.query('VACUUM ANALYZE transition');
  const { rows } = await client.query<{ size: string; id: string }>(
    `SELECT pg_size_pretty(pg_table_size('actor')) AS size, (SELECT id FROM actor WHERE type = 'order' AND shard = 1 LIMIT 1) AS id`,
  );
  const row = rows[0] as { size: string; id: string };
  console.log(`${ACTORS} actors, ${row.size}`);
  const server = await startInspectServer({
    databaseUrl: postgres.url,
    natsUrl: nats.url,
    namespace: space.name,
  });
  for (const [name, path] of Object.entries(QUESTIONS)) {
    const took: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const from = performance.now();
      const answer = await fetch(server.url + path.replace('ACTOR', row.id));
      const body = await answer.text();
      took.push(performance.now() - from);
      if (!answer.ok) console.log(answer.status, body);
    }
    took.sort((a, b) => a - b);
    const at = (share: number) =>
      took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? 0;
    console.log(
      `${name.padEnd(26)} p50 ${at(0.5).toFixed(1).padStart(7)} ms   p95 ${at(0.95).toFixed(1).padStart(7)} ms`,
    );
  }
  await server.close();
} finally {
  await client.end();
  await nats.stop('SIGKILL');
  await postgres.stop('SIGKILL');
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
}
