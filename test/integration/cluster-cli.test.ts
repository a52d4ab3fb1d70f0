import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { childrenOf, isAlive, signal } from '../../src/dev/process.ts';
import { openSql, type Sql } from '../support/cluster.ts';
import { eventually, freshDatabase, freshNamespace, natsUrl } from '../support/services.ts';

// Nodes as an operator has them: one `perdure serve --workers`, looked at with the commands that show a cluster.

const ROOT = resolve(import.meta.dirname, '../..');
const ACTORS = join(ROOT, 'test/support/devActors.ts');

interface Run {
  process: ChildProcess;
  pid: number;
  stdout: string;
  stderr: string;
  /** Exit code, once stdout and stderr are complete; null after a signal. */
  ended: Promise<number | null>;
}

interface Worker {
  worker: number;
  name: string;
  nodeId: string;
  pid: number;
  httpUrl?: string;
}

const CORRECT = ' Correct user, password or database in the URL.';

// Every look is a process of its own, perhaps on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

let database: Awaited<ReturnType<typeof freshDatabase>>;
let sql: Sql;
let dir: string;
const namespace = freshNamespace();
const runs: Run[] = [];
/** What most tests look at. */
let web: Run;

function perdure(args: string[], env: NodeJS.ProcessEnv = {}): Run {
  const child = spawn(process.execPath, [join(ROOT, 'src/cli/main.ts'), ...args], {
    cwd: dir,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      PERDURE_NATS_URL: natsUrl(),
      PERDURE_DATABASE_URL: database.url,
      PERDURE_NAMESPACE: namespace,
      PERDURE_LOG_LEVEL: 'error',
      ...env,
    },
  });
  const run: Run = {
    process: child,
    pid: child.pid as number,
    stdout: '',
    stderr: '',
    ended: new Promise((done) => child.once('close', (code) => done(code))),
  };
  child.stdout.on('data', (chunk) => {
    run.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    run.stderr += chunk;
  });
  runs.push(run);
  return run;
}

async function done(args: string[], env: NodeJS.ProcessEnv = {}) {
  const run = perdure(args, env);
  return { code: await run.ended, stdout: run.stdout, stderr: run.stderr };
}

const jsonLines = (text: string) =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

async function list(...args: string[]) {
  return jsonLines((await done([...args, '--json'])).stdout);
}

function serve(args: string[], env: NodeJS.ProcessEnv = {}): Run {
  return perdure(['serve', ACTORS, '--json', ...args], env);
}

/** Waits for so many ready lines and returns them, the newest of each worker. */
async function ready(run: Run, lines: number): Promise<Worker[]> {
  await eventually(() => jsonLines(run.stdout).length >= lines || run.process.exitCode !== null, {
    what: 'the workers are ready',
    timeoutMs: 20_000,
  });
  const found = new Map(jsonLines(run.stdout).map((line) => [line.worker, line as Worker]));
  if (found.size === 0) throw new Error(`perdure serve ended: ${run.stderr}`);
  return [...found.values()].sort((a, b) => a.worker - b.worker);
}

/** Waits until nodes that live own all shards, and reads the rest from the commands once. */
async function allHealthy(): Promise<void> {
  await eventually(
    async () => {
      const [row] = await sql.query<{ owned: number }>(
        'SELECT count(*)::int AS owned FROM shards s JOIN nodes n ON n.node_id = s.owner AND n.live',
      );
      return row?.owned === 64;
    },
    { what: 'all shards are owned', timeoutMs: 20_000 },
  );
  await eventually(async () => (await done(['shards', '--unhealthy'])).code === 0, {
    what: 'all shards are well',
    timeoutMs: 20_000,
  });
}

beforeAll(async () => {
  database = await freshDatabase();
  dir = mkdtempSync(join(tmpdir(), 'perdure-cluster-cli-'));
  expect(await done(['migrate'])).toMatchObject({ code: 0 });
  sql = await openSql({ databaseUrl: database.url, namespace });
  web = serve(['--workers', '2', '--name', 'web']);
  await ready(web, 2);
  await allHealthy();
});

/** Tests leave `web` running; the last one ends it. */
afterEach(async () => {
  for (const run of runs.splice(0)) {
    if (run === web) runs.push(run);
    else if (run.process.exitCode === null) run.process.kill('SIGKILL');
  }
});

afterAll(async () => {
  for (const run of runs) run.process.kill('SIGKILL');
  await sql?.close();
  await database?.drop();
  rmSync(dir, { recursive: true, force: true });
});

test('the workers share the shards fairly', async () => {
  await eventually(
    async () => {
      const rows = await sql.query<{ shards: number }>('SELECT shards FROM nodes WHERE live');
      return rows.length === 2 && rows.every(({ shards }) => shards === 32);
    },
    { what: 'each has half of the shards', timeoutMs: 20_000 },
  );
  await allHealthy();
});

test('nodes shows every worker by name', async () => {
  const workers = await ready(web, 2);
  expect(workers.map(({ name }) => name)).toEqual(['web-1', 'web-2']);
  const [nodes, { code, stdout }] = await Promise.all([list('nodes'), done(['nodes'])]);
  expect(nodes).toHaveLength(2);
  expect(nodes.reduce((sum, node) => sum + node.shards, 0)).toBe(64);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^NAME +ID +HOST +PID +VERSION +UP +SHARDS +STATE +LEASE +REFUSED$/m);
  for (const { name, nodeId, pid } of workers) {
    expect(nodes).toContainEqual(
      expect.objectContaining({ name, node_id: nodeId, pid, state: 'ok', live: true }),
    );
    const id = nodeId.slice(0, 8);
    expect(stdout).toMatch(new RegExp(`^${name} +${id} .* ${pid} .* ok +\\d+s`, 'm'));
  }
});

test('shards shows who owns what, since when, and how far behind it is', async () => {
  // One after the other: each gives NATS two seconds to say how far behind the shards are.
  const all = await list('shards');
  const mine = await list('shards', '--node', 'web-1');
  const nobody = await done(['shards', '--node', 'nobody']);
  const table = await done(['shards']);
  expect(all.map(({ shard }) => shard)).toEqual(Array.from({ length: 64 }, (_, n) => n));
  const [first] = mine;
  expect(first).toMatchObject({ health: 'ok', lag: 0, crashes: 0, epoch: expect.any(Number) });
  expect(Date.parse(first.owned_since)).toBeGreaterThan(0);
  expect(mine).toEqual(all.filter(({ owner_name }) => owner_name === 'web-1'));
  expect(await list('shards', '--node', first.owner.slice(0, 8))).toEqual(mine);
  expect(nobody).toMatchObject({ code: 1, stdout: '' });
  expect(nobody.stderr).toContain('perdure: not_found: There is no node nobody');

  expect(table).toMatchObject({ code: 0, stderr: '' });
  const lines = table.stdout.trim().split('\n');
  expect(lines[0]).toMatch(/^SHARD +OWNER +SINCE +EPOCH +CURSOR +LAG +CRASHES +HEALTH$/);
  expect(lines[1]).toMatch(/^0 +web-\d +\d+\S* +\d+ +0 +0 +0 +ok$/);
  expect(lines).toHaveLength(66);
  expect(lines.at(-1)).toBe('64 shards, 2 nodes, 0 unhealthy');
});

test('without NATS the lag is not known, and everything else is', async () => {
  const { code, stdout, stderr } = await done(['shards'], {
    PERDURE_NATS_URL: 'nats://127.0.0.1:1',
  });
  expect(code).toBe(0);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect(stderr).toContain('how far shards are behind is not known');
  expect(stdout).toMatch(/^63 +web-\d .* \? +0 +ok$/m);
});

test('what keeps killing nodes is shown, by the doctor too', async () => {
  const [none] = await Promise.all([
    done(['quarantine', 'ls']),
    done(['start', 'light', '--id', 'q-1', '--until', 'committed']),
  ]);
  expect(none.stderr).toBe('no actors in quarantine\n');
  await sql.query('UPDATE shard SET crashes = 3 WHERE shard = 7');
  await sql.query(`UPDATE actor SET quarantined_at = now(), crashes = 5 WHERE id = 'q-1'`);
  const [unhealthy, table, rows, doctor] = await Promise.all([
    done(['shards', '--unhealthy']),
    done(['quarantine', 'ls']),
    list('quarantine', 'ls'),
    done(['doctor']),
  ]);
  expect(unhealthy.code).toBe(1);
  expect(unhealthy.stdout).toMatch(/^7 +web-\d .* 3 +suspect$/m);
  expect(unhealthy.stdout).toMatch(/^64 shards, 2 nodes, 1 unhealthy$/m);
  expect(rows).toMatchObject([{ type: 'light', id: 'q-1', state: 'off', seq: 1, crashes: 5 }]);
  expect(table.stdout).toMatch(/^light +q-1 +off +1 +\d+ +5 +\d/m);
  expect(doctor.stdout).toMatch(/^warn {2}crashing shards: 7 \(3 owners died/m);
  expect(doctor.stdout).toMatch(/^warn {2}quarantine: 1 in it: light\/q-1$/m);

  await sql.query('UPDATE shard SET crashes = 0 WHERE shard = 7');
  await sql.query(`UPDATE actor SET quarantined_at = NULL, crashes = 0 WHERE id = 'q-1'`);
  expect(await done(['shards', '--unhealthy'])).toMatchObject({
    code: 0,
    stdout: '64 shards, 2 nodes, 0 unhealthy\n',
  });
});

test('a worker that is killed is started again under its name', async () => {
  const [first, second] = (await ready(web, 2)) as [Worker, Worker];
  signal(first.pid, 'SIGKILL');
  const [again] = await ready(web, 3);
  expect(again).toMatchObject({ worker: 1, name: 'web-1' });
  expect(again?.nodeId).not.toBe(first.nodeId);
  expect(web.stderr).toContain(`worker 1 (pid ${first.pid}) ended: signal SIGKILL`);
  expect(web.stderr).toContain(`worker 1 runs again (pid ${again?.pid})`);
  expect(isAlive(second.pid)).toBe(true);
  await allHealthy();
  const [nodes, known] = await Promise.all([list('nodes'), list('nodes', '--all')]);
  expect(nodes.map(({ node_id }) => node_id).sort()).toEqual([again?.nodeId, second.nodeId].sort());
  const dead = known.find(({ node_id }) => node_id === first.nodeId);
  expect(dead).toMatchObject({ name: 'web-1', state: 'dead', shards: 0 });
});

test('SIGTERM drains all workers together', async () => {
  const pids = (await ready(web, 2)).map(({ pid }) => pid);
  // As a service manager does it: everybody gets the signal, and the workers get another one from the supervisor.
  for (const pid of [...pids, web.pid]) signal(pid, 'SIGTERM');
  expect(await web.ended).toBe(0);
  expect(pids.filter(isAlive)).toEqual([]);
  for (const pid of pids) expect(web.stderr).toContain(`(pid ${pid}) ended: exit code 0`);
  const [nodes, free] = await Promise.all([
    list('nodes'),
    done(['shards', '--unhealthy', '--json']),
  ]);
  expect(nodes).toEqual([]);
  expect(free.code).toBe(1);
  expect(jsonLines(free.stdout).filter(({ health }) => health === 'free')).toHaveLength(64);
});

test('workers that cannot start at all end it, with one error', async () => {
  const elsewhere = database.url.replace(/\/\/[^@]*@/, '//nobody:wrong@');
  const workers = (args: string[], env = {}) => done(['serve', '--workers', '2', ...args], env);
  const [noTypes, refused, noPorts] = await Promise.all([
    workers([join(ROOT, 'src/config.ts')]),
    workers([ACTORS], { PERDURE_DATABASE_URL: elsewhere }),
    workers([ACTORS, '--http', '65535']),
  ]);
  for (const { stdout, stderr } of [noTypes, refused, noPorts]) {
    expect(stdout).toBe('');
    expect(stderr.split('perdure: ')).toHaveLength(2);
  }
  expect(noTypes.code).toBe(2);
  expect(noTypes.stderr).toContain('exports no actor type');
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain('perdure: wrong_credentials: ');
  expect(refused.stderr).toContain(CORRECT);
  expect(noPorts.code).toBe(2);
  expect(noPorts.stderr).toContain('--http 65535 leaves no ports');
});

test('serve and ls give the same advice to who has the wrong credentials', async () => {
  const url = new URL(database.url);
  url.username = 'nobody';
  url.password = 'wrong';
  const at = { PERDURE_DATABASE_URL: url.href };
  const [served, listed] = await Promise.all([done(['serve', ACTORS], at), done(['ls'], at)]);
  for (const { code, stderr } of [served, listed]) {
    expect(code).toBe(1);
    expect(stderr).toMatch(/^perdure: wrong_credentials: Postgres at .* refused us: /m);
    expect(stderr).toContain(CORRECT);
    expect(stderr).not.toContain('wrong@');
  }
});

test('an actor in quarantine takes no events until it is released', async () => {
  await sql.query(`UPDATE actor SET quarantined_at = now(), crashes = 5 WHERE id = 'q-1'`);
  const [worker] = await ready(serve(['--workers', '1', '--http', '0']), 1);
  expect((await fetch(`${worker?.httpUrl}/livez`)).status).toBe(200);
  const toggle = () => done(['send', 'light', 'q-1', 'toggle', '--until', 'committed']);
  const refused = await toggle();
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain('perdure: actor_quarantined: light/q-1 is in quarantine');
  const released = await done(['quarantine', 'release', 'light', 'q-1']);
  expect(released).toMatchObject({ code: 0, stderr: '' });
  expect(released.stdout).toMatch(/^committed light\/q-1 #1: active, off$/m);
  expect((await toggle()).stdout).toBe('committed light/q-1 #2: active, on\n');
  expect(await list('quarantine', 'ls')).toEqual([]);
});

test('a second signal kills workers that hang', async () => {
  const run = serve(['--workers', '1']);
  const [stuck] = (await ready(run, 1)) as [Worker];
  signal(stuck.pid, 'SIGSTOP');
  run.process.kill('SIGTERM');
  await eventually(() => run.stderr.includes('draining'), { what: 'it was heard' });
  expect(isAlive(stuck.pid)).toBe(true);
  run.process.kill('SIGTERM');
  expect(await run.ended).toBe(1);
  await eventually(() => !isAlive(stuck.pid), { what: 'the worker is gone' });
});

test('workers of a supervisor that is killed end by themselves', async () => {
  const run = serve(['--workers', '2']);
  const pids = (await ready(run, 2)).map(({ pid }) => pid);
  const children = [...pids, ...childrenOf(run.pid)];
  run.process.kill('SIGKILL');
  await eventually(() => children.every((pid) => !isAlive(pid)), {
    what: 'workers and watchers have ended',
  });
  expect(await list('nodes')).toEqual([]);
});

test('shards answers, and ends, although NATS takes connections and says nothing', async () => {
  const dumb = createServer(() => {});
  await new Promise<void>((listening) => dumb.listen(0, '127.0.0.1', listening));
  const { port } = dumb.address() as AddressInfo;
  try {
    const run = perdure(['shards', '--nats', `nats://127.0.0.1:${port}`]);
    await eventually(() => run.stdout.includes('64 shards'), { what: 'the answer' });
    // A pager waits for the exit code.
    expect(await Promise.race([run.ended, exitWithin(10_000)])).toBe(0);
  } finally {
    dumb.close();
  }
});

const exitWithin = (ms: number) =>
  new Promise<string>((resolve) => setTimeout(() => resolve(`still there after ${ms} ms`), ms));

test.each([
  ['--database', 'notaurl', /is not a Postgres URL: write postgres:/],
  ['--database', 'mysql://x', /is not a Postgres URL: write postgres:/],
  ['--nats', 'http://foo', /is not a NATS URL: write nats:/],
])('serve with %s %s says at once what is wrong', async (flag, url, words) => {
  const run = perdure(['serve', ACTORS, flag, url]);
  expect(await run.ended).toBe(2);
  expect(run.stderr).toMatch(words);
});
