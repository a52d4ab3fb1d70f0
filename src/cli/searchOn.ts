import type { ActorSummary } from '../store/read.ts';
import type { ActorSearch, SearchStore } from '../store/search.ts';
import type { Address } from '../store/store.ts';
import { interrupted } from './interrupt.ts';

const CLEAR_LINE = '\r\u001b[K';

/**
 * Goes on until there are `limit` or no actor is left to look at; at the first Ctrl-C it gives what it has.
 * `stopped`: after so many actors; null: it was not.
 */
export async function searchOn(
  store: SearchStore,
  search: ActorSearch,
  limit: number,
): Promise<{ actors: ActorSummary[]; stopped: number | null }> {
  const signal = interrupted();
  const out = process.stderr;
  const actors: ActorSummary[] = [];
  let searched = 0;
  let after: Address | null | undefined;
  try {
    do {
      const page = { limit: limit - actors.length, after };
      const found = await store.searchActors(search, page);
      actors.push(...found.actors);
      searched += found.searched;
      after = found.next;
      if (out.isTTY && after)
        out.write(`${CLEAR_LINE}${actors.length} found among ${searched} actors; Ctrl-C stops …`);
    } while (after && actors.length < limit && !signal.aborted);
  } finally {
    if (out.isTTY) out.write(CLEAR_LINE);
  }
  return { actors, stopped: after && actors.length < limit ? searched : null };
}
