import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { namespace } from '../../src/config.ts';
import { purse, transfer } from '../support/actorsCrash.ts';
import { openStage, type Stage } from '../support/clusterStage.ts';
import { type Load, pingEachShard, startLoad, startPurses } from '../support/faultLoad.ts';
import { startOwnServices } from '../support/services.ts';

// Consumers that somebody deletes or pauses behind our back: nothing tells their readers, and nothing may stand still.

const STALL_MS = 3_000;

let services: Awaited<ReturnType<typeof startOwnServices>>;
let nc: NatsConnection;
let jsm: JetStreamManager;
let stage: Stage;
let load: Load;
let stream: string;

beforeAll(async () => {
  services = await startOwnServices();
  nc = await connect({ servers: services.nats.url });
  jsm = await jetstreamManager(nc);
});
afterEach(async () => {
  await stage?.close();
});
afterAll(async () => {
  await nc?.close();
  await services?.stop();
});

async function open() {
  stage = await openStage({
    databaseUrl: services.postgres.url,
    natsUrl: services.nats.url,
    file: new URL('../support/actorsFaults.ts', import.meta.url).pathname,
    env: {
      PERDURE_TEST_LIMITS: JSON.stringify({
        leaseMs: 3_000,
        leaseRenewMs: 1_000,
        stallMs: STALL_MS,
      }),
    },
  });
  stream = namespace(stage.namespace).jobsStream;
  await stage.start('n1');
  await stage.start('n2');
  await stage.shared([32, 32]);
  await startPurses(stage);
  load = startLoad(stage, 30);
  await load.flows(20);
}

async function consumers(): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of jsm.consumers.list(stream)) names.push(name);
  expect(names).toHaveLength(64);
  return names;
}

/** Everything flows again within that time, and a second time. */
async function recovers(withinMs: number): Promise<void> {
  const tookMs = [await pingEachShard(stage, withinMs), await pingEachShard(stage, withinMs)];
  console.log('until each shard has done something, ms:', tookMs);
  await load.flows(30);
  await load.settle();
}

test('a deleted consumer, under load, again and again', async () => {
  await open();
  for (let n = 0; n < 10; n++) {
    const name = (await consumers())[n * 6] as string;
    await jsm.consumers.delete(stream, name);
    await load.flows(5);
    await stage.shared([32, 32]);
    await pingEachShard(stage, 5_000);
  }
  await recovers(5_000);
});

test('all consumers deleted at once, under load', async () => {
  await open();
  const names = await consumers();
  await Promise.all(names.map((name) => jsm.consumers.delete(stream, name)));
  await recovers(10_000);
});

test('a consumer that delivers nothing any more, under load', async () => {
  await open();
  const hourMs = 3_600_000;
  for (const name of (await consumers()).slice(0, 8))
    await jsm.consumers.pause(stream, name, new Date(Date.now() + hourMs));
  // Noticed within twice that time, and opened again then.
  await recovers(2 * STALL_MS + 10_000);
});

test('a stream that somebody has purged', async () => {
  await open();
  // What is asked and not applied would be gone with it: only what comes after can be promised.
  await load.settle();
  await jsm.streams.purge(stream);
  await pingEachShard(stage, 5_000);
  expect(await stage.check({ types: [transfer, purse], quiescent: true })).toEqual([]);
});
