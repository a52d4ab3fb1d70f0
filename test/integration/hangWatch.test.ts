import { type ChildProcess, spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createClient, type PerdureClient } from '../../src/client.ts';
import { spinner } from '../support/actorsHang.ts';
import { pause, prepare } from '../support/cluster.ts';
import { eventually, freshDatabase, freshNamespace, natsUrl } from '../support/services.ts';

// A `perdure serve` whose event loop user code has blocked for good is ended by its own watch (G9).

const ROOT = resolve(import.meta.dirname, '../..');

let database: Awaited<ReturnType<typeof freshDatabase>>;
let client: PerdureClient;
let serve: ChildProcess;
let ended: Promise<[code: number | null, signal: NodeJS.Signals | null]>;
let stdout: string;
let stderr: string;

beforeEach(async () => {
  database = await freshDatabase();
  const place = { databaseUrl: database.url, natsUrl: natsUrl(), namespace: freshNamespace() };
  await prepare(place);
  client = createClient(place);
  stdout = '';
  stderr = '';
  const file = join(ROOT, 'test/support/actorsHang.ts');
  serve = spawn(
    process.execPath,
    [join(ROOT, 'src/cli/main.ts'), 'serve', file, '--json', '--blocked-max-ms', '2000'],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        PERDURE_NATS_URL: place.natsUrl,
        PERDURE_DATABASE_URL: place.databaseUrl,
        PERDURE_NAMESPACE: place.namespace,
      },
    },
  );
  serve.stdout?.on('data', (chunk) => {
    stdout += chunk;
  });
  serve.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  ended = new Promise((done) => serve.once('close', (...how) => done(how)));
  await eventually(() => stdout.includes('"ready":true'), { what: 'it is ready' });
  await client.start(spinner, { id: 's', until: 'committed' });
});

afterEach(async () => {
  serve.kill('SIGKILL');
  await ended;
  await client.close();
  await database.drop();
});

test('an endless loop in a guard ends the process, with one line that says so', async () => {
  await client.send(spinner, 's', { type: 'SPIN' });
  expect(await ended).toEqual([null, 'SIGKILL']);
  const last = JSON.parse(stderr.trim().split('\n').at(-1) as string);
  expect(last).toMatchObject({ level: 60, pid: serve.pid, name: 'perdure' });
  expect(last.msg).toContain('event loop: blocked for');
  expect(last.blockedMs).toBeGreaterThanOrEqual(2_000);
});

test('a process that was stopped longer than that is left alone, and works on', async () => {
  serve.kill('SIGSTOP');
  await pause(4_000);
  serve.kill('SIGCONT');
  await client.send(spinner, 's', { type: 'POKE' }, { until: 'committed' });
  // Had it been taken for a hang, the line would come within the limit.
  await pause(2_500);
  expect(serve.exitCode ?? serve.signalCode).toBe(null);
  expect(stderr).not.toContain('event loop: blocked');
});

test('it does not hold up the end', async () => {
  const askedAt = performance.now();
  serve.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
  expect(performance.now() - askedAt).toBeLessThan(15_000);
});
