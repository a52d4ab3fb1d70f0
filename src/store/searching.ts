import type { Clock } from '../clock.ts';
import type { Statement } from './lane.ts';
import type { ActorSummary } from './read.ts';
import {
  type ActorSearch,
  type Counted,
  type Found,
  type Reach,
  SEARCH_MS,
  type SearchPage,
} from './search.ts';
import {
  countStatement,
  fieldsStatement,
  KEY_MARK,
  type Stretch,
  type StretchEnd,
  searchStatement,
} from './searchStatement.ts';
import type { Address } from './store.ts';

/** Actors of the first stretch: few, since they may have to come from the disk. */
const FIRST_ROWS = 1_000;
/** Those of the next one are as many as this time allows, ms, going by the one before: it may be slower. */
const STRETCH_MS = 25;
/** Longer than the one before by this factor at most. */
const GROWTH = 4;
/** Less is not worth a statement. */
const ROWS_MIN = 300;
/** A value that so many have is as good as one that all have. */
const COUNTED_MAX = 1_000;

/** What one stretch gave. */
interface Looked extends Reach {
  /** Those that match. */
  found: number;
}

/** Looks at one stretch of actors after the other, for as long as there is time. */
export class ActorSearches {
  readonly #ask: <R>(statement: Statement) => Promise<R[]>;
  readonly #clock: Clock;

  constructor(ask: <R>(statement: Statement) => Promise<R[]>, clock: Clock) {
    this.#ask = ask;
    this.#clock = clock;
  }

  async search<R extends Address>(
    columns: readonly string[],
    given: ActorSearch,
    page: SearchPage,
    summary: (row: R) => ActorSummary,
  ): Promise<Found> {
    const search = await this.#rarestFirst(given);
    const actors: ActorSummary[] = [];
    const reach = await this.#walk(page, async (stretch) => {
      const rows = await this.#ask<StretchEnd & (R | { type: null })>(
        searchStatement(columns, search, stretch),
      );
      const found = rows.filter(({ type }) => type !== null) as (StretchEnd & R)[];
      for (const { n: _n, last: _last, ...row } of found) actors.push(summary(row as unknown as R));
      const full = found.length >= stretch.limit ? found.at(-1) : undefined;
      return full ? fullAt(full, stretch) : { ...reachOf(rows[0], stretch), found: found.length };
    });
    return { actors, ...reach };
  }

  async count(given: ActorSearch, page: SearchPage): Promise<Counted> {
    const search = await this.#rarestFirst(given);
    let count = 0;
    const reach = await this.#walk(page, async (stretch) => {
      const [row] = await this.#ask<StretchEnd & { count: number; full: string | null }>(
        countStatement(search, stretch),
      );
      const found = row?.count ?? 0;
      count += found;
      const full = found >= stretch.limit ? keyOf(row?.full) : undefined;
      return full ? fullAt(full, stretch) : { ...reachOf(row, stretch), found };
    });
    return { count, ...reach };
  }

  /** What is looked at are the actors that have the first field's value. */
  async #rarestFirst(search: ActorSearch): Promise<ActorSearch> {
    const fields = Object.entries(search.fields ?? {});
    if (fields.length < 2) return search;
    const counts = await this.#ask<{ count: number }>(fieldsStatement(fields, COUNTED_MAX));
    const least = counts
      .map(({ count }) => count)
      .indexOf(Math.min(...counts.map((one) => one.count)));
    const first = fields.splice(Math.max(least, 0), 1);
    return { ...search, fields: Object.fromEntries([...first, ...fields]) };
  }

  async #walk(
    { after, limit, withinMs = SEARCH_MS, lookAt = Number.POSITIVE_INFINITY }: SearchPage,
    look: (stretch: Stretch) => Promise<Looked>,
  ): Promise<Reach> {
    const began = this.#clock.monotonic();
    const reach: Reach = { searched: 0, next: null };
    let rows = FIRST_ROWS;
    let left = limit;
    for (let from = after ?? undefined; ; ) {
      const asked = this.#clock.monotonic();
      const stretch = { after: from, rows: Math.min(rows, lookAt - reach.searched), limit: left };
      const { searched, next, found } = await look(stretch);
      const now = this.#clock.monotonic();
      reach.searched += searched;
      reach.next = next;
      left -= found;
      const ms = Math.min(STRETCH_MS, began + withinMs - now);
      const perMs = searched / Math.max(now - asked, 1);
      rows = Math.floor(Math.min(perMs * ms, searched * GROWTH));
      if (!next || left <= 0 || reach.searched >= lookAt || rows < ROWS_MIN) return reach;
      from = next;
    }
  }
}

const keyOf = (text: string | null | undefined): Address | undefined => {
  const [type, id] = text?.split(KEY_MARK) ?? [];
  return type === undefined || id === undefined ? undefined : { type, id };
};

/** As many as were wanted are found, the last of them this one. */
const fullAt = ({ type, id }: Address, { limit }: Stretch): Looked => ({
  searched: limit,
  next: { type, id },
  found: limit,
});

/** The stretch has been looked at to its end. */
function reachOf(end: StretchEnd | undefined, { rows }: Stretch): Reach {
  const last = keyOf(end?.last);
  return { searched: end?.n ?? 0, next: !end || end.n < rows || !last ? null : last };
}
