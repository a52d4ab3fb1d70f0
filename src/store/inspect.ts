import type { Clock } from '../clock.ts';
import { ActorCounts } from './actorSearch.ts';
import type { Lane, Statement } from './lane.ts';
import type { LetterFilter } from './letters.ts';
import { LIST_MAX, listLimit } from './lists.ts';
import { PostgresLetters } from './postgresLetters.ts';
import type {
  ActorDetail,
  ActorFilter,
  ActorSummary,
  FailedAttemptRow,
  HistoryRow,
  LateRow,
  NodeRow,
  ParkedFor,
  ParkedRow,
  QuarantinedRow,
  ReadStore,
  ShardRow,
} from './read.ts';
import type { ActorSearch, Counted, Found, SearchPage } from './search.ts';
import { ActorSearches } from './searching.ts';
import { eventFromStore } from './timerEvents.ts';

/** A question waits this long for Postgres, ms. */
const PATIENCE_MS = 10_000;

/** Stored JSON text as a value; null stays null. */
export const parsed = (json: string | null): unknown => (json === null ? null : JSON.parse(json));

/** The context inside an envelope, as stored. */
export function contextOf(envelope: string): unknown {
  const value = JSON.parse(envelope) as { snapshot?: { context?: unknown } } | null;
  return value?.snapshot?.context ?? null;
}

interface DetailRow extends SummaryRow {
  snapshot: string;
  retries: string | null;
  crashes: number;
  quarantined_at: Date | null;
}

interface SummaryRow {
  type: string;
  id: string;
  status: string;
  state: string;
  version: string;
  seq: number;
  shard: number;
  epoch: number;
  tags: string;
  output: string | null;
  error: string | null;
  created_at: Date;
  updated_at: Date;
  paused_at: Date | null;
}

const SUMMARY = `type, id, status, state, version, seq, shard, epoch, tags, output, error, created_at, updated_at, paused_at`;

const summary = (row: SummaryRow): ActorSummary => ({
  ...row,
  state: parsed(row.state),
  tags: JSON.parse(row.tags) as string[],
  output: parsed(row.output),
  error: parsed(row.error),
  created_at: row.created_at.toISOString(),
  updated_at: row.updated_at.toISOString(),
  paused_at: row.paused_at?.toISOString() ?? null,
});

/** A family's rows lie side by side: '/' is what comes after '.', and no id has either. */
function listed(children: ActorFilter['children']): string {
  if (children === 'all') return 'true';
  return children ? `id > $6 || '.' AND id < $6 || '/'` : `strpos(id, '.') = 0`;
}

/** Reads on connections of their own, so that no inspector can slow the engine down. */
export class PostgresReadStore implements ReadStore {
  readonly #lane: Lane;
  readonly #counts: ActorCounts;
  readonly #searches: ActorSearches;
  readonly #letters: PostgresLetters;

  constructor(lane: Lane, clock: Clock) {
    this.#lane = lane;
    this.#counts = new ActorCounts(lane, PATIENCE_MS);
    this.#searches = new ActorSearches((statement) => this.#ask(statement), clock);
    this.#letters = new PostgresLetters((statement) => this.#ask(statement));
  }

  #ask<R>(statement: Statement): Promise<R[]> {
    return this.#lane.askWithin(PATIENCE_MS, statement);
  }

  async listActors(filter: ActorFilter): Promise<ActorSummary[]> {
    const path = filter.state?.split('.');
    const rows = await this.#ask<SummaryRow>({
      // The state value at the path but its last part is that part, or an object that has it as a key.
      text: `SELECT ${SUMMARY} FROM current_actor
              WHERE ($1::text IS NULL OR type = $1) AND ($2::text IS NULL OR status = $2)
                AND ($4::text IS NULL OR (state::jsonb #> $3::text[]) ? $4)
                AND ${listed(filter.children)}${filter.paused ? ' AND paused_at IS NOT NULL' : ''}
              ORDER BY updated_at DESC, type, id LIMIT $5`,
      values: [
        filter.type ?? null,
        filter.status ?? null,
        path?.slice(0, -1) ?? null,
        path?.at(-1) ?? null,
        listLimit(filter.limit),
        ...(typeof filter.children === 'object' ? [filter.children.of] : []),
      ],
    });
    return rows.map(summary);
  }

  searchActors = (search: ActorSearch, page: SearchPage): Promise<Found> =>
    this.#searches.search<SummaryRow>(SUMMARY.split(', '), search, page, summary);
  countActors = (search: ActorSearch, page: SearchPage): Promise<Counted> =>
    this.#searches.count(search, page);
  population = (type?: string) => this.#counts.population(type);
  mayBeParked = (versions: readonly { type: string; version: string }[]) =>
    this.#counts.mayBeParked(versions);
  machine = (type: string, version: string) => this.#counts.machine(type, version);
  machines = () => this.#counts.machines();
  pathOf = (type: string, id: string) => this.#counts.pathOf(type, id);

  async actor(type: string, id: string): Promise<ActorDetail | undefined> {
    const [row] = await this.#ask<DetailRow>({
      text: `SELECT ${SUMMARY}, retries, crashes, quarantined_at,
                    (SELECT t.snapshot FROM transition t WHERE t.type = $1 AND t.id = $2 AND t.seq = a.seq) AS snapshot
               FROM current_actor a WHERE type = $1 AND id = $2`,
      values: [type, id],
    });
    if (!row) return undefined;
    const timers = await this.#ask<{ timer_id: string; fire_at: Date; event: string }>({
      text: `SELECT timer_id, fire_at, event FROM timer WHERE type = $1 AND id = $2 ORDER BY fire_at, timer_id`,
      values: [type, id],
    });
    const [sent] = await this.#ask<{ count: number }>({
      text: `SELECT count(*) AS count FROM outbox WHERE type = $1 AND id = $2 AND kind = 'send'`,
      values: [type, id],
    });
    const { snapshot, retries, crashes, quarantined_at, ...rest } = row;
    return {
      ...summary(rest),
      context: contextOf(snapshot),
      snapshot,
      retries: parsed(retries),
      crashes,
      quarantined_at: quarantined_at?.toISOString() ?? null,
      parked: await this.parkedFor(type, id),
      outbox: sent?.count ?? 0,
      timers: timers.map((timer) => ({
        timer_id: timer.timer_id,
        fire_at: timer.fire_at.toISOString(),
        event: parsed(eventFromStore(timer.timer_id, timer.event)),
      })),
    };
  }

  async history(
    type: string,
    id: string,
    options: { fromSeq?: number; limit?: number } = {},
  ): Promise<HistoryRow[]> {
    const rows = await this.#ask<
      Omit<HistoryRow, 'event' | 'from_state' | 'to_state' | 'edges' | 'at' | 'failed_attempts'> & {
        event: string;
        from_state: string | null;
        to_state: string;
        edges: string;
        at: Date;
      }
    >({
      text: `SELECT seq, epoch, node_id, event_type, event, event_id, origin, from_state, to_state, edges, actions, at, snapshot
               FROM transition WHERE type = $1 AND id = $2 AND seq >= $3 ORDER BY seq LIMIT $4`,
      values: [type, id, options.fromSeq ?? 1, listLimit(options.limit)],
    });
    const failed = await this.#failedAttempts(type, id, rows[0]?.seq, rows.at(-1)?.seq);
    return rows.map((row) => ({
      ...row,
      event: parsed(row.event),
      from_state: parsed(row.from_state),
      to_state: parsed(row.to_state),
      edges: JSON.parse(row.edges) as string[],
      at: row.at.toISOString(),
      failed_attempts: failed.get(row.seq) ?? [],
    }));
  }

  /** By the transition that started the invoke. */
  async #failedAttempts(
    type: string,
    id: string,
    from?: number,
    to?: number,
  ): Promise<Map<number, FailedAttemptRow[]>> {
    if (from === undefined || to === undefined) return new Map();
    const rows = await this.#ask<
      Omit<FailedAttemptRow, 'at' | 'error'> & { started_seq: number; at: Date; error: string }
    >({
      text: `SELECT started_seq, invoke_id, attempt, at, ran_ms, node_id, error FROM failed_attempt
              WHERE type = $1 AND id = $2 AND started_seq BETWEEN $3 AND $4
              ORDER BY started_seq, at, invoke_id, attempt LIMIT $5`,
      values: [type, id, from, to, LIST_MAX],
    });
    const found = new Map<number, FailedAttemptRow[]>();
    for (const { started_seq, ...row } of rows) {
      const those = found.get(started_seq) ?? [];
      those.push({ ...row, at: row.at.toISOString(), error: parsed(row.error) });
      found.set(started_seq, those);
    }
    return found;
  }

  deadLetters = (filter: LetterFilter) => this.#letters.list(filter);
  deadLetterReasons = (filter: Pick<LetterFilter, 'pending'>) => this.#letters.reasons(filter);
  deadLetter = (deadLetterId: string) => this.#letters.one(deadLetterId);
  markRedriven = (deadLetterId: string) => this.#letters.markRedriven(deadLetterId);

  counts(): Promise<{ type: string; status: string; count: number }[]> {
    return this.#ask({
      text: `SELECT type, status, count(*) AS count FROM actor GROUP BY type, status ORDER BY type, status`,
    });
  }

  async lateOutbox(filter: { olderThanMs: number; limit?: number }): Promise<LateRow[]> {
    // By shard, as the index has it: after an outage there may be any number of rows.
    const rows = await this.#ask<Omit<LateRow, 'created_at'> & { created_at: Date }>({
      text: `SELECT late.* FROM shard s CROSS JOIN LATERAL (
               SELECT o.message_id, o.kind, o.type, o.id, o.shard, o.created_at FROM outbox o
                WHERE o.shard = s.shard AND o.created_at < now() - $1::int8 * interval '1 ms'
                ORDER BY o.created_at LIMIT $2::int4) AS late
              ORDER BY late.created_at, late.message_id LIMIT $2::int4`,
      values: [Math.floor(filter.olderThanMs), listLimit(filter.limit)],
    });
    return rows.map((row) => ({ ...row, created_at: row.created_at.toISOString() }));
  }

  async shards(): Promise<ShardRow[]> {
    const rows = await this.#ask<
      Omit<ShardRow, 'opened_at' | 'owned_since'> & {
        opened_at: Date | null;
        owned_since: Date | null;
      }
    >({
      text: `SELECT shard, owner, epoch, cursor, commit_no, opened_at, owned_since, crashes, suspect_seq
               FROM shard ORDER BY shard`,
    });
    return rows.map((row) => ({
      ...row,
      opened_at: row.opened_at?.toISOString() ?? null,
      owned_since: row.owned_since?.toISOString() ?? null,
    }));
  }

  async nodes(): Promise<NodeRow[]> {
    const rows = await this.#ask<
      Omit<NodeRow, 'started_at' | 'expires_at'> & { started_at: Date; expires_at: Date }
    >({
      text: `SELECT node_id, name, host, pid, version, started_at, expires_at,
                    round(extract(epoch FROM expires_at - now()) * 1000)::int8 AS lease_left_ms,
                    live, shards, draining, nats_ok, refused_commits
               FROM nodes ORDER BY started_at, node_id`,
    });
    return rows.map((row) => ({
      ...row,
      started_at: row.started_at.toISOString(),
      expires_at: row.expires_at.toISOString(),
    }));
  }

  async quarantined(filter: { limit?: number } = {}): Promise<QuarantinedRow[]> {
    const rows = await this.#ask<
      Omit<QuarantinedRow, 'state' | 'quarantined_at'> & { state: string; quarantined_at: Date }
    >({
      text: `SELECT type, id, state, version, seq, shard, crashes, quarantined_at
               FROM current_actor WHERE quarantined_at IS NOT NULL
              ORDER BY quarantined_at DESC, type, id LIMIT $1`,
      values: [listLimit(filter.limit)],
    });
    return rows.map((row) => ({
      ...row,
      state: parsed(row.state),
      quarantined_at: row.quarantined_at.toISOString(),
    }));
  }

  async parked(filter: { type?: string } = {}): Promise<ParkedRow[]> {
    const rows = await this.#ask<Omit<ParkedRow, 'since'> & { since: Date | null }>({
      text: `SELECT type, version, actors, waiting, nodes, opened_by, messages, since FROM parked
              WHERE $1::text IS NULL OR type = $1 ORDER BY type, version`,
      values: [filter.type ?? null],
    });
    return rows.map((row) => ({ ...row, since: row.since?.toISOString() ?? null }));
  }

  async parkedFor(type: string, id: string): Promise<ParkedFor | null> {
    const [row] = await this.#ask<{ messages: number; since: Date | null }>({
      text: `SELECT count(*) AS messages, min(parked_at) AS since FROM parked_message WHERE type = $1 AND id = $2`,
      values: [type, id],
    });
    return row?.since ? { messages: row.messages, since: row.since.toISOString() } : null;
  }

  close(): Promise<void> {
    return this.#lane.close(1_000);
  }
}
