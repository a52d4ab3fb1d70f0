import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { afterEach, expect, test } from 'vitest';
import { startNats } from '../../src/dev/natsServer.ts';
import { startPostgres } from '../../src/dev/postgres.ts';
import { haul } from '../support/actorsCluster.ts';
import { pause } from '../support/cluster.ts';
import { openStage, type Stage, startHauls } from '../support/clusterStage.ts';
import { startLoad, startPurses } from '../support/faultLoad.ts';
import { type ServeProcess, spawnServe } from '../support/serveProcess.ts';
import { eventually } from '../support/services.ts';
import { openSmallDisk, type SmallDisk } from '../support/smallDisk.ts';

// No room is left on the disk of Postgres, or of NATS: refused and said, and nothing lost once there is room (G1, G10).

const FILE = new URL('../support/actorsFaults.ts', import.meta.url).pathname;

let disk: SmallDisk;
let stage: Stage;
let nodes: ServeProcess[];
const undo: (() => Promise<unknown> | unknown)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

async function open(where: 'postgres' | 'nats', megabytes: number) {
  disk = openSmallDisk(megabytes);
  undo.push(() => disk.close());
  const roomy = openSmallDisk(512);
  undo.push(() => roomy.close());
  const dirs = {
    postgres: `${roomy.dir}/postgres`,
    nats: `${roomy.dir}/nats`,
    [where]: `${disk.dir}/server`,
  };
  let postgres = await startPostgres({ dir: dirs.postgres });
  undo.push(() => postgres.stop('SIGKILL'));
  let nats = await startNats({ dir: dirs.nats });
  undo.push(() => nats.stop('SIGKILL'));
  stage = await openStage({ databaseUrl: postgres.url, natsUrl: nats.url, file: FILE });
  undo.push(() => stage.close());
  const env = { PERDURE_TEST_DIR: stage.dir };
  nodes = await Promise.all(
    ['n1', 'n2'].map((name) => spawnServe({ ...stage, name, file: FILE, env })),
  );
  undo.push(async () => {
    for (const node of nodes) node.process.kill('SIGKILL');
    await Promise.all(nodes.map(({ exited }) => exited));
  });
  await stage.shared([32, 32]);
  await startPurses(stage);
  let ended = false;
  void postgres.exited.then(() => {
    ended = true;
  });
  return {
    /** What an operator does when it could not stand it. */
    async restart() {
      if (where === 'nats') {
        await nats.stop();
        nats = await startNats({ dir: dirs.nats, port: nats.port });
      } else if (ended) postgres = await startPostgres({ dir: dirs.postgres, port: postgres.port });
    },
  };
}

/** What the node says of the server while it is of no use. */
async function saysOf(node: ServeProcess, server: 'postgres' | 'nats', words: RegExp) {
  await eventually(
    async () => {
      const readiness = await node.readyz();
      const { ok, lastError } = readiness?.parts[server] ?? {};
      if (ok === false && words.test(lastError ?? '')) return true;
      throw new Error(JSON.stringify(readiness));
    },
    { what: `readiness says that ${server} is of no use`, timeoutMs: 20_000 },
  );
  expect(node.stderr()).toMatch(words);
  expect(await node.livez()).toBe(200);
}

test('a full disk under Postgres, under load', async () => {
  const server = await open('postgres', 192);
  const load = startLoad(stage, 30);
  await load.flows(20);
  disk.fill();
  const before = load.accepted;
  await Promise.all(nodes.map((node) => saysOf(node, 'postgres', /No space left on device/)));
  await pause(5_000);
  // What is asked for meanwhile is accepted all the same.
  expect(load.accepted).toBeGreaterThan(before + 100);
  expect([...load.refusals]).toEqual([]);
  disk.free();
  await server.restart();
  const freedMs = Date.now();
  await load.flows(load.accepted - before, 20_000);
  console.log(`Postgres: the backlog was done ${Date.now() - freedMs} ms after there was room`);
  await load.settle();
});

/** Fills JetStream up to its own limit; resolves with the way to make room again. */
async function fillJetStream(natsUrl: string): Promise<() => Promise<void>> {
  const nc = await connect({ servers: natsUrl });
  undo.push(() => nc.close());
  const jsm = await jetstreamManager(nc);
  await jsm.streams.add({ name: 'BALLAST', subjects: ['ballast'], num_replicas: 1 });
  const js = jetstream(nc);
  for (const size of [512 * 1024, 1024])
    await (async () => {
      for (const body = Buffer.alloc(size); ; ) await js.publish('ballast', body);
    })().catch(() => {});
  return async () => {
    await jsm.streams.delete('BALLAST');
  };
}

test('JetStream is full to its limit, under load', async () => {
  await open('nats', 64);
  const load = startLoad(stage, 30);
  await load.flows(20);
  const makeRoom = await fillJetStream(stage.natsUrl);
  await Promise.all(nodes.map((node) => saysOf(node, 'nats', /JetStream refused it: .*resources/)));
  await eventually(() => load.refusals.get('log_full') ?? 0, { what: 'publishers are told' });
  await pause(3_000);
  await makeRoom();
  const freedMs = Date.now();
  await load.flows(100, 20_000);
  console.log(`JetStream: 100 jobs were done ${Date.now() - freedMs} ms after there was room`);
  for (const node of nodes)
    await eventually(async () => (await node.readyz())?.ready, { what: 'it is ready again' });
  await load.settle();
});

test('a full disk under NATS, under load', async () => {
  const server = await open('nats', 64);
  const load = startLoad(stage, 30);
  await load.flows(20);
  // While the disk is full their outcomes are to be published, by both nodes.
  await startHauls(stage, 24, 4_000);
  disk.fill();
  await Promise.all(nodes.map((node) => saysOf(node, 'nats', /JetStream (does|did) not answer/)));
  await eventually(() => load.refusals.get('timeout') ?? 0, {
    what: 'publishers are told',
    timeoutMs: 15_000,
  });
  disk.free();
  // A stream of nats-server 2.15 takes nothing any more, however much room there is, until the server is started again.
  await server.restart();
  const freedMs = Date.now();
  await load.flows(100, 20_000);
  console.log(`NATS: 100 jobs were done ${Date.now() - freedMs} ms after it was started again`);
  for (const node of nodes)
    await eventually(async () => (await node.readyz())?.ready, { what: 'it is ready again' });
  await load.settle({ types: [haul] });
});
