import { AGES, medianAge } from './dwell.ts';
import type { Lane, Statement } from './lane.ts';
import type { MachineRow, PopulationRow, SearchStore } from './search.ts';

/** The rest of `SearchStore` on Postgres. */
export class ActorCounts implements Omit<SearchStore, 'searchActors' | 'countActors'> {
  readonly #lane: Lane;
  readonly #patienceMs: number;

  constructor(lane: Lane, patienceMs: number) {
    this.#lane = lane;
    this.#patienceMs = patienceMs;
  }

  #ask<R>(statement: Statement): Promise<R[]> {
    return this.#lane.askWithin(this.#patienceMs, statement);
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
      text: `SELECT ${PLACE}, sum(count)::int8 AS count, min(oldest_at) AS oldest_at, max(newest_at) AS newest_at,
                    now() AS now, ARRAY[${AGES.map((age) => `sum(younger_${age})`)}]::int4[] AS younger
               FROM ${counted(PLACE, POPULATION, type === undefined ? 'true' : 'type = $1')}
              GROUP BY ${PLACE}
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

  async mayBeParked(versions: readonly { type: string; version: string }[]): Promise<boolean> {
    // As the view `parked`, which has to look at every actor to know the versions.
    const [row] = await this.#ask<{ found: boolean }>({
      text: `WITH live AS MATERIALIZED (
               SELECT v.node_id FROM nodes v JOIN node n USING (node_id) WHERE v.live AND n.opens IS NOT NULL),
             opened AS MATERIALIZED (
               SELECT o.node_id, o.type, o.version, o."as" FROM opens o JOIN live USING (node_id)),
             running AS MATERIALIZED (
               SELECT DISTINCT a.type, a.version, s.owner FROM actor a JOIN shard s USING (shard)
                WHERE a.busy AND a.status = 'active' AND a.quarantined_at IS NULL)
             SELECT EXISTS (SELECT FROM parked_message)
                 OR EXISTS (SELECT FROM unnest($1::text[], $2::text[]) AS v (type, version), live l
                             WHERE NOT EXISTS (SELECT FROM opened o WHERE o.node_id = l.node_id
                                                  AND o.type = v.type AND o.version = v.version))
                 OR EXISTS (SELECT FROM running r JOIN live l ON l.node_id = r.owner
                             WHERE NOT EXISTS (SELECT FROM opened o WHERE o.node_id = r.owner AND o.type = r.type
                                                  AND o.version = r.version AND o."as" = r.version)) AS found`,
      values: [versions.map(({ type }) => type), versions.map(({ version }) => version)],
    });
    return row?.found ?? true;
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

const PLACE = 'type, version, status, state, path';

/** Counted in one pass, in a hash of the places: an ordered aggregate would have every actor sorted. */
const POPULATION = `count(*) AS count, min(updated_at) AS oldest_at, max(updated_at) AS newest_at, ${AGES.map(
  (age) =>
    `count(*) FILTER (WHERE updated_at >= now() - interval '${age / 1_000} s') AS younger_${age}`,
).join(', ')}`;

/**
 * All actors where they stand, counted by `place`: those whose row says it, and those that may be further on, each for itself, so
 * that one place may come twice. To Postgres an expression has as many values as there are rows: it would sort a million
 * actors to count them by one, and work it out again wherever it is named.
 */
export const counted = (place: string, counts: string, where: string): string =>
  `(SELECT ${place}, ${counts} FROM actor WHERE NOT busy AND ${where} GROUP BY ${place}
    UNION ALL
    SELECT ${place}, ${counts}
      FROM (SELECT ${place}, updated_at FROM current_actor WHERE busy AND ${where} OFFSET 0) AS busy
     GROUP BY ${place}) AS counted`;

/** Different places actors are in, at most: states are few, but a parallel one multiplies them. */
const POPULATION_MAX = 10_000;
