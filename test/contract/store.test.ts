import { afterAll, beforeAll, expect, test } from 'vitest';
import { compressing, encrypting } from '../../examples/codec.ts';
import { createLogger } from '../../src/log.ts';
import type { OpenedShard } from '../../src/store/sharing.ts';
import { unwrappingReadStore } from '../../src/store/unwrapping.ts';
import { wrappingStore } from '../../src/store/wrapping.ts';
import type { TextCodec } from '../../src/textCodec.ts';
import { freshDatabase } from '../support/services.ts';
import { storeContract } from './store.contract.ts';
import { storeAttemptsContract } from './storeAttempts.contract.ts';
import { memoryCluster, postgresCluster } from './storeClusters.ts';
import { actor, part, type StoreCluster, timer, transition } from './storeFixtures.ts';
import { storeParkedContract } from './storeParked.contract.ts';
import { storePausedContract } from './storePaused.contract.ts';
import { storeSearchContract } from './storeSearch.contract.ts';

let database: Awaited<ReturnType<typeof freshDatabase>>;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(() => database.drop());

storeContract('memory', memoryCluster);
storeContract('postgres', () => postgresCluster(database.url));
storeParkedContract('memory', memoryCluster);
storePausedContract('memory', memoryCluster);
storeParkedContract('postgres', () => postgresCluster(database.url));
storePausedContract('postgres', () => postgresCluster(database.url));
storeSearchContract('memory', memoryCluster);
storeSearchContract('postgres', () => postgresCluster(database.url));
storeAttemptsContract('memory', memoryCluster);
storeAttemptsContract('postgres', () => postgresCluster(database.url));
storeAttemptsContract('memory, encrypted', async () => behind(AES, await memoryCluster()));

// A codec in between changes nothing that can be seen from either side.
storeContract('memory, encrypted', async () => behind(AES, await memoryCluster()));
storeContract('memory, compressed', async () => behind(compressing, await memoryCluster()));

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

const SECRET = '{"secret":1}';

// A codec never looks at the store: the memory runs above show all it does, and this that Postgres keeps what comes of it.
test.each([
  ['encrypted', AES],
  ['compressed', compressing],
])('postgres gives back what was %s, as it was', async (_, codec) => {
  const cluster = await postgresCluster(database.url);
  try {
    const { plain, shard, address } = await written(cluster, codec);
    expect((await plain.recover([shard], 1e9)).actors[0]?.snapshot).not.toBe(SECRET);
    const store = wrappingStore(plain, codec, log);
    const { actors, timers, outbox } = await store.recover([shard], 1e9);
    expect(actors).toMatchObject([{ snapshot: SECRET, output: SECRET, retries: SECRET }]);
    expect([timers, outbox]).toMatchObject([[{ event: SECRET }], [{ body: SECRET }]]);
    expect((await store.nearTimers([shard], 1e9)).timers).toEqual(timers);
    expect(await store.load([address], 10)).toMatchObject([{ snapshot: SECRET }]);
    expect(await store.transitions(address, 1, 10)).toMatchObject([
      { snapshot: SECRET, event: SECRET },
    ]);
    const reads = unwrappingReadStore(cluster.reads, codec);
    expect(await reads.actor('order', 'o-1')).toMatchObject({
      output: { secret: 1 },
      retries: { secret: 1 },
      timers: [{ event: { secret: 1 } }],
    });
    expect(await reads.history('order', 'o-1')).toMatchObject([{ event: { secret: 1 } }]);
  } finally {
    await cluster.close();
  }
});

/** A shard with something of every kind that a codec covers, written through `codec`. */
async function written(given?: StoreCluster, codec: TextCodec = AES) {
  const cluster = given ?? (await memoryCluster());
  const { nodeId, store: plain } = await cluster.node();
  const store = wrappingStore(plain, codec, log);
  const shards = await store.claim(nodeId, 1);
  const address = { type: 'order', id: 'o-1' };
  await store.commit(nodeId, [
    part(shards[0] as OpenedShard, {
      actors: [actor('o-1', 1, { busy: true, output: SECRET, retries: SECRET })],
      transitions: [transition('o-1', 1, { snapshot: SECRET, event: SECRET })],
      timersArmed: [timer('o-1', 't', { event: SECRET })],
      outboxAdded: [{ messageId: 'm', kind: 'send', ...address, body: SECRET }],
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
    part(
      { ...shard, commitNo: 1 },
      {
        actors: [actor('o-2', 1)],
        transitions: [transition('o-2', 1, { snapshot: '{"secret":2}' })],
      },
    ),
  ]);
  const [row] = await plain.load([{ type: 'order', id: 'o-2' }], 10);
  expect(row?.snapshot).toBe('{"secret":2}');
});
