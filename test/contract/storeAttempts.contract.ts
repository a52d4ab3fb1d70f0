import { describe, expect, test } from 'vitest';
import type { FailedAttemptWrite } from '../../src/store/elsewhere.ts';
import { actor, part, type StoreCluster, transition } from './storeFixtures.ts';
import { storeStage } from './storeStage.ts';

const failed = (id: string, attempt: number, more: Partial<FailedAttemptWrite> = {}) => ({
  ...{ type: 'order', id, startedSeq: 2, invokeId: 'charge', attempt, ranMs: 17 },
  error: JSON.stringify({ name: 'Error', message: `no ${attempt}` }),
  ...more,
});

/** What every store does with attempts of invokes that failed. */
export function storeAttemptsContract(
  name: string,
  makeCluster: () => Promise<StoreCluster>,
): void {
  const { setupOwner } = storeStage(makeCluster);

  describe(`${name}: failed attempts`, () => {
    test('stand with the transition that started the invoke, in the order in which they failed', async () => {
      const { store, nodeId, cluster, ...owner } = await setupOwner();
      const shard = owner.shard(0);
      const first = part(shard, {
        actors: [actor('a', 2), actor('b', 2)],
        transitions: [
          transition('a', 1),
          transition('a', 2),
          transition('b', 1),
          transition('b', 2),
        ],
      });
      await store.commit(nodeId, [first]);
      for (const [n, failedAttempts] of [
        [failed('a', 1), failed('b', 1, { invokeId: 'ship' })],
        [failed('a', 2), failed('a', 1, { startedSeq: 1, ranMs: 0 })],
      ].entries())
        await store.commit(nodeId, [
          part({ ...shard, commitNo: n + 1 }, { actors: [actor('a', 2)], failedAttempts }),
        ]);
      const rows = await cluster.reads.history('order', 'a', {});
      const seen = rows.map(({ failed_attempts }) =>
        failed_attempts.map(({ at: _, ...row }) => row),
      );
      const row = (attempt: number, ran_ms: number) => ({
        ...{ invoke_id: 'charge', attempt, ran_ms, node_id: nodeId },
        error: { name: 'Error', message: `no ${attempt}` },
      });
      expect(seen).toEqual([[row(1, 0)], [row(1, 17), row(2, 17)]]);
      expect(rows[1]?.failed_attempts[0]?.at).toMatch(/^\d{4}-.*Z$/);
      const [only] = await cluster.reads.history('order', 'b', { fromSeq: 2 });
      expect(only?.failed_attempts).toMatchObject([{ invoke_id: 'ship' }]);
    });

    test('of more than a hundred the first ones and the newest are kept', async () => {
      const { store, nodeId, cluster, ...owner } = await setupOwner();
      const shard = owner.shard(0);
      const actors = [actor('a', 2)];
      const transitions = [transition('a', 1), transition('a', 2)];
      await store.commit(nodeId, [part(shard, { actors, transitions })]);
      for (const [n, attempt] of [99, 100, 101, 250].entries())
        await store.commit(nodeId, [
          part({ ...shard, commitNo: n + 1 }, { actors, failedAttempts: [failed('a', attempt)] }),
        ]);
      const [, second] = await cluster.reads.history('order', 'a', {});
      expect(second?.failed_attempts.map(({ attempt, error }) => [attempt, error])).toEqual([
        [99, { name: 'Error', message: 'no 99' }],
        [250, { name: 'Error', message: 'no 250' }],
      ]);
    });

    test('are recorded once, and not at all by whoever has lost the shard', async () => {
      const { store, nodeId, cluster, ...owner } = await setupOwner();
      const shard = owner.shard(0);
      const actors = [actor('a', 2)];
      const transitions = [transition('a', 1), transition('a', 2)];
      await store.commit(nodeId, [
        part(shard, { actors, transitions, failedAttempts: [failed('a', 1)] }),
      ]);
      await store.commit(nodeId, [
        part(
          { ...shard, commitNo: 1 },
          { actors, failedAttempts: [failed('a', 1, { ranMs: 99 })] },
        ),
      ]);
      const stale = { ...shard, epoch: shard.epoch - 1, commitNo: 2 };
      const { committed } = await store.commit(nodeId, [
        part(stale, { actors, failedAttempts: [failed('a', 2)] }),
      ]);
      expect(committed.size).toBe(0);
      const [, second] = await cluster.reads.history('order', 'a', {});
      expect(second?.failed_attempts).toMatchObject([{ attempt: 1, ran_ms: 17 }]);
    });
  });
}
