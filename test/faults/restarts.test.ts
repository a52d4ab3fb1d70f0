import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { haul } from '../support/actorsCluster.ts';
import { capture } from '../support/actorsJournal.ts';
import { pause, readOutcomes } from '../support/cluster.ts';
import { openStage, ranTwice, type Stage, type StageNode } from '../support/clusterStage.ts';
import { atRest, startLoad, startPurses } from '../support/faultLoad.ts';
import { eventually, startOwnServices } from '../support/services.ts';

// Recovery that is disturbed itself, names that are used again, and a node that dies with its hands full (G2, G4, G7).

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

async function open(names: string[]): Promise<StageNode[]> {
  stage = await openStage({
    databaseUrl: services.postgres.url,
    natsUrl: services.nats.url,
    file: new URL('../support/actorsFaults.ts', import.meta.url).pathname,
  });
  const nodes: StageNode[] = [];
  for (const name of names) nodes.push(await stage.start(name));
  return nodes;
}

test('Postgres is restarted while a dead node is being recovered', async () => {
  let [, victim] = (await open(['n1', 'n2'])) as [StageNode, StageNode];
  const { postgres } = services;
  await startPurses(stage);
  const load = startLoad(stage, 30);
  const tookMs: number[] = [];
  // Before the takeover is noticed, in the middle of it, and after it.
  for (const [delayMs, signal] of [
    [0, 'SIGQUIT'],
    [300, 'SIGINT'],
    [600, 'SIGQUIT'],
    [1_200, 'SIGKILL'],
  ] as const) {
    await stage.shared([32, 32]);
    await load.flows(20);
    await victim.kill('SIGKILL');
    await pause(delayMs);
    await postgres.stop(signal);
    await postgres.start();
    const backMs = Date.now();
    await stage.shared([64], 20_000);
    await load.flows(20);
    tookMs.push(Date.now() - backMs);
    victim = await stage.start('n2');
  }
  console.log('after Postgres was back, until all was taken over and flowed, ms:', tookMs);
  expect(Math.max(...tookMs)).toBeLessThan(15_000);
  await load.settle();
}, 180_000);

test('rolling restarts that reuse the names of the nodes, under load', async () => {
  const names = ['n1', 'n2', 'n3'];
  const nodes = await open(names);
  await stage.shared([20, 22, 22]);
  await startPurses(stage);
  const load = startLoad(stage, 30);
  await load.flows(20);
  const restart = async (n: number, how: (old: StageNode) => Promise<unknown>) => {
    await how(nodes[n] as StageNode);
    nodes[n] = await stage.start(names[n] as string);
    await load.flows(10);
  };
  const drain = (old: StageNode) => {
    old.process.kill('SIGTERM');
    return old.exited;
  };
  for (const n of [0, 1, 2]) await restart(n, drain);
  // The new one is there before the old one has gone, as some platforms do it.
  for (const n of [0, 1, 2]) await restart(n, async (old) => old.process.kill('SIGTERM'));
  for (const n of [0, 1, 2]) await restart(n, (old) => old.kill('SIGKILL'));
  // All at once, without a word.
  await Promise.all(nodes.map((old) => old.kill('SIGKILL')));
  await Promise.all(names.map((name) => stage.start(name)));
  await stage.shared([20, 22, 22], 20_000);
  await load.flows(20);
  const rows = await stage.query<{ name: string }>(
    'SELECT name FROM nodes WHERE live ORDER BY name',
  );
  expect(rows.map(({ name }) => name)).toEqual(names);
  await load.settle();
}, 180_000);

test('a node dies with a thousand jobs in flight', async () => {
  const jobs = 2_000;
  const [, victim] = (await open(['n1', 'n2'])) as [StageNode, StageNode];
  await stage.shared([32, 32]);
  const ids = Array.from({ length: jobs }, (_, n) => `h${n}`);
  await Promise.all(
    ids.map((id) => stage.client.start(haul, { id, input: { ms: 8_000 }, messageId: `m-${id}` })),
  );
  const runsOn = (node: StageNode) =>
    stage.journal().filter(({ phase, pid }) => phase === 'start' && pid === node.pid);
  await eventually(() => runsOn(victim).length >= 900, { what: 'its hands are full' });
  const killedMs = Date.now();
  await victim.kill('SIGKILL');
  const inFlight = new Set(runsOn(victim).map(({ key }) => key));
  for (const { key, phase, pid } of stage.journal())
    if (phase === 'end' && pid === victim.pid) inFlight.delete(key);
  await eventually(
    async () => {
      const [row] = await stage.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM actor WHERE type = 'haul' AND status = 'done'`,
      );
      return row?.n === jobs || Promise.reject(new Error(`${row?.n} are done`));
    },
    { what: 'all jobs are done', timeoutMs: 60_000, everyMs: 100 },
  );
  console.log(
    `${inFlight.size} in flight when it died, all done ${Date.now() - killedMs} ms later`,
  );
  expect(inFlight.size).toBeGreaterThanOrEqual(900);
  const again = ranTwice(stage);
  expect(again.filter((key) => !inFlight.has(key))).toEqual([]);
  expect(again).toHaveLength(inFlight.size);
  await atRest(stage);
  const violations = await stage.check({
    types: [haul],
    quiescent: true,
    capture,
    outcomes: await readOutcomes(stage),
    expected: {
      jobs: ids.map((id) => ({ type: 'haul', id })),
      events: ids.map((id) => ({ type: 'haul', id, eventId: `m-${id}` })),
    },
  });
  expect(violations).toEqual([]);
}, 120_000);
