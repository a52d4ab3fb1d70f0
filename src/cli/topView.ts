import type { FeedEntry } from '../client.ts';
import { systemClock } from '../clock.ts';
import { type NodeView, type ShardView, viewShards } from '../inspect/clusterView.ts';
import type { Counts } from '../inspect/counts.ts';
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

/** Something a human should look at, and what to ask next. */
export interface Need {
  count: number;
  what: string;
  detail: string;
  next: string;
}

/** Everything at one moment. */
export interface TopView {
  /** ISO 8601. */
  at: string;
  namespace: string;
  /** When actors were counted, ISO 8601: a dear count rests for a while. */
  counted_at: string;
  rate: Rate | null;
  needs: Need[];
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

/** Counts transitions as they are committed. */
export class Rates {
  #counts = new Map<string, Rate>();
  #since = systemClock.monotonic();

  hear({ type, status }: FeedEntry): void {
    const rate = this.#counts.get(type) ?? { transitions: 0, failed: 0 };
    rate.transitions++;
    if (status === 'error') rate.failed++;
    this.#counts.set(type, rate);
  }

  /** By type, since this was asked last. */
  take(): Map<string, Rate> {
    const now = systemClock.monotonic();
    const seconds = Math.max(0.001, (now - this.#since) / 1_000);
    const rates = [...this.#counts].map(([type, { transitions, failed }]): [string, Rate] => [
      type,
      { transitions: tenths(transitions / seconds), failed: tenths(failed / seconds) },
    ]);
    this.#counts = new Map();
    this.#since = now;
    return new Map(rates);
  }
}

const tenths = (value: number) => Math.round(value * 10) / 10;

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
  const told = rates.take();
  const known = readers !== undefined;
  const names = new Set([...all.population.map(({ type }) => type), ...told.keys()]);
  return {
    at: new Date(systemClock.now()).toISOString(),
    namespace,
    counted_at: all.counted_at,
    rate: known ? total([...told.values()]) : null,
    needs: needsOf(all, shards),
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
      ill: shards
        .filter(({ health }) => health !== 'ok')
        .map(({ shard, health }) => ({ shard, health })),
    },
    trouble: nats.trouble ?? null,
  };
}

const total = (rates: readonly Rate[]): Rate => ({
  transitions: tenths(rates.reduce((all, { transitions }) => all + transitions, 0)),
  failed: tenths(rates.reduce((all, { failed }) => all + failed, 0)),
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

/** The worst first. */
function needsOf(all: Awaited<ReturnType<typeof overview>>, shards: readonly ShardView[]): Need[] {
  const ill = shards.filter(({ health }) => health !== 'ok');
  const failed = sum(all.population.filter(({ status }) => status === 'error'));
  const { dead_letters: letters, parked, still, late } = all;
  const needs: Need[] = [
    {
      count: all.nodes.live === 0 ? 1 : 0,
      what: 'no node runs',
      detail: 'jobs are accepted and wait',
      next: 'perdure doctor',
    },
    {
      count: letters.waiting,
      what: letters.more ? 'dead letters or more' : 'dead letters',
      detail: Object.entries(letters.reasons)
        .map(([reason, count]) => `${count} ${reason}`)
        .join(', '),
      next: 'perdure dead ls',
    },
    {
      count: all.quarantined,
      what: 'in quarantine',
      detail: 'they kept ending nodes',
      next: 'perdure quarantine ls',
    },
    {
      count: parked.reduce((sums, { actors, messages }) => sums + actors + messages, 0),
      what: 'parked',
      detail: parked.map(({ type, version }) => `${type}@${version ?? '?'}`).join(', '),
      next: 'perdure ls --parked',
    },
    {
      count: ill.length,
      what: 'shards are not well',
      detail: [...new Set(ill.map(({ health }) => health))].join(', '),
      next: 'perdure shards --unhealthy',
    },
    {
      count: late.waiting,
      what: late.more ? 'messages or more are late' : 'messages are late',
      detail: late.oldest
        ? `the oldest, for ${late.oldest.of}, since ${late.oldest.since}: ${late.oldest.why}`
        : '',
      next: 'perdure doctor',
    },
    {
      count: failed,
      what: 'failed actors',
      detail: 'they have ended in an error',
      next: 'perdure ls --status error',
    },
    {
      count: sum(still),
      what: 'may be stuck',
      detail: `where one has not moved for a day: ${still.map(({ type, state }) => `${type} ${stateText(state)}`).join(', ')}`,
      next: 'perdure ls --status active',
    },
  ];
  return needs.filter(({ count }) => count > 0);
}
