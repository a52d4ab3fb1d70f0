import { afterAll, beforeAll, expect, test } from 'vitest';
import { compressing, encrypting } from '../../examples/codec.ts';
import { createLogger } from '../../src/log.ts';
import type { OpenedShard } from '../../src/store/store.ts';
import { unwrappingReadStore } from '../../src/store/unwrapping.ts';
import { wrappingStore } from '../../src/store/wrapping.ts';
import type { TextCodec } from '../../src/textCodec.ts';
import { freshDatabase } from '../support/services.ts';
import { storeContract } from './store.contract.ts';
import { memoryCluster, postgresCluster } from './storeClusters.ts';
import { actor, part, type StoreCluster, timer, transition } from './storeFixtures.ts';
import { storeParkedContract } from './storeParked.contract.ts';

let database: Awaited<ReturnType<typeof freshDatabase>>;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(() => database.drop());

storeContract('memory', memoryCluster);
storeContract('postgres', () => postgresCluster(database.url));
storeParkedContract('memory', memoryCluster);
storeParkedContract('postgres', () => postgresCluster(database.url));

// A codec in between changes nothing that can be seen from either side.
storeContract('memory, encrypted', async () => behind(AES, await memoryCluster()));
storeContract('postgres, compressed', async () =>
  behind(compressing, await postgresCluster(database.url)),
);

const log = createLogger({ level: 'silent' });
const keyed = (byte: number) => encrypting(`k:${Buffer.alloc(32, byte).toString('base64')}`);
const AES = keyed(1);

function behind(codec: TextCodec, cluster: StoreCluster): StoreCluster {
  return {
    ...cluster,
    reads: unwrappingReadStore(cluster.reads, codec),
    node: async (...given) => {
      const node = await cluster.node(...given);
      return { ...node, store: wrappingStore(node.store, codec, log) };
    },
  };
}

/** A shard with something of every kind that a codec covers, written through `AES`. */
async function written() {
  const cluster = await memoryCluster();
  const { nodeId, store: plain } = await cluster.node();
  const store = wrappingStore(plain, AES, log);
  const shards = await store.claim(nodeId, 1);
  const secret = '{"secret":1}';
  const address = { type: 'order', id: 'o-1' };
  await store.commit(nodeId, [
    part(shards[0] as OpenedShard, {
      actors: [actor('o-1', 1, { busy: true, snapshot: secret, output: secret, retries: secret })],
      transitions: [transition('o-1', 1, { snapshot: secret, event: secret })],
      timersArmed: [timer('o-1', 't', { event: secret })],
      outboxAdded: [{ messageId: 'm', kind: 'send', ...address, body: secret }],
    }),
  ]);
  const opened = shards[0] as OpenedShard;
  return { cluster, plain, nodeId, opened, shard: opened.shard, address };
}

test('nothing a codec covers is recorded as it was', async () => {
  const { cluster, plain, shard, address } = await written();
  const recorded = [
    await plain.recover([shard], 1e9),
    await plain.transitions(address, 1, 10),
    await cluster.reads.actor('order', 'o-1'),
  ];
  expect(JSON.stringify(recorded)).not.toContain('secret');
  expect(JSON.stringify(recorded)).toContain('wrapped');
});

test.each([
  ['without the codec', undefined],
  ['with another key', keyed(2)],
])(
  '%s an actor comes as it is recorded, timers and messages stay where they are',
  async (_, codec) => {
    const { cluster, plain, shard, address } = await written();
    const store = wrappingStore(plain, codec, log);
    const { actors, timers, outbox } = await store.recover([shard], 1e9);
    expect(actors).toEqual((await plain.recover([shard], 1e9)).actors);
    expect([timers, outbox]).toEqual([[], []]);
    expect((await store.nearTimers([shard], 1e9)).timers).toEqual([]);
    await expect(store.transitions(address, 1, 10)).rejects.toMatchObject({ code: 'codec_failed' });
    const shown = await unwrappingReadStore(cluster.reads, codec).actor('order', 'o-1');
    expect(shown?.context).toMatchObject({ $perdure: 'wrapped' });
  },
);

test('a codec without `wrap` reads what there is and writes it plain', async () => {
  const { plain, address, nodeId, opened: shard } = await written();
  const { unwrap } = AES;
  const store = wrappingStore(plain, { unwrap }, log);
  const [found] = await store.load([address], 10);
  expect(found?.snapshot).toBe('{"secret":1}');
  await store.commit(nodeId, [
    part({ ...shard, commitNo: 1 }, { actors: [actor('o-2', 1, { snapshot: '{"secret":2}' })] }),
  ]);
  const [row] = await plain.load([{ type: 'order', id: 'o-2' }], 10);
  expect(row?.snapshot).toBe('{"secret":2}');
});
