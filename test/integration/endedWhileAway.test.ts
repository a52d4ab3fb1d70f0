import { type ChildProcess, spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { freePort } from '../../src/dev/process.ts';
import { type Place, prepare } from '../support/cluster.ts';
import { spawnServe } from '../support/serveProcess.ts';
import { eventually, freshNamespace, startOwnServices } from '../support/services.ts';

// Whoever asks a process to end gets that at the first signal, and no stack traces, wherever its servers are.

const ROOT = resolve(import.meta.dirname, '../..');
/** An inspector has nothing to hand over, ms. */
const ENDS_MS = 5_000;

let services: Awaited<ReturnType<typeof startOwnServices>>;
let place: Place;
const running: ChildProcess[] = [];

beforeAll(async () => {
  services = await startOwnServices();
  place = {
    databaseUrl: services.postgres.url,
    natsUrl: services.nats.url,
    namespace: freshNamespace(),
  };
  await prepare(place);
});
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
});
afterAll(() => services?.stop());

function inspector(given: Pick<Place, 'natsUrl' | 'databaseUrl'>) {
  const child = spawn(process.execPath, [join(ROOT, 'src/cli/main.ts'), 'inspect', '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      PERDURE_NATS_URL: given.natsUrl,
      PERDURE_DATABASE_URL: given.databaseUrl,
      PERDURE_NAMESPACE: place.namespace,
    },
  });
  running.push(child);
  const said = { out: '', error: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said.out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said.error += text;
  });
  return {
    said,
    /** Asks it to end, once. */
    async ends() {
      const exited = new Promise((done) => child.once('exit', done));
      const askedAt = performance.now();
      child.kill('SIGTERM');
      expect(await exited).toBe(0);
      expect(performance.now() - askedAt).toBeLessThan(ENDS_MS);
      expect(said.error).not.toMatch(/perdure: | {4}at /);
    },
  };
}

const nowhere = async (protocol: string) => `${protocol}://x:y@127.0.0.1:${await freePort()}/z`;

test('perdure inspect that waits for Postgres ends at the first SIGTERM', async () => {
  const inspect = inspector({
    natsUrl: await nowhere('nats'),
    databaseUrl: await nowhere('postgres'),
  });
  await eventually(() => inspect.said.error.includes('waiting for Postgres'), {
    what: 'it waits',
  });
  await inspect.ends();
});

test('perdure inspect without NATS ends at the first SIGTERM, also while a page waits for it', async () => {
  const inspect = inspector({ ...place, natsUrl: await nowhere('nats') });
  await eventually(() => inspect.said.out, { what: 'it listens' });
  const { address } = JSON.parse(inspect.said.out) as { address: string };
  const [url = '', token = ''] = address.split('/#token=');
  const headers = { authorization: `Bearer ${token}` };
  const live = fetch(`${url}/api/live`, { headers }).catch(() => undefined);
  const seen = await fetch(`${url}/api/overview`, { headers });
  expect(seen.status).toBe(200);
  await inspect.ends();
  await live;
});

test('perdure serve that is ended while both servers are away tells no stack traces', async () => {
  const serve = await spawnServe({
    ...place,
    file: join(ROOT, 'test/support/actorsCrash.ts'),
    name: 'left',
    env: { PERDURE_TEST_DIR: ROOT },
  });
  running.push(serve.process);
  await eventually(async () => (await serve.readyz())?.ready, {
    what: 'it is ready',
    timeoutMs: 20_000,
  });
  await Promise.all([services.postgres.stop('SIGQUIT'), services.nats.stop('SIGKILL')]);
  await eventually(
    async () => {
      const parts = (await serve.readyz())?.parts;
      return parts && !parts.nats.ok && !parts.postgres.ok;
    },
    { what: 'it has noticed' },
  );
  const before = serve.stderr().length;
  serve.process.kill('SIGTERM');
  expect(await serve.exited).toBe(0);
  const said = serve.stderr().slice(before);
  expect(said).not.toContain('The store is closed');
  expect(said).not.toContain('\\n    at ');
}, 60_000);
