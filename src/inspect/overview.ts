import type { ReadStore } from '../store/read.ts';
import { VERSION } from '../version.ts';
import { viewNodes, viewShards, withLags } from './clusterView.ts';
import type { Counts } from './counts.ts';
import type { ShardReaders } from './shardReaders.ts';

const LISTED_MAX = 1_000;
/** An active actor that has not moved for so long is shown among those a human may look at, ms. */
const STILL_MS = 86_400_000;

/** The state of everything on one page: what needs a human, what there is, who runs it. */
export async function overview(
  store: ReadStore,
  counts: Counts,
  readers: () => Promise<ShardReaders | undefined> = async () => undefined,
) {
  const [population, nodeRows, shardRows, letters, quarantined, parked, found] = await Promise.all([
    counts.population(),
    store.nodes(),
    store.shards(),
    store.deadLetters({ pending: true, limit: LISTED_MAX }),
    store.quarantined({ limit: LISTED_MAX }),
    counts.parked(),
    readers(),
  ]);
  const nodes = viewNodes(nodeRows);
  const shards = withLags(viewShards(shardRows, nodeRows), found);
  const reasons: Record<string, number> = {};
  for (const { reason } of letters) reasons[reason] = (reasons[reason] ?? 0) + 1;
  const roots = population.rows.filter(({ path }) => path.length === 0);
  const before = Date.parse(population.counted_at) - STILL_MS;
  return {
    version: VERSION,
    counted_at: population.counted_at,
    /** By type and state: what pages draw. */
    population: roots,
    nodes: {
      live: nodes.filter(({ live }) => live).length,
      known: nodes.length,
      list: nodes,
    },
    shards: {
      all: shards.length,
      owned: shards.filter(({ health }) => !['free', 'orphaned'].includes(health)).length,
      ill: shards
        .filter(({ health }) => health !== 'ok')
        .map(({ shard, health }) => ({ shard, health })),
    },
    /** Messages of the log that wait or are not acknowledged; null when NATS could not be asked. */
    waiting: found ? shards.reduce((all, { lag }) => all + (lag ?? 0), 0) : null,
    dead_letters: {
      waiting: letters.length,
      /** More wait than were counted. */
      more: letters.length === LISTED_MAX,
      reasons,
    },
    quarantined: quarantined.length,
    parked,
    /** Places where an active actor has not moved for a day. */
    still: roots.filter((row) => row.status === 'active' && Date.parse(row.oldest_at) < before),
  };
}
