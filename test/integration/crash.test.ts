import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCrash } from '../support/clusterCrash.ts';
import { freshDatabase, freshNamespace, natsUrl, seed } from '../support/services.ts';

const JOBS = 1_000;
let dir: string;
let database: Awaited<ReturnType<typeof freshDatabase>>;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'perdure-crash-'));
  database = await freshDatabase();
});
afterAll(async () => {
  await database.drop();
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
});

test(`${JOBS} jobs outlive a node that gets kill -9 every second or two`, async () => {
  const told: string[] = [];
  const report = await runCrash({
    seed: seed(),
    jobs: JOBS,
    seconds: 8,
    databaseUrl: database.url,
    natsUrl: natsUrl(),
    namespace: freshNamespace(),
    killsMax: 10,
    finishMs: 120_000,
    dir,
    say: (line) => told.push(line),
  });
  const { violations, history, kills } = report;
  if (violations.length > 0) console.error(told.join('\n'));
  expect(violations).toEqual([]);
  // The run has seen what it is about: nodes died with work in their hands, and others went on with it.
  expect(kills).toBeGreaterThanOrEqual(4);
  expect(history.nodes).toBeGreaterThanOrEqual(4);
  expect(history.keys).toBe(2 * JOBS);
  expect(history.runs).toBeGreaterThan(history.keys);
}, 240_000);
