import { afterEach } from 'vitest';
import type { OpenedShard } from '../../src/store/sharing.ts';
import type { StoreCluster } from './storeFixtures.ts';

export const CONTRACT_SHARDS = 8;

/** Clusters for the tests of one contract; they are closed after each. */
export function storeStage(makeCluster: () => Promise<StoreCluster>) {
  let open: StoreCluster[] = [];
  afterEach(async () => {
    await Promise.all(open.map((cluster) => cluster.close()));
    open = [];
  });

  const setup = async () => {
    const cluster = await makeCluster();
    open.push(cluster);
    return cluster;
  };

  /** A cluster whose one node owns every shard. */
  const setupOwner = async () => {
    const cluster = await setup();
    const node = await cluster.node();
    const shards = await node.store.claim(node.nodeId, CONTRACT_SHARDS);
    const shard = (number: number) => shards[number] as OpenedShard;
    return { cluster, ...node, shards, shard };
  };

  return { setup, setupOwner };
}
