import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { haul, tick } from '../support/actorsCluster.ts';
import {
  LEASE_MS,
  openStage,
  ranTwice,
  type Stage,
  type StageNode,
  startHauls,
  startTicks,
} from '../support/clusterStage.ts';
import { eventually, startOwnServices } from '../support/services.ts';

// Nodes come, go, die and freeze; the others carry on with their actors (G2, G4, G7).

const TICKS = 12;

let services: Awaited<ReturnType<typeof startOwnServices>>;
let stage: Stage;

beforeAll(async () => {
  services = await startOwnServices();
});
afterEach(async () => {
  await stage?.close();
});
afterAll(async () => {
  await services?.stop();
});

/** A namespace with that many nodes, called n1, n2, …, and actors that never rest. */
async function open(nodes: number): Promise<StageNode[]> {
  stage = await openStage({
    databaseUrl: services.postgres.url,
    natsUrl: services.nats.url,
    // Work of a second or so ends where it runs, also while a busy machine stands still.
    limits: { drainMs: 10_000 },
  });
  const started: StageNode[] = [];
  for (let n = 1; n <= nodes; n++) started.push(await stage.start(`n${n}`));
  await stage.shared(SHARES[nodes - 1] as number[]);
  await startTicks(stage, TICKS, tick);
  return started;
}

const SHARES = [[64], [32, 32], [20, 22, 22]];

const allIsWell = async () => expect(await stage.judge([tick, haul])).toEqual([]);

/** Actors of the type in shards that the node owns. */
async function actorsOf(node: StageNode, type: string): Promise<string[]> {
  const rows = await stage.query<{ id: string }>(
    'SELECT a.id FROM actor a JOIN shard s USING (shard) WHERE a.type = $1 AND s.owner = $2',
    [type, node.nodeId],
  );
  return rows.map(({ id }) => id);
}

/** How long after `sinceMs` each of these has made its first transition on another node, ms; waits for it. */
async function wentOn(ids: string[], node: StageNode, sinceMs: number): Promise<number> {
  const rows = await eventually(
    async () => {
      const found = await stage.query<{ id: string; ms: number }>(
        `SELECT id, min(extract(epoch FROM at) * 1000)::float8 AS ms FROM transition
          WHERE type = 'tick' AND id = ANY ($1) AND node_id <> $2 AND at > to_timestamp($3 / 1000.0)
          GROUP BY id`,
        [ids, node.nodeId, sinceMs],
      );
      return found.length === ids.length && found;
    },
    { what: `${ids.length} actors go on elsewhere`, timeoutMs: 20_000 },
  );
  return Math.round(Math.max(...rows.map(({ ms }) => ms)) - sinceMs);
}

test('nodes that join get their share, and nothing stands still or runs twice for it', async () => {
  await open(1);
  await startHauls(stage, 6, 1_200);
  const fromMs = Date.now();
  await stage.start('n2');
  await stage.shared([32, 32]);
  await stage.start('n3');
  await stage.shared([20, 22, 22]);
  await stage.moving('tick');
  const pausedMs = await stage.longestPause('tick', fromMs);
  console.log(`joining: the longest pause of an actor was ${pausedMs} ms`);
  // Nobody had to wait for a lease to be over.
  expect(pausedMs).toBeLessThan(LEASE_MS);
  await eventually(
    async () => (await stage.query(`SELECT FROM actor WHERE type = 'haul' AND busy`)).length === 0,
    { what: 'the long work ends' },
  );
  expect(ranTwice(stage)).toEqual([]);
  await allIsWell();
});

test('what a killed node ran goes on elsewhere', async () => {
  const [, victim] = (await open(2)) as [StageNode, StageNode];
  const ids = await actorsOf(victim, 'tick');
  expect(ids.length).toBeGreaterThan(0);
  const killedMs = Date.now();
  await victim.kill('SIGKILL');
  const tookMs = await wentOn(ids, victim, killedMs);
  console.log(`kill -9: ${ids.length} actors went on within ${tookMs} ms`);
  expect(tookMs).toBeLessThan(10_000);
  await stage.shared([64]);
  await allIsWell();
});

test('a node that is told to stop gives its actors away and leaves', async () => {
  const [, leaver] = (await open(2)) as [StageNode, StageNode];
  await startHauls(stage, 6, 1_000);
  const fromMs = Date.now();
  leaver.process.kill('SIGTERM');
  expect(await leaver.exited).toEqual({ code: 0, signal: null });
  await stage.shared([64]);
  await stage.moving('tick');
  const pausedMs = await stage.longestPause('tick', fromMs);
  console.log(`SIGTERM: the longest pause of an actor was ${pausedMs} ms`);
  expect(pausedMs).toBeLessThan(LEASE_MS);
  expect(ranTwice(stage)).toEqual([]);
  await allIsWell();
});

test('a node that froze beyond its lease writes nothing any more, aborts what it ran and rejoins', async () => {
  const [witness, zombie] = (await open(2)) as [StageNode, StageNode];
  await startHauls(stage, 8, 20_000);
  const ids = await actorsOf(zombie, 'tick');
  const hauls = await actorsOf(zombie, 'haul');
  expect(hauls.length).toBeGreaterThan(0);
  const frozenMs = Date.now();
  zombie.process.kill('SIGSTOP');
  const tookMs = await wentOn(ids, zombie, frozenMs);
  console.log(`SIGSTOP: ${ids.length} actors went on within ${tookMs} ms`);
  expect(tookMs).toBeLessThan(LEASE_MS + 5_000);
  await stage.shared([64]);
  const taken = await stage.owners();
  expect(new Set(taken.map(({ owner }) => owner))).toEqual(new Set([witness.nodeId]));
  const thawedMs = Date.now();
  zombie.process.kill('SIGCONT');
  await eventually(() => abortedBy(zombie, thawedMs).length >= hauls.length, {
    what: 'its long work is aborted',
  });
  // Whichever looks first, the renewal or the watch over the lease; what it logs comes through a pipe.
  await eventually(() => /lease: (was )?over/.test(zombie.stderr()), { what: 'it says why' });
  await stage.shared([32, 32]);
  await stage.moving('tick');
  expect(await writtenBy(zombie, frozenMs, taken)).toEqual([]);
  await allIsWell();
});

/** Keys of long work that the node has aborted since then. */
const abortedBy = (node: StageNode, sinceMs: number) =>
  stage
    .journal()
    .filter(
      ({ key, phase, at, pid }) =>
        phase === 'abort' && key.startsWith('haul/') && pid === node.pid && at >= sinceMs,
    );

/** Transitions the node wrote since then into shards as they were before they were taken from it. */
const writtenBy = (node: StageNode, sinceMs: number, taken: { epoch: number }[]) =>
  stage.query(
    `SELECT t.type, t.id, t.seq FROM transition t JOIN actor a USING (type, id)
       JOIN unnest($3::int8[]) WITH ORDINALITY AS w (epoch, n) ON a.shard = w.n - 1
      WHERE t.node_id = $1 AND t.epoch < w.epoch AND t.at > to_timestamp($2 / 1000.0)
        AND EXISTS (SELECT FROM transition o WHERE o.type = t.type AND o.id = t.id
                       AND o.node_id <> $1 AND o.at > to_timestamp($2 / 1000.0) AND o.at < t.at)`,
    [node.nodeId, sinceMs, taken.map(({ epoch }) => epoch)],
  );

test('nodes are replaced one after the other under their old names', async () => {
  const nodes = await open(3);
  const fromMs = Date.now();
  for (const [n, node] of nodes.entries()) {
    node.process.kill('SIGTERM');
    expect(await node.exited).toEqual({ code: 0, signal: null });
    nodes[n] = await stage.start(node.name);
  }
  await stage.sharedFairly(3);
  await stage.moving('tick');
  const rows = await stage.query<{ name: string; node_id: string }>(
    'SELECT name, node_id FROM nodes ORDER BY name',
  );
  expect(rows).toEqual(nodes.map(({ name, nodeId }) => ({ name, node_id: nodeId })));
  console.log(`rolling: the longest pause was ${await stage.longestPause('tick', fromMs)} ms`);
  expect(ranTwice(stage)).toEqual([]);
  await allIsWell();
}, 60_000);
