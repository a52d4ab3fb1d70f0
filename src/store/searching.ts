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
  KEY_MARK,
  type Stretch,
  type StretchEnd,
  searchStatement,
} from './searchStatement.ts';
import type { Address } from './store.ts';

/** Actors of the first stretch; those after it are as long as the time allows that this one took. */
const FIRST_ROWS = 4_000;
/** A stretch takes about this long, ms: what is read may be slower than what was. */
const STRETCH_MS = 40;
/** Less is not worth a statement. */
const ROWS_MIN = 500;
const ROWS_MAX = 200_000;

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
    search: ActorSearch,
    page: SearchPage,
    summary: (row: R) => ActorSummary,
  ): Promise<Found> {
    const actors: ActorSummary[] = [];
    const reach = await this.#walk(page, async (stretch) => {
      const rows = await this.#ask<StretchEnd & (R | { type: null })>(
        searchStatement(columns, search, stretch),
      );
      const found = rows.filter(({ type }) => type !== null) as (StretchEnd & R)[];
      for (const { n: _n, last: _last, ...row } of found) actors.push(summary(row as unknown as R));
      const full = found.length >= stretch.limit ? found.at(-1) : undefined;
      return { ...reachOf(rows[0], stretch, full), found: found.length };
    });
    return { actors, ...reach };
  }

  /** Where it goes on once `limit` are counted is not known. */
  async count(search: ActorSearch, page: SearchPage): Promise<Counted> {
    let count = 0;
    const reach = await this.#walk(page, async (stretch) => {
      const [row] = await this.#ask<StretchEnd & { count: number }>(
        countStatement(search, stretch),
      );
      const found = row?.count ?? 0;
      count += found;
      return { ...reachOf(row, stretch), found };
    });
    return { count, ...reach };
  }

  async #walk(
    { after, limit, withinMs = SEARCH_MS, lookAt = Number.POSITIVE_INFINITY }: SearchPage,
    look: (stretch: Stretch) => Promise<Looked>,
  ): Promise<Reach> {
    const began = this.#clock.monotonic();
    const reach: Reach = { searched: 0, next: null };
    let rows = FIRST_ROWS;
    let left = limit;
    for (let from = after; ; ) {
      const asked = this.#clock.monotonic();
      const stretch = { after: from, rows: Math.min(rows, lookAt - reach.searched), limit: left };
      const { searched, next, found } = await look(stretch);
      const now = this.#clock.monotonic();
      reach.searched += searched;
      reach.next = next;
      left -= found;
      const ms = Math.min(STRETCH_MS, began + withinMs - now);
      rows = Math.min(Math.floor((searched / Math.max(now - asked, 1)) * ms), ROWS_MAX);
      if (!next || left <= 0 || reach.searched >= lookAt || rows < ROWS_MIN) return reach;
      from = next;
    }
  }
}

/** `full`: the last one of a page that is full. */
function reachOf(end: StretchEnd | undefined, { rows, limit }: Stretch, full?: Address): Reach {
  if (full) return { searched: limit, next: { type: full.type, id: full.id } };
  const [type, id] = end?.last?.split(KEY_MARK) ?? [];
  const isOver = !end || end.n < rows || type === undefined || id === undefined;
  return { searched: end?.n ?? 0, next: isOver ? null : { type, id } };
}
