import { LIST_MAX } from '../store/lists.ts';
import type { ReadStore } from '../store/read.ts';
import { VERSION } from '../version.ts';
import { illOf, viewNodes, viewShards, withLags } from './clusterView.ts';
import type { Counts } from './counts.ts';
import { LATE_MS, lateOutbox } from './lateOutbox.ts';
import type { ShardReaders } from './shardReaders.ts';

const LISTED_MAX = 1_000;
/** An active actor that has not moved for so long is shown among those a human may look at, ms. */
const STILL_MS = 86_400_000;

/** The state of everything on one page: what needs a human, what there is, who runs it. */
export async function overview(store: ReadStore, counts: Counts, readers?: Readers) {
  const [known, all] = await Promise.all([standing(store, readers), counted(counts)]);
  return { ...known, ...all };
}

type Readers = () => Promise<ShardReaders | undefined>;

/** Its part that is known at once, however many actors there are. */
export async function standing(store: ReadStore, readers: Readers = async () => undefined) {
  const [nodeRows, shardRows, reasons, quarantined, late, found] = await Promise.all([
    store.nodes(),
    store.shards(),
    store.deadLetterReasons({ pending: true }),
    store.quarantined({ limit: LISTED_MAX }),
    store.lateOutbox({ olderThanMs: LATE_MS, limit: LISTED_MAX }),
    readers(),
  ]);
  const nodes = viewNodes(nodeRows);
  const shards = withLags(viewShards(shardRows, nodeRows), found);
  const letters = reasons.reduce((sum, { count }) => sum + count, 0);
  return {
    version: VERSION,
    nodes: {
      live: nodes.filter(({ live }) => live).length,
      known: nodes.length,
      list: nodes,
    },
    shards: {
      all: shards.length,
      owned: shards.filter(({ health }) => !['free', 'orphaned'].includes(health)).length,
      ill: illOf(shards),
    },
    /** Messages of the log that wait or are not acknowledged; null when NATS could not be asked. */
    waiting: found ? shards.reduce((all, { lag }) => all + (lag ?? 0), 0) : null,
    dead_letters: {
      waiting: letters,
      /** More wait than were counted. */
      more: letters === LIST_MAX,
      reasons: Object.fromEntries(reasons.map(({ reason, count }) => [reason, count])),
    },
    quarantined: quarantined.length,
    /** What actors sent or ended with over a minute ago and has not arrived. */
    late: lateOutbox(late, LISTED_MAX, nodeRows),
  };
}

/** Its part that every actor is counted for. */
export async function counted(counts: Counts) {
  const [population, parked] = await Promise.all([counts.population(), counts.parked()]);
  const roots = population.rows.filter(({ path }) => path.length === 0);
  const before = Date.parse(population.counted_at) - STILL_MS;
  return {
    counted_at: population.counted_at,
    /** By type and state: what pages draw. */
    population: roots,
    parked,
    /** Places where an active actor has not moved for a day. */
    still: roots.filter((row) => row.status === 'active' && Date.parse(row.oldest_at) < before),
  };
}

/** That part while nothing is counted. */
export const UNCOUNTED = { counted_at: null, population: null, parked: null, still: null };
