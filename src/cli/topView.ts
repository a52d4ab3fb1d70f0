import type { PulseWord } from '../actors/pulse.ts';
import { systemClock } from '../clock.ts';
import { illOf, type NodeView, type ShardView, viewShards } from '../inspect/clusterView.ts';
import type { Counts } from '../inspect/counts.ts';
import { type Need, type NeedFacts, type NeedKind, needsOf } from '../inspect/needs.ts';
import { overview } from '../inspect/overview.ts';
import type { ReadStore } from '../store/read.ts';
import type { PopulationRow } from '../store/search.ts';
import type { NatsSide } from './natsSide.ts';
import { stateText } from './stateText.ts';

/** A status of an actor, in the order it is shown. */
export const STATUSES = ['active', 'done', 'error', 'stopped'] as const;

/** Each second. */
interface Rate {
  transitions: number;
  failed: number;
}

export interface TypeView {
  type: string;
  counts: Record<(typeof STATUSES)[number], number>;
  /** Where the active ones are, the most first. */
  states: { state: string; count: number }[];
  /** Null: NATS does not tell. */
  rate: Rate | null;
}

/** Everything at one moment. */
export interface TopView {
  /** ISO 8601. */
  at: string;
  namespace: string;
  /** When actors were counted, ISO 8601: a dear count rests for a while. */
  counted_at: string;
  rate: Rate | null;
  /** What a human should look at, the worst first, and what to ask next. */
  needs: (Pick<Need, 'count' | 'more' | 'what' | 'detail'> & { next: string })[];
  types: TypeView[];
  nodes: (Pick<
    NodeView,
    'node_id' | 'name' | 'state' | 'shards' | 'started_at' | 'lease_left_ms'
  > & {
    /** Of its shards; null: not known. */
    lag: number | null;
  })[];
  shards: {
    all: number;
    owned: number;
    lag: number | null;
    ill: Pick<ShardView, 'shard' | 'health'>[];
  };
  /** Why there is no rate and no lag. */
  trouble: string | null;
}

/** What each node has told of its last second. */
export class Rates {
  readonly #told = new Map<string, { at: number; types: PulseWord['types'] }>();

  hear({ node, types }: PulseWord): void {
    this.#told.set(node, { at: systemClock.monotonic(), types });
  }

  /** By type, over all nodes that have been heard lately. */
  get now(): Map<string, Rate> {
    const rates = new Map<string, Rate>();
    const since = systemClock.monotonic() - LATELY_MS;
    for (const { at, types } of this.#told.values()) {
      if (at < since) continue;
      for (const [type, { transitions, error }] of Object.entries(types)) {
        const rate = rates.get(type) ?? { transitions: 0, failed: 0 };
        rate.transitions += transitions;
        rate.failed += error;
        rates.set(type, rate);
      }
    }
    return rates;
  }
}

/** Nodes tell once a second; one may come late. */
const LATELY_MS = 2_500;

/** @throws PerdureError `store_unavailable` */
export async function lookAtAll(
  namespace: string,
  {
    store,
    counts,
    nats,
    rates,
  }: { store: ReadStore; counts: Counts; nats: NatsSide; rates: Rates },
): Promise<TopView> {
  const [all, shardRows] = await Promise.all([overview(store, counts), store.shards()]);
  // After the record: a shard opened again in between then has a newer reader, not none.
  const readers = await nats.readers();
  const shards = viewShards(shardRows, all.nodes.list, readers);
  const ill = illOf(shards);
  const told = rates.now;
  const known = readers !== undefined;
  const names = new Set([...all.population.map(({ type }) => type), ...told.keys()]);
  return {
    at: new Date(systemClock.now()).toISOString(),
    namespace,
    counted_at: all.counted_at,
    rate: known ? total([...told.values()]) : null,
    needs: needsIn({ ...all, shards: { ill } }),
    types: [...names].sort().map((type) => ({
      type,
      ...placesOf(all.population.filter((row) => row.type === type)),
      rate: known ? (told.get(type) ?? { transitions: 0, failed: 0 }) : null,
    })),
    nodes: all.nodes.list
      .filter(({ live, shards: owned }) => live || owned > 0)
      .map(({ node_id, name, state, shards: owned, started_at, lease_left_ms }) => ({
        ...{ node_id, name, state, shards: owned, started_at, lease_left_ms },
        lag: known ? lagOf(shards.filter(({ owner }) => owner === node_id)) : null,
      })),
    shards: {
      all: shards.length,
      owned: shards.filter(({ health }) => !['free', 'orphaned'].includes(health)).length,
      lag: known ? lagOf(shards) : null,
      ill,
    },
    trouble: nats.trouble ?? null,
  };
}

const total = (rates: readonly Rate[]): Rate => ({
  transitions: rates.reduce((all, { transitions }) => all + transitions, 0),
  failed: rates.reduce((all, { failed }) => all + failed, 0),
});

const lagOf = (shards: readonly ShardView[]): number =>
  shards.reduce((all, { lag }) => all + (lag ?? 0), 0);

const sum = (rows: readonly { count: number }[]): number =>
  rows.reduce((all, { count }) => all + count, 0);

function placesOf(rows: readonly PopulationRow[]): Pick<TypeView, 'counts' | 'states'> {
  const counts = Object.fromEntries(
    STATUSES.map((status) => [status, sum(rows.filter((row) => row.status === status))]),
  ) as TypeView['counts'];
  const places = new Map<string, number>();
  for (const { status, state, count } of rows)
    if (status === 'active')
      places.set(stateText(state), (places.get(stateText(state)) ?? 0) + count);
  const states = [...places].map(([state, count]) => ({ state, count }));
  return { counts, states: states.sort((a, b) => b.count - a.count) };
}

/** What to ask next. */
const NEXT: Readonly<Record<NeedKind, string>> = {
  no_node: 'perdure doctor',
  no_nats: 'perdure nodes',
  dead_letters: 'perdure dead ls',
  quarantined: 'perdure quarantine ls',
  parked: 'perdure ls --parked',
  shards: 'perdure shards --unhealthy',
  late: 'perdure doctor',
  failed: 'perdure ls --status error',
  still: 'perdure ls --status active',
};

function needsIn(facts: NeedFacts): TopView['needs'] {
  return needsOf(facts).map(({ kind, count, more, what, detail }) => ({
    ...{ count, more, what, detail },
    next: NEXT[kind],
  }));
}
