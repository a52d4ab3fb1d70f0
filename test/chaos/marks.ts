import type { Sql } from '../support/cluster.ts';
import { until } from '../support/cluster.ts';

/** An actor that ticks, with the number of its last transition at some moment. */
export interface Mark {
  type: string;
  id: string;
  seq: number;
}

const columns = (marks: readonly Mark[]) => [
  marks.map(({ type }) => type),
  marks.map(({ id }) => id),
  marks.map(({ seq }) => seq),
];
const MARKS = 'unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY m(type, id, seq, n)';
const DISTANCES = 'SELECT t.at - lag(t.at) OVER (ORDER BY t.seq) AS gap FROM transition t';
/** Transitions before a mark that tell what is usual. */
const USUAL = 40;

/** The actors that tick; with `owner` only those in its shards. */
export async function readMarks(sql: Sql, owner?: string): Promise<Mark[]> {
  const rows = await sql.query<{ type: string; id: string; seq: string }>(
    `SELECT a.type, a.id, a.seq FROM current_actor a JOIN shard s USING (shard)
      WHERE a.type IN ('beat', 'work', 'player') AND a.status = 'active' AND ($1::text IS NULL OR s.owner = $1)`,
    [owner ?? null],
  );
  return rows.map((row) => ({ ...row, seq: Number(row.seq) }));
}

/**
 * For each mark how long after `atMs` its first later transition was committed, ms; with `notBy` the first one of
 * another node. Waits until all have one, or until `timeoutMs` are over: those without count as that late.
 */
export async function nextAfter(
  sql: Sql,
  marks: readonly Mark[],
  atMs: number,
  timeoutMs: number,
  notBy?: string,
): Promise<number[]> {
  let found: (number | null)[] = [];
  const look = async () => {
    const rows = await sql.query<{ at: number | null }>(
      `SELECT (extract(epoch FROM t.at) * 1000)::float8 AS at FROM ${MARKS}
         LEFT JOIN LATERAL (
           SELECT at FROM transition t
            WHERE t.type = m.type AND t.id = m.id AND t.seq > m.seq
              AND t.at >= to_timestamp($4::float8 / 1000) AND ($5::text IS NULL OR t.node_id <> $5)
            ORDER BY t.seq LIMIT 1) t ON true
        ORDER BY m.n`,
      [...columns(marks), atMs, notBy ?? null],
    );
    found = rows.map(({ at }) => at);
    return found.every((at) => at !== null);
  };
  await until('the next transition of each', look, timeoutMs).catch(() => {});
  return marks.map((_, n) => Math.round((found[n] ?? atMs + timeoutMs) - atMs));
}

/** For each mark the longest time without a transition since then, beyond the usual one, ms. */
export async function pausesSince(sql: Sql, marks: readonly Mark[]): Promise<number[]> {
  const [usual] = await sql.query<{ ms: number | null }>(
    `SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY (extract(epoch FROM gap) * 1000)::float8) AS ms
       FROM ${MARKS}, LATERAL (${DISTANCES}
         WHERE t.type = m.type AND t.id = m.id AND t.seq BETWEEN m.seq - ${USUAL} AND m.seq) gaps`,
    columns(marks),
  );
  const rows = await sql.query<{ ms: number | null }>(
    `SELECT (extract(epoch FROM t.longest) * 1000)::float8 AS ms FROM ${MARKS},
       LATERAL (SELECT max(gap) AS longest FROM (${DISTANCES}
         WHERE t.type = m.type AND t.id = m.id AND t.seq >= m.seq) gaps) t
      ORDER BY m.n`,
    columns(marks),
  );
  return rows.map(({ ms }) => Math.max(0, Math.round((ms ?? 0) - (usual?.ms ?? 0))));
}
