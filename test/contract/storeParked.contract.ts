import { describe, expect, test } from 'vitest';
import type { OpenedShard, OpenedVersion } from '../../src/store/sharing.ts';
import {
  actor,
  address,
  nodeInfo,
  parkedIn,
  parkedMessage,
  part,
  type StoreCluster,
  transition,
} from './storeFixtures.ts';
import { storeStage } from './storeStage.ts';

/** What every `Store` does with messages that wait for another node, and with what shards need. */
export function storeParkedContract(name: string, makeCluster: () => Promise<StoreCluster>): void {
  const { setupOwner } = storeStage(makeCluster);

  const setup = async () => {
    const owner = await setupOwner();
    const positions = async (number: number) =>
      (await owner.store.parkedMessages(number, undefined, 100)).map(({ logSeq }) => logSeq);
    return { ...owner, positions };
  };

  describe(`${name}: parked messages`, () => {
    test('are written by the commit that moves the cursor, and come back as they were', async () => {
      const { store, nodeId, shard, cluster } = await setup();
      const { at } = await store.commit(nodeId, [
        part(shard(3), {
          cursor: 9,
          actors: [actor('a', 1, { version: '2' })],
          parked: [
            parkedMessage(8, 'a', { messageId: null, headers: '{}' }),
            parkedMessage(9, 'to come', { type: 'mail', subject: 'jobs.mail.x' }),
          ],
        }),
      ]);
      const rows = await store.parkedMessages(3, undefined, 10);
      expect(rows).toEqual([
        { ...parkedMessage(8, 'a', { messageId: null, headers: '{}' }), shard: 3, epoch: 1 },
        {
          ...parkedMessage(9, 'to come', { type: 'mail', subject: 'jobs.mail.x' }),
          shard: 3,
          epoch: 1,
        },
      ]);
      const { parked } = await store.recover([3, 4], 0);
      expect(parked).toEqual([
        {
          shard: 3,
          type: 'mail',
          id: 'to come',
          version: null,
          paused: false,
          messages: 1,
          since: at,
        },
        { shard: 3, ...address('a'), version: '2', paused: false, messages: 1, since: at },
      ]);
      expect((await store.recover([4], 0)).parked).toEqual([]);
      expect((await cluster.reads.shards())[3]).toMatchObject({ cursor: 9 });
    });

    test('are read in the order of the log, page by page', async () => {
      const { store, nodeId, shard, positions } = await setup();
      await store.commit(nodeId, [
        part(shard(1), { parked: [12, 15].map((seq) => parkedMessage(seq, 'a')) }),
      ]);
      const next = part(
        { ...shard(1), commitNo: 1 },
        { parked: [16, 20, 21].map((seq) => parkedMessage(seq, 'b')) },
      );
      await store.commit(nodeId, [next]);
      expect(await positions(1)).toEqual([12, 15, 16, 20, 21]);
      const first = await store.parkedMessages(1, undefined, 2);
      const second = await store.parkedMessages(1, first.at(-1), 2);
      expect(second.map(({ logSeq }) => logSeq)).toEqual([16, 20]);
      const third = await store.parkedMessages(1, second.at(-1), 2);
      expect(third.map(({ logSeq }) => logSeq)).toEqual([21]);
      expect(await store.parkedMessages(1, third.at(-1), 2)).toEqual([]);
    });

    test('of a stream that was recreated come behind those of the one before', async () => {
      const { store, nodeId, shard } = await setup();
      await store.commit(nodeId, [part(shard(1), { parked: [parkedMessage(500, 'a')] })]);
      const [again] = await store.reclaim(nodeId, [shard(1)]);
      const newer = parkedMessage(3, 'a', { logId: 'JOBS@2027-01-01' });
      await store.commit(nodeId, [part(again as OpenedShard, { parked: [newer] })]);
      const rows = await store.parkedMessages(1, undefined, 10);
      expect(rows.map(({ logSeq }) => logSeq)).toEqual([500, 3]);
    });

    test('are there once, however often they are written', async () => {
      const { store, nodeId, shard, positions } = await setup();
      await store.commit(nodeId, [part(shard(1), { parked: [parkedMessage(5, 'a')] })]);
      const again = part({ ...shard(1), commitNo: 1 }, { parked: [parkedMessage(5, 'a')] });
      await store.commit(nodeId, [again]);
      expect(await positions(1)).toEqual([5]);
    });

    test('go with the commit that applies them, and stay when that is fenced (S1)', async () => {
      const { store, nodeId, shard, positions } = await setup();
      const parked = [5, 6].map((seq) => parkedMessage(seq, 'a'));
      await store.commit(nodeId, [part(shard(1), { parked })]);
      const done = { transitions: [transition('a', 1)], unparked: parked.slice(0, 1) };
      const stale = part({ ...shard(1), commitNo: 1, epoch: 7 }, done);
      expect((await store.commit(nodeId, [stale])).committed).toEqual(new Set());
      expect(await positions(1)).toEqual([5, 6]);
      const fencedPark = part({ ...shard(2), epoch: 7 }, { parked: [parkedMessage(9, 'b')] });
      await store.commit(nodeId, [fencedPark, part({ ...shard(1), commitNo: 1 }, done)]);
      expect(await positions(1)).toEqual([6]);
      expect(await positions(2)).toEqual([]);
      expect(await store.transitions(address('a'), 1, 10)).toHaveLength(1);
    });

    test('keep the shard under suspicion: getting on without them proves nothing', async () => {
      const { store, nodeId, shard, cluster } = await setup();
      await store.commit(nodeId, [part(shard(1), { parked: [parkedMessage(5, 'a')] })]);
      const dies = await cluster.node();
      await store.release(nodeId, [1, 2].map(shard));
      await dies.store.claim(dies.nodeId, 2);
      await dies.kill();
      await expect.poll(() => store.claim(nodeId, 2)).toHaveLength(2);
      const crashes = async () => (await cluster.reads.shards()).slice(1, 3).map((r) => r.crashes);
      expect(await crashes()).toEqual([1, 1]);
      const again = (await cluster.reads.shards()).slice(1, 3).map((row) => ({
        shard: row.shard,
        epoch: row.epoch,
        commitNo: row.commit_no,
        cursor: row.cursor,
      }));
      await store.commit(
        nodeId,
        again.map((row) => part(row, { cursor: 9 })),
      );
      expect(await crashes()).toEqual([1, 0]);
    });

    test('are shown by type and version, and for one actor, with the time', async () => {
      const { store, nodeId, shard, cluster } = await setup();
      const { at } = await store.commit(nodeId, [
        part(shard(1), {
          actors: [actor('a', 1, { version: '2' })],
          transitions: [transition('a', 1)],
          parked: [parkedMessage(5, 'a'), parkedMessage(6, 'x', { type: 'mail' })],
        }),
      ]);
      await cluster.wait(5);
      await store.commit(nodeId, [
        part({ ...shard(1), commitNo: 1 }, { parked: [parkedMessage(7, 'a')] }),
      ]);
      const since = new Date(at).toISOString();
      const opens = [{ type: 'mail', version: '1', as: '1' }];
      await store.register({ ...nodeInfo('mails'), opens }, 60_000);
      expect(await parkedIn(cluster.reads)).toEqual([
        {
          type: 'mail',
          version: null,
          actors: 0,
          waiting: 0,
          nodes: 2,
          opened_by: 2,
          messages: 1,
          since,
        },
        {
          type: 'order',
          version: '2',
          actors: 1,
          waiting: 0,
          nodes: 2,
          opened_by: 1,
          messages: 2,
          since,
        },
      ]);
      expect(await cluster.reads.parkedFor('order', 'a')).toEqual({ messages: 2, since });
      expect(await cluster.reads.actor('order', 'a')).toMatchObject({
        parked: { messages: 2, since },
      });
      expect(await cluster.reads.parkedFor('order', 'nobody')).toBeNull();
    });
  });

  describe(`${name}: what shards need`, () => {
    const opens = (version: string): OpenedVersion[] => [{ type: 'order', version, as: version }];

    test('is told by their owners, and seen by everybody', async () => {
      const { store, nodeId, shard, cluster } = await setup();
      const other = await cluster.node();
      const needsSeen = async () => (await other.store.standing(other.nodeId)).needs;
      expect(await needsSeen()).toEqual([]);
      await store.need(nodeId, [
        { ...shard(1), needs: ['order@2', 'mail'] },
        { ...shard(2), epoch: 7, needs: ['order@2'] },
      ]);
      await other.store.need(other.nodeId, [{ ...shard(3), needs: ['order@2'] }]);
      expect(await needsSeen()).toEqual([{ shard: 1, needs: ['order@2', 'mail'], fresh: true }]);
      await store.need(nodeId, [{ ...shard(1), needs: ['order@3'] }]);
      expect(await needsSeen()).toMatchObject([{ shard: 1, needs: ['order@3'] }]);
    });

    test('only the shards asked for are claimed', async () => {
      const { store, nodeId, shard, cluster } = await setup();
      await store.release(nodeId, [1, 2, 5].map(shard));
      const other = await cluster.node();
      const claim = async (max: number, among?: number[]) =>
        (await other.store.claim(other.nodeId, max, among)).map((row) => row.shard);
      expect(await claim(5, [])).toEqual([]);
      expect(await claim(5, [2, 3, 5])).toEqual([2, 5]);
      expect(await claim(5)).toEqual([1]);
    });

    test('nodes that say the same about what they open are told together; those that drain are not', async () => {
      const { store, nodeId, cluster } = await setup();
      await store.register({ ...nodeInfo('a1'), opens: opens('1') }, 60_000);
      await store.register({ ...nodeInfo('b1'), opens: opens('1') }, 60_000);
      await store.register({ ...nodeInfo('c2'), opens: opens('2') }, 60_000);
      await store.register({ ...nodeInfo('gone'), opens: opens('3') }, 1);
      await cluster.wait(20);
      const others = async (of = nodeId) =>
        (await store.standing(of)).others.toSorted((a, b) =>
          JSON.stringify(a) < JSON.stringify(b) ? -1 : 1,
        );
      expect(await others()).toEqual([
        { opens: opens('1'), alive: true, sharing: 2 },
        { opens: opens('2'), alive: true, sharing: 1 },
      ]);
      expect(await others('a1')).toMatchObject([{ sharing: 1 }, { opens: opens('2') }]);
      await store.drain('c2');
      await store.renew('a1', 60_000, false);
      expect(await others()).toEqual([{ opens: opens('1'), alive: true, sharing: 1 }]);
    });

    test('a node that is killed is told as dead while its lease runs', async () => {
      const { store, nodeId, cluster } = await setup();
      const killed = await cluster.node(60_000, 'killed', opens('2'));
      await killed.kill();
      await expect
        .poll(async () => (await store.standing(nodeId)).others)
        .toEqual([{ opens: opens('2'), alive: false, sharing: 0 }]);
    });
  });
}
