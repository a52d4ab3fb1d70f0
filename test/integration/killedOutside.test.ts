import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { haul } from '../support/actorsCluster.ts';
import { openStage, type Stage, startHauls } from '../support/clusterStage.ts';
import { eventually, freshDatabase, natsUrl } from '../support/services.ts';

let database: Awaited<ReturnType<typeof freshDatabase>>;
let stage: Stage;

beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(() => database?.drop());
beforeEach(async () => {
  stage = await openStage({ databaseUrl: database.url, natsUrl: natsUrl() });
});
afterEach(() => stage?.close());

const HAULS = 3;
const KILLS = 8;

test('nodes killed from outside say nothing about the work that was alone in their hands', async () => {
  let node = await stage.start('n');
  await startHauls(stage, HAULS, 4_000);
  for (let kill = 0; kill < KILLS; kill++) {
    await node.kill('SIGKILL');
    node = await stage.start('n');
  }
  await eventually(
    async () => (await stage.query(`SELECT FROM actor WHERE status = 'done'`)).length === HAULS,
    { what: 'the work is done', timeoutMs: 40_000 },
  );
  expect(await stage.query('SELECT id FROM quarantined')).toEqual([]);
  expect(await stage.judge([haul])).toEqual([]);
}, 90_000);
