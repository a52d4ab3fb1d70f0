import { describe, expect, test } from 'vitest';
import type { ShardCommit } from '../../src/store/store.ts';
import {
  actor,
  address,
  parkedMessage,
  part,
  type StoreCluster,
  timer,
  transition,
} from './storeFixtures.ts';
import { CONTRACT_SHARDS, storeStage } from './storeStage.ts';

/** What every `Store` does with actors that are paused. */
export function storePausedContract(name: string, makeCluster: () => Promise<StoreCluster>): void {
  const { setupOwner } = storeStage(makeCluster);

  const setup = async () => {
    const owner = await setupOwner();
    const { store, nodeId, shard } = owner;
    let commitNo = 0;
    /** The next commit of shard 1. */
    const commit = (more: Partial<ShardCommit>) =>
      store.commit(nodeId, [part({ ...shard(1), commitNo: commitNo++ }, more)]);
    const recovered = async () => {
      const { actors, timers } = await store.recover([1], 60_000);
      return {
        actors: actors.map(({ id }) => id).sort(),
        timers: timers.map(({ id }) => id).sort(),
      };
    };
    return { ...owner, commit, recovered };
  };
  const busy = { busy: true };

  describe(`${name}: paused actors`, () => {
    test('stay paused, since when they were, until a commit says otherwise', async () => {
      const { store, commit, cluster } = await setup();
      const pausedAt = async () => (await cluster.reads.actor('order', 'a'))?.paused_at;
      await commit({ actors: [actor('a', 1)], transitions: [transition('a', 1)] });
      expect(await pausedAt()).toBeNull();
      const { at } = await commit({ actors: [actor('a', 1, { paused: true })] });
      const since = new Date(at).toISOString();
      expect(await pausedAt()).toBe(since);
      await cluster.wait(5);
      await commit({ actors: [actor('a', 1, { paused: true, actedSeq: 0 })] });
      await commit({ actors: [actor('a', 1, { actedSeq: 1 })] });
      expect(await pausedAt()).toBe(since);
      expect(await store.load([address('a')], 0)).toMatchObject([{ paused: true, actedSeq: 1 }]);
      await commit({ actors: [actor('a', 1, { paused: false })] });
      expect(await pausedAt()).toBeNull();
      expect(await store.load([address('a')], 0)).toMatchObject([{ paused: false }]);
    });

    test('have not moved by being paused or resumed', async () => {
      const { commit, cluster } = await setup();
      const movedAt = async () => (await cluster.reads.actor('order', 'a'))?.updated_at;
      const { at } = await commit({ actors: [actor('a', 1)], transitions: [transition('a', 1)] });
      const since = new Date(at).toISOString();
      for (const paused of [true, false]) {
        await cluster.wait(5);
        await commit({ actors: [actor('a', 1, { paused })] });
        expect(await movedAt()).toBe(since);
      }
      await cluster.wait(5);
      const { at: next } = await commit({
        actors: [actor('a', 2, { paused: true })],
        transitions: [transition('a', 2)],
      });
      expect(await movedAt()).toBe(new Date(next).toISOString());
    });

    test('have not moved by being paused where their row did not follow', async () => {
      const { commit, cluster } = await setup();
      const movedAt = async () => (await cluster.reads.actor('order', 'a'))?.updated_at;
      await commit({ actors: [actor('a', 1, busy)], transitions: [transition('a', 1)] });
      await cluster.wait(5);
      const { at } = await commit({ transitions: [transition('a', 2)] });
      const since = new Date(at).toISOString();
      expect(await movedAt()).toBe(since);
      for (const paused of [true, false]) {
        await cluster.wait(5);
        await commit({ actors: [actor('a', 2, { ...busy, paused })] });
        expect(await movedAt()).toBe(since);
      }
    });

    test('are written beside others in one commit, and new ones can be', async () => {
      const { commit, cluster } = await setup();
      await commit({ actors: [actor('a', 1), actor('b', 1, { paused: true })] });
      await commit({
        actors: [
          actor('a', 1, { paused: true }),
          actor('b', 1, { paused: false }),
          actor('c', 1),
          actor('d', 1, { paused: false }),
        ],
      });
      const found = await cluster.reads.searchActors({ paused: true }, { limit: 10 });
      expect(found.actors.map(({ id }) => id)).toEqual(['a']);
      expect((await cluster.reads.countActors({ paused: true }, { limit: 10 })).count).toBe(1);
      const listed = await cluster.reads.listActors({ paused: true });
      expect(listed.map(({ id }) => id)).toEqual(['a']);
    });

    test('can be told so without their row being written otherwise', async () => {
      const { store, nodeId, commit, cluster } = await setup();
      await commit({
        actors: [actor('a', 3, { ...busy, actedSeq: 1 }), actor('b', 1)],
        transitions: [transition('a', 3), transition('b', 1)],
      });
      const [before] = await store.load([address('a')], 0);
      const { at } = await commit({ paused: [{ ...address('a'), paused: true }] });
      expect(await store.load([address('a')], 0)).toEqual([{ ...before, paused: true }]);
      await cluster.wait(5);
      const nobody = { ...address('nobody'), paused: true };
      await commit({
        actors: [actor('b', 1, { paused: true })],
        paused: [{ ...address('a'), paused: true }, nobody],
      });
      expect((await cluster.reads.actor('order', 'a'))?.paused_at).toBe(new Date(at).toISOString());
      expect((await cluster.reads.countActors({}, { limit: 10 })).count).toBe(2);
      await commit({ paused: [{ ...address('a'), paused: false }] });
      expect(await store.load([address('a')], 0)).toEqual([before]);
      const stale = { shard: 1, epoch: 7, commitNo: 4, cursor: 0 };
      await store.commit(nodeId, [part(stale, { paused: [{ ...address('a'), paused: true }] })]);
      expect(await store.load([address('a')], 0)).toEqual([before]);
    });

    test('and their families are not recovered, nor are their timers due', async () => {
      const { store, commit, recovered } = await setup();
      const timers = ['a', 'a.child-1', 'ab', 'b'].map((id) => timer(id, 't'));
      await commit({
        actors: ['a', 'a.child-1', 'ab', 'b'].map((id) => actor(id, 1, busy)),
        timersArmed: timers,
      });
      await commit({ actors: [actor('a', 1, { ...busy, paused: true })] });
      expect(await recovered()).toEqual({ actors: ['ab', 'b'], timers: ['ab', 'b'] });
      const near = await store.nearTimers([1], 60_000);
      expect(near.timers.map(({ id }) => id).sort()).toEqual(['ab', 'b']);
      await commit({ actors: [actor('a', 1, { ...busy, paused: false })] });
      const all = ['a', 'a.child-1', 'ab', 'b'];
      expect(await recovered()).toEqual({ actors: all, timers: all });
    });

    test('are told by who waits for them, and wait for no other node', async () => {
      const { store, commit, cluster } = await setup();
      await commit({
        cursor: 9,
        actors: [actor('a', 1, { paused: true }), actor('b', 1)],
        parked: [parkedMessage(8, 'a'), parkedMessage(9, 'b')],
      });
      expect((await store.recover([1], 0)).parked).toMatchObject([
        { id: 'a', paused: true, messages: 1 },
        { id: 'b', paused: false, messages: 1 },
      ]);
      expect(await cluster.reads.parked()).toMatchObject([{ messages: 1 }]);
      expect(await cluster.reads.parkedFor('order', 'a')).toMatchObject({ messages: 1 });
    });

    test('are not to blame when nodes die, and neither is what waits for them', async () => {
      const { commit, cluster, kill } = await setup();
      await commit({
        cursor: 9,
        actors: [actor('a', 1, { ...busy, paused: true }), actor('a.child-1', 1, busy)],
        parked: [parkedMessage(8, 'a')],
      });
      await commit({ actors: [actor('b', 1, busy)] });
      await kill();
      const next = await cluster.node();
      await expect.poll(() => next.store.claim(next.nodeId, CONTRACT_SHARDS)).toHaveLength(8);
      const crashes = async (id: string) =>
        (await next.store.load([address(id)], 0)).map((row) => row.crashes);
      expect(await crashes('a')).toEqual([0]);
      expect(await crashes('a.child-1')).toEqual([0]);
      expect(await crashes('b')).toEqual([1]);
      const shard = async () => (await cluster.reads.shards())[1];
      expect(await shard()).toMatchObject({ crashes: 1 });
      const row = await shard();
      const opened = { shard: 1, epoch: row?.epoch ?? 0, commitNo: row?.commit_no ?? 0, cursor: 9 };
      await next.store.commit(next.nodeId, [part(opened, { cursor: 10 })]);
      expect(await shard()).toMatchObject({ crashes: 0 });
    });

    test('are not paused by a commit that is fenced (S1)', async () => {
      const { store, nodeId, commit } = await setup();
      await commit({ actors: [actor('a', 1)] });
      const stale = { shard: 1, epoch: 7, commitNo: 1, cursor: 0 };
      await store.commit(nodeId, [part(stale, { actors: [actor('a', 1, { paused: true })] })]);
      expect(await store.load([address('a')], 0)).toMatchObject([{ paused: false }]);
    });
  });
}
