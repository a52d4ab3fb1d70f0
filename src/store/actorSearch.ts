import { AGES, medianAge } from './dwell.ts';
import type { Lane, Statement } from './lane.ts';
import type { ActorSearch, MachineRow, PopulationRow, SearchPage, SearchStore } from './search.ts';

/** Text as it stands in stored JSON: what does not have it need not be parsed. */
const written = (name: string) => JSON.stringify(name);

/** The conditions of a search, and their values. */
function conditionsOf(search: ActorSearch, values: unknown[], dense = false): string[] {
  const found: string[] = [];
  const put = (value: unknown) => `$${values.push(value)}`;
  const { type, status, state, tag, version, node, text, idleMs, quarantined, children } = search;
  if (type !== undefined) found.push(`type = ${put(type)}`);
  if (status !== undefined) found.push(`status = ${put(status)}`);
  // Says nothing new, and lets Postgres use the index of those that failed.
  if (status === 'error') found.push('error IS NOT NULL');
  if (version !== undefined) found.push(`version = ${put(version)}`);
  if (quarantined) found.push('quarantined_at IS NOT NULL');
  if (node !== undefined)
    found.push(`shard = ANY (ARRAY(SELECT shard FROM shard WHERE owner = ${put(node)}))`);
  if (idleMs !== undefined) found.push(`updated_at < now() - ${put(idleMs)} * interval '1 ms'`);
  if (text !== undefined) found.push(`strpos(id, ${put(text)}) > 0`);
  if (tag !== undefined)
    found.push(`strpos(tags, ${put(written(tag))}) > 0`, `tags::jsonb ? ${put(tag)}`);
  if (state !== undefined) {
    const path = state.split('.');
    const last = path.pop() as string;
    const text = `strpos(state, ${put(written(last))}) > 0`;
    const exactly = `(state::jsonb #> ${put(path)}::text[]) ? ${put(last)}`;
    // Postgres takes the operator for one that nearly nothing satisfies, and a CASE for one that half of it does.
    if (dense) found.push(`CASE WHEN ${text} THEN ${exactly} ELSE false END`);
    else found.push(text, exactly);
  }
  // A family's rows lie side by side: '/' is what comes after '.', and no id has either.
  if (typeof children === 'object')
    found.push(`id > ${put(`${children.of}.`)}`, `id < ${put(`${children.of}/`)}`);
  else if (children !== 'all') found.push(`strpos(id, '.') = 0`);
  return found;
}

/** What a search finds, one page of it. */
export function searchStatement(
  columns: string,
  search: ActorSearch,
  { after, limit, dense }: SearchPage,
): Statement {
  const values: unknown[] = [];
  const conditions = conditionsOf(search, values, dense);
  if (after)
    conditions.push(
      search.type === undefined
        ? `(type, id) > ($${values.push(after.type)}, $${values.push(after.id)})`
        : `id > $${values.push(after.id)}`,
    );
  const found = `FROM actor WHERE ${conditions.join(' AND ') || 'true'} ORDER BY type, id LIMIT $${values.push(limit)}`;
  // What only the key is asked about is found in its index alone, and few rows are read.
  if (conditions.every((condition) => /^(?:type|id|strpos\(id,|\(type, id\))/.test(condition)))
    return {
      text: `SELECT ${columns} FROM actor
              WHERE (type, id) IN (SELECT type, id ${found}) ORDER BY type, id`,
      values,
    };
  return { text: `SELECT ${columns} ${found}`, values };
}

/** The rest of `SearchStore` on Postgres. */
export class ActorCounts implements Omit<SearchStore, 'searchActors'> {
  readonly #lane: Lane;
  readonly #patienceMs: number;

  constructor(lane: Lane, patienceMs: number) {
    this.#lane = lane;
    this.#patienceMs = patienceMs;
  }

  #ask<R>(statement: Statement): Promise<R[]> {
    return this.#lane.askWithin(this.#patienceMs, statement);
  }

  async countActors(search: ActorSearch, max: number): Promise<number> {
    const values: unknown[] = [];
    const conditions = conditionsOf(search, values).join(' AND ') || 'true';
    const [row] = await this.#ask<{ count: number }>({
      text: `SELECT count(*) AS count
               FROM (SELECT FROM actor WHERE ${conditions} LIMIT $${values.push(max)}) found`,
      values,
    });
    return row?.count ?? 0;
  }

  async population(type?: string): Promise<PopulationRow[]> {
    const rows = await this.#ask<
      Omit<PopulationRow, 'state' | 'oldest_at' | 'median_at' | 'path'> & {
        state: string;
        path: string | null;
        oldest_at: Date;
        newest_at: Date;
        now: Date;
        younger: number[];
      }
    >({
      text: `SELECT type, version, status, state, path, count(*) AS count, min(updated_at) AS oldest_at,
                    max(updated_at) AS newest_at, now() AS now, ARRAY[${YOUNGER}]::int4[] AS younger
               FROM actor ${type === undefined ? '' : 'WHERE type = $1'}
              GROUP BY type, version, status, state, path
              ORDER BY type, version, path NULLS FIRST, status, state COLLATE "C" LIMIT ${POPULATION_MAX}`,
      values: type === undefined ? [] : [type],
    });
    return rows.map(({ oldest_at, newest_at, now, younger, ...row }) => {
      const age = (at: Date) => now.getTime() - at.getTime();
      const ages = { count: row.count, younger, newest: age(newest_at), oldest: age(oldest_at) };
      return {
        ...row,
        state: JSON.parse(row.state),
        path: JSON.parse(row.path ?? '[]') as string[],
        oldest_at: oldest_at.toISOString(),
        median_at: new Date(now.getTime() - medianAge(ages)).toISOString(),
      };
    });
  }

  async machine(type: string, version: string): Promise<MachineRow | undefined> {
    const [row] = await this.#ask<Omit<MachineRow, 'recorded_at'> & { recorded_at: Date }>({
      text: `SELECT type, version, recorded_at, definition FROM machine WHERE type = $1 AND version = $2`,
      values: [type, version],
    });
    return row && { ...row, recorded_at: row.recorded_at.toISOString() };
  }

  async machines(): Promise<Omit<MachineRow, 'definition'>[]> {
    const rows = await this.#ask<{ type: string; version: string; recorded_at: Date }>({
      text: `SELECT type, version, recorded_at FROM machine ORDER BY type, recorded_at DESC, version DESC`,
    });
    return rows.map((row) => ({ ...row, recorded_at: row.recorded_at.toISOString() }));
  }

  async pathOf(type: string, id: string): Promise<string[]> {
    const [row] = await this.#ask<{ path: string | null }>({
      text: `SELECT path FROM actor WHERE type = $1 AND id = $2`,
      values: [type, id],
    });
    return JSON.parse(row?.path ?? '[]') as string[];
  }
}

/** Different places actors are in, at most: states are few, but a parallel one multiplies them. */
const POPULATION_MAX = 10_000;

/** Counted in one pass, in a hash of the places: an ordered aggregate would have every actor sorted. */
const YOUNGER = AGES.map(
  (age) => `count(*) FILTER (WHERE updated_at >= now() - interval '${age / 1_000} s')`,
).join(', ');
