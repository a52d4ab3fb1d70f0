import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { openStage, type Stage, type StageNode } from '../support/clusterStage.ts';
import { type Load, startLoad, startPurses } from '../support/faultLoad.ts';
import { type Line, type Network, openNetwork, type What } from '../support/network.ts';
import { startOwnServices } from '../support/services.ts';

// TCP connections that look open and carry nothing: nobody closes them, nobody is told (G7, G8).

let services: Awaited<ReturnType<typeof startOwnServices>>;
let network: Network;
let stage: Stage;
let load: Load;
let nodes: StageNode[];
let lines: Line[];

beforeAll(async () => {
  services = await startOwnServices();
  network = await openNetwork({
    natsUrls: [services.nats.url],
    databaseUrl: services.postgres.url,
  });
});
afterEach(async () => {
  await network.heal();
  await stage?.close();
});
afterAll(async () => {
  await network?.close();
  await services?.stop();
});

/** Two nodes on lines of their own, and a load that goes another way. */
async function open() {
  stage = await openStage({
    databaseUrl: services.postgres.url,
    natsUrl: services.nats.url,
    file: new URL('../support/actorsFaults.ts', import.meta.url).pathname,
  });
  lines = await Promise.all(['n1', 'n2'].map((name) => network.line(name)));
  nodes = [];
  for (const [n, { natsUrl, databaseUrl }] of lines.entries())
    nodes.push(await stage.start(`n${n + 1}`, { natsUrl, databaseUrl }));
  await stage.shared([32, 32]);
  await startPurses(stage);
  load = startLoad(stage, 30);
  await load.flows(20);
}

const SERVERS: [string, What][] = [
  ['Postgres', 'postgres'],
  ['NATS', 'nats'],
  ['both', 'both'],
];

test.each(SERVERS)('half-open TCP from one node to %s, under load', async (name, what) => {
  await open();
  const cutMs = Date.now();
  await lines[1]?.cut(what);
  await stage.shared([64], 20_000);
  expect((await stage.owners())[0]?.owner).toBe(nodes[0]?.nodeId);
  console.log(`${name}: the other one had taken over within ${Date.now() - cutMs} ms`);
  // More than is published meanwhile: the whole backlog, without the node that is cut off.
  await load.flows(100);
  await lines[1]?.heal();
  await stage.shared([32, 32], 20_000);
  await load.flows(50);
  await load.settle();
});

test.each(SERVERS)('half-open TCP from all nodes to %s, under load', async (name, what) => {
  await open();
  await Promise.all(lines.map((line) => line.cut(what)));
  const before = load.accepted;
  // Beyond the lease, and every deadline on the way.
  await new Promise((done) => setTimeout(done, 8_000));
  expect(load.accepted).toBeGreaterThan(before + 100);
  await network.heal();
  const healedMs = Date.now();
  await load.flows(load.accepted - before, 20_000);
  console.log(`${name}: the backlog was done within ${Date.now() - healedMs} ms`);
  await load.settle();
});
