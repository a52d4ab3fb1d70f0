import { describe, expect, test } from 'vitest';
import { createMachine } from 'xstate';
import { defineActor } from '../../src/actors/define.ts';
import { Others } from '../../src/actors/others.ts';
import { Parking } from '../../src/actors/parking.ts';
import { newNeeds, pools } from '../../src/actors/placement.ts';
import { Registry } from '../../src/actors/registry.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import type { OtherNodes } from '../../src/store/elsewhere.ts';
import type { Standing } from '../../src/store/sharing.ts';

const order = (version: string, migrate: string[] = []) =>
  defineActor('order', {
    version,
    machine: createMachine({ id: 'order' }),
    migrate: Object.fromEntries(
      migrate.map((from) => [from, () => ({ value: {}, context: {} })]),
    ) as never,
  });
const ONE = new Registry([order('1')]);
const TWO = new Registry([order('2')]);
const MOVES = new Registry([order('2', ['1'])]);
const BOTH = new Registry([order('1'), order('2')]);

const group = ({ opens }: Registry, sharing = 1, alive = true): OtherNodes => ({
  opens,
  sharing,
  alive,
});

function othersOf(registry: Registry, ...groups: OtherNodes[]) {
  let now = 0;
  const clock: Clock = { ...systemClock, monotonic: () => now };
  const others = new Others(registry, clock, async () => groups);
  others.observe(groups);
  return {
    others,
    later(ms: number, ...seen: OtherNodes[]) {
      now += ms;
      others.observe(seen);
    },
  };
}

describe('a version is left to nodes that know it', () => {
  test('while one lives, and not longer', () => {
    const { others, later } = othersOf(MOVES, group(ONE));
    expect(others.keep('order', '1')).toBe(true);
    expect(others.areNotNeededFor('order', '1')).toBe(false);
    later(10);
    expect(others.areNotNeededFor('order', '1')).toBe(true);
  });

  test('and for a second after its session was seen to be gone, since it may come back', () => {
    const { others, later } = othersOf(MOVES, group(ONE));
    later(10, group(ONE, 0, false));
    expect(others.keep('order', '1')).toBe(true);
    later(900, group(ONE));
    later(900, group(ONE, 0, false));
    expect(others.keep('order', '1')).toBe(true);
    later(1_000, group(ONE, 0, false));
    expect(others.keep('order', '1')).toBe(false);
  });

  test('not to nodes that would migrate it themselves', () => {
    const { others } = othersOf(MOVES, group(MOVES));
    expect(others.keep('order', '1')).toBe(false);
    expect(others.areNotNeededFor('order', '1')).toBe(true);
  });

  test('whoever knows it itself needs nobody', () => {
    expect(othersOf(BOTH, group(ONE)).others.areNotNeededFor('order', '1')).toBe(true);
    expect(othersOf(TWO, group(ONE)).others.areNotNeededFor('order', '3')).toBe(false);
    expect(othersOf(TWO).others.areNotNeededFor('order', null)).toBe(true);
    expect(othersOf(TWO).others.areNotNeededFor('mail', null)).toBe(false);
  });

  test('what is needed can be done by who knows it, or migrates what nobody knows', () => {
    const { others } = othersOf(ONE, group(MOVES));
    expect(others.canDo(MOVES.opens, 'order@2')).toBe(true);
    expect(others.canDo(ONE.opens, 'order@2')).toBe(false);
    expect(others.canDo(MOVES.opens, 'order@1')).toBe(false);
    expect(othersOf(TWO, group(MOVES)).others.canDo(MOVES.opens, 'order@1')).toBe(true);
    expect(others.canDo(ONE.opens, 'order')).toBe(true);
    expect(others.canDo(ONE.opens, 'mail')).toBe(false);
  });
});

test('a question to the others is answered after it was asked, and many share one', async () => {
  let asked = 0;
  const clock: Clock = { ...systemClock, after: (_ms, run) => systemClock.after(0, run) };
  const others = new Others(ONE, clock, async () => {
    asked++;
    return asked > 1 ? [group(TWO)] : [];
  });
  const first = others.refresh();
  const rest = [others.refresh(), others.refresh(), others.refresh()];
  await first;
  expect(others.knowType('order')).toBe(false);
  await Promise.all(rest);
  expect(others.knowType('order')).toBe(true);
  expect(asked).toBe(2);
});

describe('pools', () => {
  const SHARDS = 64;
  const standing = (sharing: number, needs: Standing['needs'] = [], shares = true) => ({
    sharing,
    shares,
    needs,
  });
  const need = (shards: number[], ...needs: string[]) =>
    shards.map((shard) => ({ shard, needs, fresh: true }));
  const targets = (registry: Registry, groups: OtherNodes[], given: ReturnType<typeof standing>) =>
    pools(given, SHARDS, othersOf(registry, ...groups).others, registry).map(
      ({ target, isForOthers }) => (isForOthers ? -target - 1 : target),
    );

  test('nodes that open the same share everything, whatever was needed once', () => {
    expect(targets(ONE, [group(ONE, 2)], standing(3))).toEqual([22]);
    expect(targets(ONE, [group(ONE, 2)], standing(3, need([1, 2], 'order@1')))).toEqual([22]);
    expect(targets(ONE, [group(ONE, 2)], standing(3, need([1, 2], 'order@9')))).toEqual([22]);
    expect(targets(ONE, [], standing(1, [], false))).toEqual([0]);
  });

  test('what only some can open is shared among these, the rest among all', () => {
    const needs = need([3, 4, 5, 6], 'order@2');
    expect(targets(ONE, [group(TWO, 2)], standing(3, needs))).toEqual([20, -1]);
    expect(targets(TWO, [group(ONE), group(TWO)], standing(3, needs))).toEqual([20, 2]);
  });

  test('every shard is in exactly one', () => {
    const needs = [...need([3, 4], 'order@2'), ...need([9], 'order@1'), ...need([10], 'order')];
    const found = pools(standing(2, needs), SHARDS, othersOf(ONE, group(TWO)).others, ONE);
    for (let shard = 0; shard < SHARDS; shard++)
      expect(found.filter((pool) => pool.has(shard))).toHaveLength(1);
    expect(found.map(({ numbers }) => numbers.length)).toEqual([61, 2, 1]);
  });
});

describe('what a shard needs', () => {
  const shardOf = (
    others: Others,
    {
      lacks = [],
      runs = [],
      openedAt = 0,
    }: { lacks?: string[]; runs?: string[]; openedAt?: number },
  ) => {
    const parking = new Parking(others, 10);
    for (const version of lacks) parking.lacks('order', version);
    const residents = new Map(
      runs.map((version) => [
        version,
        {
          address: { type: 'order', id: 'a' },
          type: { version },
          invocations: new Map([['i', {}]]),
        },
      ]),
    );
    return { number: 1, epoch: 1, closed: false, openedAt, parking, residents: residents as never };
  };
  const told = (needs: string[], fresh = true) => [{ shard: 1, needs, fresh }];
  const needs = (
    registry: Registry,
    group1: OtherNodes,
    what: Parameters<typeof shardOf>[1],
    before: Standing['needs'] = [],
    now = 60_000,
  ) => {
    const { others } = othersOf(registry, group1);
    const found = newNeeds([shardOf(others, what)], { needs: before }, others, registry, now);
    return found[0]?.needs;
  };

  test('is what its owner cannot open and others can', () => {
    expect(needs(ONE, group(TWO), { lacks: ['2'] })).toEqual(['order@2']);
    expect(needs(ONE, group(TWO), { lacks: ['3'] })).toBeUndefined();
    expect(needs(ONE, group(TWO), {})).toBeUndefined();
  });

  test('with what runs, when the same nodes could go on with it', () => {
    expect(needs(ONE, group(BOTH), { lacks: ['2'], runs: ['1'] })).toEqual(['order@1', 'order@2']);
    expect(needs(ONE, group(TWO), { lacks: ['2'], runs: ['1'] })).toEqual(['order@2']);
  });

  test('or what runs, when others could not go on with it', () => {
    expect(needs(ONE, group(TWO), { runs: ['1'] })).toEqual(['order@1']);
    expect(needs(ONE, group(BOTH), { runs: ['1'] })).toBeUndefined();
  });

  test('is told once, again before it is forgotten, and not in the first moments of somebody’s turn', () => {
    const lacks = { lacks: ['2'] };
    expect(needs(ONE, group(TWO), lacks, told(['order@2']))).toBeUndefined();
    expect(needs(ONE, group(TWO), lacks, told(['order@2'], false))).toEqual(['order@2']);
    const justOpened = { ...lacks, openedAt: 59_000 };
    expect(needs(ONE, group(TWO), justOpened, told(['order@1']))).toBeUndefined();
    expect(needs(ONE, group(TWO), justOpened)).toEqual(['order@2']);
    expect(needs(ONE, group(TWO), lacks, told(['order@1']))).toEqual(['order@2']);
  });
});
