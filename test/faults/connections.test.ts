import { Client, DatabaseError } from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { pause } from '../support/cluster.ts';
import { openStage, type Stage } from '../support/clusterStage.ts';
import { startLoad, startPurses } from '../support/faultLoad.ts';
import { type ServeProcess, spawnServe } from '../support/serveProcess.ts';
import { eventually, startOwnServices } from '../support/services.ts';

// Others have taken every connection of Postgres: said clearly by who has none, and healed when they are free (G8, G10).

const FILE = new URL('../support/actorsFaults.ts', import.meta.url).pathname;
const WORDS = /too many clients already/;

let services: Awaited<ReturnType<typeof startOwnServices>>;
let stage: Stage;
const nodes: ServeProcess[] = [];
let crowd: Crowd | undefined;

beforeAll(async () => {
  services = await startOwnServices();
});
afterEach(async () => {
  for (const node of nodes) node.process.kill('SIGKILL');
  await Promise.all(nodes.splice(0).map(({ exited }) => exited));
  await crowd?.leave();
  await stage?.close();
});
afterAll(async () => {
  await services?.stop();
});

interface Crowd {
  /** Resolves once there was no connection left. */
  readonly full: Promise<void>;
  leave(): Promise<void>;
}

/** Takes every connection there is, and each one that becomes free. */
function takeAllConnections(databaseUrl: string): Crowd {
  const clients: Client[] = [];
  let leaving = false;
  let isFull = () => {};
  const full = new Promise<void>((resolve) => {
    isFull = resolve;
  });
  const takers = Array.from({ length: 8 }, async () => {
    while (!leaving) {
      const client = new Client({ connectionString: databaseUrl });
      client.on('error', () => {});
      try {
        await client.connect();
        clients.push(client);
      } catch (error) {
        if (!(error instanceof DatabaseError && error.code === '53300')) throw error;
        isFull();
        await pause(5);
      }
    }
  });
  return {
    full,
    async leave() {
      leaving = true;
      await Promise.all(takers);
      await Promise.all(clients.splice(0).map((client) => client.end()));
    },
  };
}

const start = async (name: string) => {
  const env = { PERDURE_TEST_DIR: stage.dir };
  const node = await spawnServe({ ...stage, name, file: FILE, env });
  nodes.push(node);
  return node;
};

/** Alive, not ready, and it says why, to whoever asks and in its log. */
async function saysWhy(node: ServeProcess): Promise<void> {
  await eventually(
    async () => {
      const readiness = await node.readyz();
      const { ok, lastError } = readiness?.parts.postgres ?? {};
      if (ok === false && WORDS.test(lastError ?? '')) return true;
      throw new Error(JSON.stringify(readiness));
    },
    { what: 'readiness says why', timeoutMs: 15_000 },
  );
  expect(await node.livez()).toBe(200);
  await eventually(() => WORDS.test(node.stderr()), { what: 'the log says why' });
}

test('max_connections of Postgres is exhausted: for a node that starts, and for one that lost its connections', async () => {
  stage = await openStage({
    databaseUrl: services.postgres.url,
    natsUrl: services.nats.url,
    file: FILE,
  });
  const old = await start('old');
  await stage.shared([64]);
  await startPurses(stage);
  const load = startLoad(stage, 20);
  await load.flows(20);

  crowd = takeAllConnections(stage.databaseUrl);
  await crowd.full;
  // Who has connections keeps them and works on.
  await load.flows(20);
  expect((await old.readyz())?.ready).toBe(true);

  const young = await start('young');
  await saysWhy(young);

  await stage.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'perdure node %'`,
  );
  await saysWhy(old);
  const before = load.accepted;
  await pause(3_000);
  expect(load.accepted).toBeGreaterThan(before + 40);

  await crowd.leave();
  const freedMs = Date.now();
  for (const node of [old, young])
    await eventually(async () => (await node.readyz())?.ready, {
      what: 'it is ready',
      timeoutMs: 10_000,
    });
  await load.flows(load.accepted - before, 10_000);
  await stage.shared([32, 32]);
  console.log(`all was well ${Date.now() - freedMs} ms after there were connections again`);
  await load.settle();
});
