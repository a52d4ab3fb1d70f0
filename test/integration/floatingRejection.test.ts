import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createClient } from '../../src/client.ts';
import { namespace as namespaceOf, SHARDS } from '../../src/config.ts';
import { migrate } from '../../src/store/migrate.ts';
import { eventually, freshDatabase, freshNamespace, natsUrl } from '../support/services.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const FILE = `
import { createMachine } from 'xstate';
import { defineActor } from 'perdure';
export const careless = defineActor('careless', {
  machine: createMachine({
    on: { FLOAT: { actions: () => void Promise.reject(new Error('nobody waits for me')) }, PING: {} },
  }),
});
`;

const namespace = freshNamespace();
let dir: string;
let database: Awaited<ReturnType<typeof freshDatabase>>;

beforeAll(async () => {
  database = await freshDatabase();
  await migrate({ databaseUrl: database.url, namespace: namespaceOf(namespace), shards: SHARDS });
  // Inside the checkout, so that the file finds xstate; under node_modules Node runs no TypeScript.
  dir = mkdtempSync(join(ROOT, 'node_modules', '.perdure-test-'));
  writeFileSync(join(dir, 'actors.mjs'), FILE);
});

afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await database.drop();
});

/** Found by a reader of the README: the node died, redid the action, and died again, for ever. */
test('an action whose promise nobody waits for does not end the node', async () => {
  const node = spawn(
    process.execPath,
    [join(ROOT, 'src/cli/main.ts'), 'serve', join(dir, 'actors.mjs'), '--json'],
    {
      cwd: tmpdir(),
      env: {
        ...process.env,
        PERDURE_NATS_URL: natsUrl(),
        PERDURE_DATABASE_URL: database.url,
        PERDURE_NAMESPACE: namespace,
      },
    },
  );
  let out = '';
  let err = '';
  node.stdout.on('data', (chunk) => {
    out += chunk;
  });
  node.stderr.on('data', (chunk) => {
    err += chunk;
  });
  const client = createClient({ natsUrl: natsUrl(), namespace });
  try {
    await eventually(() => expect(`${out}${err}`).toContain('"ready":true'), { what: 'the node' });
    const actor = await client.start('careless', { id: 'c-1', until: 'committed' });
    await actor.send({ type: 'FLOAT' }, { until: 'committed' });
    await eventually(() => expect(err).toContain('nobody waits for me'), { what: 'the log line' });
    expect(await actor.send({ type: 'PING' }, { until: 'committed' })).toMatchObject({ seq: 3 });
    expect(node.exitCode).toBe(null);
  } finally {
    await client.close();
    node.kill('SIGKILL');
  }
});
