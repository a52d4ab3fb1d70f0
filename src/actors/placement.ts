import type { OtherNodes, ShardNeeds } from '../store/elsewhere.ts';
import type { Standing } from '../store/sharing.ts';
import { needOf, type Others } from './others.ts';
import type { Registry } from './registry.ts';
import type { Shard } from './shard.ts';

/** Shards that are shared among the same nodes. */
export interface ShardPool {
  has(shard: number): boolean;
  /** How many of them this node may own. */
  target: number;
  numbers: readonly number[];
  /** Other nodes can do what this one cannot. */
  isForOthers: boolean;
}

/**
 * Who may own what. A shard that needs something only some of the nodes can open is shared among these; all others are
 * shared among all. Each pool is shared as if there were no other, so that none flaps because of another one. Pure.
 */
export function pools(
  standing: Pick<Standing, 'needs' | 'sharing' | 'shares'>,
  shardCount: number,
  others: Pick<Others, 'sharing' | 'canDo'>,
  registry: Pick<Registry, 'opens'>,
): ShardPool[] {
  const { sharing, shares } = standing;
  const groups = others.sharing;
  const canDo = (opens: OtherNodes['opens'], needs: readonly string[]) =>
    needs.every((need) => others.canDo(opens, need));
  const special = new Map<string, { numbers: number[]; able: number; mine: boolean }>();
  for (const { shard, needs } of standing.needs) {
    const name = needs.join(' ');
    const known = special.get(name);
    if (known) {
      known.numbers.push(shard);
      continue;
    }
    const mine = shares && canDo(registry.opens, needs);
    let able = Number(mine);
    for (const group of groups) if (canDo(group.opens, needs)) able += group.sharing;
    special.set(name, { numbers: [shard], able, mine });
  }
  const found: ShardPool[] = [];
  const taken = new Set<number>();
  for (const { numbers, able, mine } of special.values()) {
    if (able === 0 || able >= sharing) continue;
    const set = new Set(numbers);
    for (const number of numbers) taken.add(number);
    const target = mine ? Math.ceil(numbers.length / able) : 0;
    found.push({ has: (shard) => set.has(shard), target, numbers, isForOthers: !mine });
  }
  const numbers = Array.from({ length: shardCount }, (_, shard) => shard).filter(
    (shard) => !taken.has(shard),
  );
  const target = shares ? Math.ceil(numbers.length / Math.max(1, sharing)) : 0;
  const common = { has: (shard: number) => !taken.has(shard), target, numbers, isForOthers: false };
  return [common, ...found];
}

/** What the owners of these shards have to open, where that has not been told lately. Pure. */
export function newNeeds(
  shards: Iterable<
    Pick<Shard, 'number' | 'epoch' | 'closed' | 'openedAt' | 'parking' | 'residents'>
  >,
  standing: Pick<Standing, 'needs'>,
  others: Pick<Others, 'sharing' | 'canDo'>,
  registry: Pick<Registry, 'opens'>,
  now: number,
): ShardNeeds[] {
  const told = new Map(standing.needs.map((row) => [row.shard, row]));
  const news: ShardNeeds[] = [];
  for (const shard of shards) {
    const { number, epoch } = shard;
    const needs = needsOf(shard, others);
    const before = told.get(number);
    const isSame = before?.needs.join() === needs.join();
    if (needs.length === 0 || shard.closed || (isSame && before?.fresh)) continue;
    // It was given here for something else: that has its turn first.
    const isOurs = before?.needs.every((need) => others.canDo(registry.opens, need));
    if (!isSame && isOurs && now - shard.openedAt < STAYS_MS) continue;
    news.push({ shard: number, epoch, needs });
  }
  return news;
}

/** A shard that was given to this node for what it can open is not given away for something else before this, ms. */
const STAYS_MS = 5_000;

/**
 * What the owner of this shard has to open: what this node cannot and another one can; failing that, what runs here and
 * others could not go on with. Empty: anybody will do.
 */
function needsOf(
  shard: Pick<Shard, 'parking' | 'residents'>,
  others: Pick<Others, 'sharing' | 'canDo'>,
): string[] {
  const groups = others.sharing;
  const can = (need: string) => (group: OtherNodes) => others.canDo(group.opens, need);
  const running = new Set<string>();
  for (const { address, type, invocations } of shard.residents.values())
    if (invocations.size > 0) running.add(needOf(address.type, type.version));
  let best: string[] = [];
  for (const { opens } of groups) {
    const done = [...shard.parking.needs].filter((need) => others.canDo(opens, need));
    if (done.length <= best.length) continue;
    const also = [...running].filter((need) => others.canDo(opens, need));
    best = [...done, ...also];
  }
  if (best.length === 0) best = [...running].filter((need) => !groups.every(can(need)));
  return [...new Set(best)].sort();
}
