import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createClient, type PerdureClient } from '../../src/client.ts';
import { haul, tick } from '../support/actorsCluster.ts';
import { blocker, glutton } from '../support/actorsFaults.ts';
import {
  Journal,
  type NodeProcess,
  type Place,
  pause,
  prepare,
  spawnNode,
} from '../support/cluster.ts';
import { openStage, type Stage, type StageNode, startTicks } from '../support/clusterStage.ts';
import { startLoad, startPurses } from '../support/faultLoad.ts';
import { checkHistory, type JournalLine } from '../support/history.ts';
import { eventually, freshNamespace, startOwnServices } from '../support/services.ts';

// Nodes that run out of memory, block, or freeze; and one that is well, with a job longer than every timeout (G7, G9).

const FILE = new URL('../support/actorsFaults.ts', import.meta.url).pathname;
/** Longer than a lease, ack-wait, a statement's, a request's and a publish's deadline, and a suspicion. */
const LONG_MS = 100_000;
const LONG_JOBS = 4;

let services: Awaited<ReturnType<typeof startOwnServices>>;
let stage: Stage;
/** Apart from the others: nothing ever happens to it. */
let quiet: { place: Place; dir: string; nodes: NodeProcess[]; client: PerdureClient };

beforeAll(async () => {
  services = await startOwnServices();
  quiet = await startLongJobs();
});
afterEach(async () => {
  await stage?.close();
});
afterAll(async () => {
  await Promise.all((quiet?.nodes ?? []).map((node) => node.kill()));
  await quiet?.client.close();
  await services?.stop();
  if (quiet) rmSync(quiet.dir, { recursive: true, force: true, maxRetries: 3 });
});

const urls = () => ({ databaseUrl: services.postgres.url, natsUrl: services.nats.url });

async function startLongJobs(): Promise<typeof quiet> {
  const place: Place = { ...urls(), namespace: freshNamespace() };
  await prepare(place);
  const dir = mkdtempSync(join(tmpdir(), 'perdure-long-'));
  const env = { PERDURE_TEST_DIR: dir };
  const nodes = ['n1', 'n2'].map((name) => spawnNode({ ...place, name, file: FILE, env }));
  await Promise.all(nodes.map(({ ready }) => ready));
  const client = createClient(place);
  for (let n = 0; n < LONG_JOBS; n++)
    await client.start(haul, { id: `h${n}`, input: { ms: LONG_MS } });
  return { place, dir, nodes, client };
}

async function open(env: Record<string, string> = {}): Promise<[StageNode, StageNode]> {
  stage = await openStage({ ...urls(), file: FILE, env });
  const nodes: [StageNode, StageNode] = [await stage.start('n1'), await stage.start('n2')];
  await stage.shared([32, 32]);
  return nodes;
}

const quarantined = () =>
  stage.query<{ id: string; crashes: number }>(
    `SELECT id, crashes::int FROM quarantined WHERE type = 'glutton'`,
  );

test('a job that eats all memory of its node kills five, and then no more', async () => {
  const started = await open({ NODE_OPTIONS: '--max-old-space-size=96' });
  await startTicks(stage, 12, tick);
  const deaths: string[] = [];
  let over = false;
  // What a supervisor does.
  const keep = async (node: StageNode) => {
    for (let current = node; ; ) {
      const { code, signal } = await current.exited;
      if (over) return;
      deaths.push(current.stderr().includes('heap out of memory') ? 'memory' : `${code ?? signal}`);
      current = await stage.start(node.name);
    }
  };
  const keeping = started.map(keep);
  await stage.client.start(glutton, { id: 'g' });
  await eventually(async () => (await quarantined()).length === 1, {
    what: 'it is in quarantine',
    timeoutMs: 90_000,
  });
  await stage.shared([32, 32], 30_000);
  await stage.moving('tick');
  console.log(`out of memory: ${deaths.length} nodes died`);
  expect(deaths).toEqual(Array(5).fill('memory'));
  expect(await stage.check({ types: [tick, glutton] })).toEqual([]);
  over = true;
  await stage.close();
  await Promise.all(keeping);
});

test('an event loop that user code blocks for 20 s: others take over, and the late result does no harm', async () => {
  const nodes = await open();
  await startPurses(stage);
  const load = startLoad(stage);
  await load.flows(20);
  const fromMs = Date.now();
  await stage.client.start(blocker, { id: 'b', input: { ms: 20_000 } });
  await stage.shared([64], 15_000);
  const owner = (await stage.owners())[0]?.owner;
  const [stays] = nodes.filter(({ nodeId }) => nodeId === owner) as [StageNode];
  console.log(`blocked: the other one had taken over within ${Date.now() - fromMs} ms`);
  await load.flows(40);
  expect(await stage.client.outcome(blocker, 'b', { timeoutMs: 5_000 })).toEqual({
    status: 'done',
    output: 'second',
  });
  // It comes back by itself, and takes its share again.
  await stage.shared([32, 32], 30_000);
  expect(Date.now() - fromMs).toBeGreaterThan(20_000);
  await load.flows(40);
  const [done] = await stage.query<{ node_id: string }>(
    `SELECT node_id FROM transition WHERE type = 'blocker' AND seq = 2`,
  );
  expect(done?.node_id).toBe(stays.nodeId);
  expect(nodes.map(({ process: { exitCode } }) => exitCode)).toEqual([null, null]);
  await load.settle({ types: [blocker] });
});

test('a node that is paused for 60 s and comes back', async () => {
  const [, frozen] = await open();
  await startPurses(stage);
  const load = startLoad(stage);
  await load.flows(20);
  const frozenMs = Date.now();
  frozen.process.kill('SIGSTOP');
  await stage.shared([64], 15_000);
  console.log(`paused: the other one had taken over within ${Date.now() - frozenMs} ms`);
  const taken = await stage.owners();
  await load.flows(200);
  await pause(frozenMs + 60_000 - Date.now());
  expect(await stage.owners()).toEqual(taken);
  frozen.process.kill('SIGCONT');
  await stage.shared([32, 32], 20_000);
  await load.flows(100);
  await load.settle();
});

test(
  'a job that runs longer than every timeout in the system runs exactly once',
  async () => {
    const { place, dir, client } = quiet;
    for (let n = 0; n < LONG_JOBS; n++)
      expect(await client.outcome(haul, `h${n}`, { timeoutMs: LONG_MS })).toMatchObject({
        status: 'done',
      });
    const journal = new Journal<JournalLine>(join(dir, 'journal.jsonl')).read();
    const phases = journal.map((line) => line.kind === 'invoke' && line.phase);
    expect(phases.sort()).toEqual([
      ...Array(LONG_JOBS).fill('end'),
      ...Array(LONG_JOBS).fill('start'),
    ]);
    const { violations } = await checkHistory({ ...place, types: [haul], journal });
    expect(violations).toEqual([]);
  },
  LONG_MS + 30_000,
);
