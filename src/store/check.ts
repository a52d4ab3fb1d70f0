import type { Namespace } from '../config.ts';
import { isWrapped, type TextCodec, unwrap, WRAPPED_HEAD } from '../textCodec.ts';
import { counted } from './actorSearch.ts';
import type { Session } from './connection.ts';
import { checkSchema } from './migrate.ts';

type Client = Session['client'];

/** Active actors that are alike. */
export interface ActorGroup {
  type: string;
  version: string;
  /** Of machines below the root's: JSON array with one `src` for each level. */
  path: string | null;
  /** State value as JSON text. */
  state: string;
  actors: number;
}

/** What a machine waits for in the state of a group. */
export interface GroupNeeds extends Omit<ActorGroup, 'actors'> {
  /** Number of the group. */
  n: number;
  /** Ids of invokes. */
  invokes: string[];
  /** Ids of `after` timers. */
  timers: string[];
  /** Names of all logic the machine has. */
  sources: string[];
}

export interface GroupLack {
  n: number;
  /** `invoke charge`, `after xstate.after.1000.order.paying`, `logic charge`; `codec` alone when it cannot be opened. */
  lacks: string[];
  actors: number;
}

/** Events of one type that actors of one type have taken. */
export interface Received {
  type: string;
  event: string;
  times: number;
}

export interface ActorPage {
  id: string;
  seq: number;
  state: string;
  snapshot: string;
}

/**
 * Makes the session ready to look at all active actors, never holding more than a page of them. Each statement has a
 * snapshot of its own: one for all of them would keep Postgres from clearing up behind every commit for minutes.
 */
export async function lookAtActors(
  client: Client,
  namespace: Namespace,
  codec?: TextCodec,
): Promise<ActorLook> {
  await checkSchema(client, { namespace });
  await client.query('SET default_transaction_read_only = on');
  // Millions of actors take their time; whoever asked can end it.
  await client.query('SET statement_timeout = 0');
  return new ActorLook(client, codec);
}

const PAGE = 500;
const PLACE = 'type, version, path, state';

export class ActorLook {
  readonly #client: Client;
  readonly #codec: TextCodec | undefined;

  constructor(client: Client, codec: TextCodec | undefined) {
    this.#client = client;
    this.#codec = codec;
  }

  async groups(): Promise<ActorGroup[]> {
    const { rows } = await this.#client.query(
      `SELECT ${PLACE}, sum(count)::int AS actors FROM ${counted(PLACE, 'count(*)', `status = 'active'`)}
        GROUP BY ${PLACE} ORDER BY ${PLACE}`,
    );
    return rows as ActorGroup[];
  }

  /**
   * How many of each group lack something of what they should wait for. An invoke that has ended in its state stays among
   * the children, and a timer that has fired is in the history: neither is missing.
   */
  async lacking(needs: readonly GroupNeeds[]): Promise<GroupLack[]> {
    if (needs.length === 0) return [];
    const { rows } = await this.#client.query(
      `SELECT w.n, l.lacks, count(*)::int AS actors
         FROM jsonb_to_recordset($1::jsonb)
                AS w (n int, type text, version text, path text, state text, invokes jsonb, timers jsonb, sources jsonb)
         JOIN current_actor a ON a.status = 'active' AND a.type = w.type AND a.version = w.version AND a.state = w.state
                     AND a.path IS NOT DISTINCT FROM w.path
         JOIN transition n ON n.type = a.type AND n.id = a.id AND n.seq = a.seq AND NOT ${WRAPPED}
        CROSS JOIN LATERAL (SELECT ${AS_JSONB} AS e) s
        CROSS JOIN LATERAL (SELECT ARRAY(
          SELECT 'invoke ' || i FROM jsonb_array_elements_text(w.invokes) i
           WHERE NOT (s.e->'started' ? i) AND NOT (s.e->'snapshot'->'children' ? i)
          UNION ALL
          SELECT 'after ' || t FROM jsonb_array_elements_text(w.timers) t
           WHERE NOT (s.e->'timers' ? t) AND NOT EXISTS (
             SELECT FROM transition x WHERE x.type = a.type AND x.id = a.id AND x.event_type = t)
          UNION ALL
          SELECT 'logic ' || (c.value->>'src') FROM jsonb_each(s.e->'snapshot'->'children') c
           WHERE (s.e->'started' ? c.key OR s.e->'machines' ? c.key) AND NOT (w.sources ? (c.value->>'src'))) AS lacks) l
        WHERE cardinality(l.lacks) > 0 GROUP BY w.n, l.lacks ORDER BY w.n, l.lacks`,
      [JSON.stringify(needs)],
    );
    return [...(rows as GroupLack[]), ...(await this.#lackingBehindCodec(needs))];
  }

  /** The same for those Postgres cannot look into, a page at a time. */
  async #lackingBehindCodec(needs: readonly GroupNeeds[]): Promise<GroupLack[]> {
    const found = new Map<string, GroupLack>();
    for (const group of needs)
      for await (const { snapshot, fired } of this.#wrapped(group)) {
        const lacks = this.#lacksOf(group, snapshot, fired);
        if (lacks.length === 0) continue;
        const key = JSON.stringify([group.n, lacks]);
        const known = found.get(key);
        if (known) known.actors++;
        else found.set(key, { n: group.n, lacks, actors: 1 });
      }
    return [...found.values()];
  }

  async *#wrapped({
    type,
    version,
    path,
    state,
  }: GroupNeeds): AsyncGenerator<{ snapshot: string; fired: string[] }> {
    for (let last = ''; ; ) {
      const { rows } = await this.#client.query(
        `SELECT a.id, n.snapshot, ARRAY(
                  SELECT DISTINCT x.event_type FROM transition x
                   WHERE x.type = a.type AND x.id = a.id AND x.event_type LIKE 'xstate.after.%') AS fired
           FROM current_actor a JOIN transition n USING (type, id, seq)
          WHERE a.type = $1 AND a.version = $2 AND a.state = $3 AND a.status = 'active' AND a.id > $4 AND ${WRAPPED}
            AND a.path IS NOT DISTINCT FROM $5
          ORDER BY a.id LIMIT ${PAGE}`,
        [type, version, state, last, path],
      );
      yield* rows;
      if (rows.length < PAGE) return;
      last = rows.at(-1).id;
    }
  }

  #lacksOf(needs: GroupNeeds, wrapped: string, fired: readonly string[]): string[] {
    const opened = this.#open(wrapped);
    if (isWrapped(opened)) return ['codec'];
    const { started, timers, snapshot } = JSON.parse(opened) as {
      started: object;
      timers: object;
      snapshot: { children?: Record<string, { src?: string }> };
    };
    const children = snapshot.children ?? {};
    return [
      ...needs.invokes
        .filter((id) => !(id in started) && !(id in children))
        .map((id) => `invoke ${id}`),
      ...needs.timers
        .filter((id) => !(id in timers) && !fired.includes(id))
        .map((id) => `after ${id}`),
      ...Object.entries(children)
        .filter(([id, { src }]) => id in started && !needs.sources.includes(src ?? ''))
        .map(([, { src }]) => `logic ${src}`),
    ];
  }

  /** As it is recorded when it cannot be opened: whoever reads it says so. */
  #open(text: string): string {
    try {
      return unwrap(this.#codec, text);
    } catch {
      return text;
    }
  }

  /** What was sent to actors of these types, by event type, as far as history is kept. Reads all of it. */
  async received(types: readonly string[]): Promise<Received[]> {
    const { rows } = await this.#client.query(
      `SELECT type, event_type AS event, count(*)::int AS times FROM transition
        WHERE type = ANY ($1) AND origin IN ('event', 'actor') AND event_type NOT LIKE 'perdure.%'
        GROUP BY 1, 2 ORDER BY 1, 2`,
      [types],
    );
    return rows as Received[];
  }

  /** Every active actor of a version but machines that others have, a page at a time. */
  async *actors(type: string, version: string): AsyncGenerator<ActorPage> {
    for (let last = ''; ; ) {
      const { rows } = await this.#client.query(
        `SELECT id, seq::int AS seq, state, snapshot FROM current_actor JOIN transition USING (type, id, seq)
          WHERE type = $1 AND version = $2 AND path IS NULL AND status = 'active' AND id > $3 ORDER BY id LIMIT ${PAGE}`,
        [type, version, last],
      );
      for (const row of rows as ActorPage[]) yield { ...row, snapshot: this.#open(row.snapshot) };
      if (rows.length < PAGE) return;
      last = (rows.at(-1) as ActorPage).id;
    }
  }
}

const WRAPPED = `starts_with(n.snapshot, '${WRAPPED_HEAD}')`;

/** jsonb has no NUL and no lone surrogates, which are legal in JSON; nothing that is looked at contains them. */
const AS_JSONB = String.raw`regexp_replace(n.snapshot, '\\u(0000|d[89a-f][0-9a-f]{2})', '\\u0001', 'g')::jsonb`;
