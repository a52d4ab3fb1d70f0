import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { haul, tick } from '../support/actorsCluster.ts';
import { pause } from '../support/cluster.ts';
import {
  openStage,
  ranTwice,
  type Stage,
  type StageNode,
  startHauls,
  startTicks,
} from '../support/clusterStage.ts';
import { type Network, openNetwork } from '../support/network.ts';
import { eventually, startOwnServices } from '../support/services.ts';

// Nodes that lose Postgres or NATS: one alone gives way, all together go on as before (G2, G7, G8).

let services: Awaited<ReturnType<typeof startOwnServices>>;
let network: Network;
let stage: Stage;

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

/** Two nodes, the second on a line of its own; actors that never rest, and long work on both. */
async function open() {
  stage = await openStage({ databaseUrl: services.postgres.url, natsUrl: services.nats.url });
  const line = await network.line('cut');
  const { natsUrl, databaseUrl } = line;
  const [stays, cut] = [
    await stage.start('n1'),
    await stage.start('n2', { natsUrl, databaseUrl }),
  ] as const;
  await stage.shared([32, 32]);
  await startTicks(stage, 12, tick);
  await startHauls(stage, 8, 20_000);
  return { stays, cut, line };
}

const allIsWell = async () => expect(await stage.judge([tick, haul])).toEqual([]);

/** Waits until the long work the node runs is aborted there. */
async function aborts(node: StageNode, sinceMs: number): Promise<void> {
  const phases = () => stage.journal().filter((line) => line.pid === node.pid);
  const running = phases().filter(({ key, phase }) => phase === 'start' && key.startsWith('haul/'));
  expect(running.length).toBeGreaterThan(0);
  await eventually(
    () => {
      const aborted = phases().filter(({ phase, at }) => phase === 'abort' && at >= sinceMs);
      return running.every(({ key }) => aborted.some((line) => line.key === key));
    },
    { what: `${running.length} pieces of long work are aborted`, timeoutMs: 15_000 },
  );
}

/** Waits until one node owns everything and every actor moves. */
async function takesAll(node: StageNode): Promise<void> {
  await stage.shared([64]);
  expect((await stage.owners())[0]?.owner).toBe(node.nodeId);
  await stage.moving('tick');
}

/** Waits until the work is shared again and every actor moves. */
async function rejoins(): Promise<void> {
  await stage.shared([32, 32], 20_000);
  await stage.moving('tick');
}

test('a node cut off from Postgres aborts what it runs, and rejoins', async () => {
  const { stays, cut, line } = await open();
  const cutMs = Date.now();
  await line.cut('postgres');
  await aborts(cut, cutMs);
  await takesAll(stays);
  await line.heal();
  await rejoins();
  await allIsWell();
}, 60_000);

test('a commit that arrives after the takeover is refused', async () => {
  const { stays, cut, line } = await open();
  const of = (phase: string) =>
    stage.journal().filter((one) => one.pid === cut.pid && one.phase === phase);
  // Work that ends within the lease; ticks may all wait for their commit in the moment of the cut.
  const ids = Array.from({ length: 8 }, (_, n) => `short${n}`);
  await Promise.all(ids.map((id) => stage.client.start(haul, { id, input: { ms: 1_000 } })));
  await eventually(() => of('start').some(({ key }) => key.startsWith('haul/short')), {
    what: 'some of it runs where the line is cut',
  });
  const cutMs = Date.now();
  await line.cut('postgres', 'stall');
  await takesAll(stays);
  // It went on for a moment: what came of it is on its way to Postgres, where it comes too late.
  const ended = of('end');
  expect(ended.some(({ at }) => at > cutMs)).toBe(true);
  await line.heal();
  await rejoins();
  await allIsWell();
}, 60_000);

test('a node cut off from NATS alone gives its shards away, and gets its share back', async () => {
  const { stays, line } = await open();
  await line.cut('nats');
  await takesAll(stays);
  await line.heal();
  await rejoins();
  await allIsWell();
}, 60_000);

/** Does it, and expects that nothing changed hands and nothing ran again for it. */
async function changesNothing(trouble: () => Promise<void>): Promise<void> {
  await stage.moving('tick');
  const before = (await stage.owners()).map(({ owner }) => owner);
  await trouble();
  await stage.moving('tick', 15_000);
  expect((await stage.owners()).map(({ owner }) => owner)).toEqual(before);
  expect(ranTwice(stage, 'haul/')).toEqual([]);
}

/** Longer than the lease, and than it takes to notice that NATS is away. */
const AWAY_MS = 4_500;
/** Longer than a node alone without NATS keeps its shards. */
const BACK_LATER_MS = 3_500;

test('nothing changes hands when Postgres is away for all', async () => {
  await open();
  const { postgres } = services;
  await changesNothing(async () => {
    await postgres.stop('SIGQUIT');
    await pause(AWAY_MS);
    await postgres.start();
  });
  await allIsWell();
}, 60_000);

test('nothing changes hands when NATS is away for all', async () => {
  await open();
  const { nats } = services;
  await changesNothing(async () => {
    await nats.stop('SIGKILL');
    await pause(AWAY_MS);
    await nats.start();
  });
  await allIsWell();
}, 60_000);

test('nor when one node notices it later than the other', async () => {
  const { line } = await open();
  const { nats } = services;
  await changesNothing(async () => {
    await line.cut('nats', 'stall');
    await nats.stop('SIGKILL');
    await pause(AWAY_MS);
    await line.heal();
    await nats.start();
  });
  await allIsWell();
}, 60_000);

test('nor when one node is back later than the other', async () => {
  const { line } = await open();
  const { nats } = services;
  await changesNothing(async () => {
    await nats.stop('SIGKILL');
    await pause(AWAY_MS);
    await line.cut('nats', 'refuse');
    await nats.start();
    await pause(BACK_LATER_MS);
    await line.heal();
  });
  await allIsWell();
}, 60_000);
