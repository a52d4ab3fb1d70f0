import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { openStage, type Stage } from '../support/clusterStage.ts';
import { pingEachShard, startLoad, startPurses } from '../support/faultLoad.ts';
import { type Line, type Network, openNetwork } from '../support/network.ts';
import { startOwnServices } from '../support/services.ts';

// Workers that look healthy and consume nothing any more: what people fear most of a broker that comes back (G7, G8).

/** From the moment the broker is back until every shard has done something. */
const RESUME_MS = 10_000;

let services: Awaited<ReturnType<typeof startOwnServices>>;
let network: Network;
let stage: Stage;
let lines: Line[];

beforeAll(async () => {
  services = await startOwnServices();
  network = await openNetwork({
    natsUrls: [services.nats.url],
    databaseUrl: services.postgres.url,
  });
});
afterEach(async () => {
  await stage?.close();
});
afterAll(async () => {
  await network?.close();
  await services?.stop();
});

async function open() {
  stage = await openStage({
    databaseUrl: services.postgres.url,
    natsUrl: services.nats.url,
    file: new URL('../support/actorsFaults.ts', import.meta.url).pathname,
  });
  lines = await Promise.all(['n1', 'n2'].map((name) => network.line(name)));
  for (const [n, { natsUrl, databaseUrl }] of lines.entries())
    await stage.start(`n${n + 1}`, { natsUrl, databaseUrl });
  await stage.shared([32, 32]);
  await startPurses(stage);
}

type Trouble = [what: string, make: () => Promise<void>];

const restart = async (signal: 'SIGKILL' | 'SIGTERM') => {
  await services.nats.stop(signal);
  await services.nats.start();
};
const resetAll = async () => {
  await Promise.all(lines.map((line) => line.reset('nats')));
};
const TROUBLES: Trouble[] = [
  ['kill -9 of the broker', () => restart('SIGKILL')],
  ['a restart of the broker', () => restart('SIGTERM')],
  ['a reset of every connection', resetAll],
];

test('a worker that silently stops consuming after a broker reconnect, while idle', async () => {
  await open();
  const slowest: Record<string, number> = {};
  for (let round = 1; round <= 3; round++)
    for (const [what, make] of TROUBLES) {
      await make();
      const tookMs = await pingEachShard(stage, 20_000);
      slowest[what] = Math.max(slowest[what] ?? 0, tookMs);
      expect(tookMs, `${what}, no. ${round}`).toBeLessThan(RESUME_MS);
    }
  console.log('idle, until every shard has done something, ms:', slowest);
  await startLoad(stage).settle();
});

test('a worker that silently stops consuming after a broker reconnect, under load', async () => {
  await open();
  const load = startLoad(stage, 40);
  const slowest: Record<string, number> = {};
  await load.flows(20);
  for (let round = 1; round <= 2; round++)
    for (const [what, make] of TROUBLES) {
      await make();
      const tookMs = await pingEachShard(stage, 20_000);
      slowest[what] = Math.max(slowest[what] ?? 0, tookMs);
      expect(tookMs, `${what}, no. ${round}`).toBeLessThan(RESUME_MS);
      await load.flows(10);
    }
  console.log('under load, until every shard has done something, ms:', slowest);
  await load.settle();
});
