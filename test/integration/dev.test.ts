import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { connect } from '@nats-io/transport-node';
import { Client } from 'pg';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { readDevFile } from '../../src/dev/devFile.ts';
import { childrenOf, commandLine, isAlive, signal } from '../../src/dev/process.ts';
import { eventually } from '../support/services.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const ACTORS = join(ROOT, 'test/support/devActors.ts');
const START_MS = 60_000;

// Each test starts servers several times, perhaps on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

interface Line {
  natsUrl: string;
  databaseUrl: string;
  inspectUrl: string;
  pids: { dev: number; postgres: number; nats: number; nodes: number[] };
}

/** A `perdure dev` in a process, as a user has it. */
interface Run {
  process: ChildProcess;
  pid: number;
  stdout: string;
  stderr: string;
  exitCode: Promise<number | null>;
}

let data: string;
const runs: Run[] = [];

beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), 'perdure-dev-'));
  chmodSync(data, 0o755);
});

afterEach(async () => {
  for (const run of runs.splice(0)) {
    run.process.kill('SIGINT');
    await run.exitCode;
  }
  rmSync(data, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
});

function dev(args: string[] = [], env: NodeJS.ProcessEnv = {}): Run {
  const process_ = spawn(
    process.execPath,
    ['src/cli/main.ts', 'dev', ACTORS, '--data', data, '--json', ...args],
    { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } },
  );
  const run: Run = {
    process: process_,
    pid: process_.pid as number,
    stdout: '',
    stderr: '',
    exitCode: new Promise((done) => process_.once('exit', (code) => done(code))),
  };
  process_.stdout.on('data', (chunk) => {
    run.stdout += chunk;
  });
  process_.stderr.on('data', (chunk) => {
    run.stderr += chunk;
  });
  runs.push(run);
  return run;
}

async function ready(run: Run): Promise<Line> {
  await eventually(() => run.stdout.endsWith('\n') || run.process.exitCode !== null, {
    what: 'perdure dev is ready',
    timeoutMs: START_MS,
  });
  if (run.stdout === '') throw new Error(`perdure dev ended: ${run.stderr}`);
  return JSON.parse(run.stdout) as Line;
}

/** Everything a run started: what it names and what else it is the parent of. */
function allPids(line: Line): number[] {
  const { dev, postgres, nats, nodes } = line.pids;
  return [...new Set([dev, postgres, nats, ...nodes, ...childrenOf(dev), ...childrenOf(postgres)])];
}

const gone = (pids: number[], timeoutMs = 5_000) =>
  eventually(() => pids.every((pid) => !isAlive(pid)), {
    what: `no process is left; there are ${pids.filter(isAlive).map(commandLine).join(' | ')}`,
    timeoutMs,
  });

async function sql(line: Line, text: string): Promise<unknown[]> {
  const client = new Client(line.databaseUrl);
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

test('starts everything, refuses a second run, and leaves nothing behind after Ctrl-C', async () => {
  const run = dev(['--nodes', '2']);
  const line = await ready(run);
  expect(Object.keys(line)).toEqual(['natsUrl', 'databaseUrl', 'inspectUrl', 'pids']);
  expect(run.stdout.trim().split('\n')).toHaveLength(1);
  expect(line.pids.dev).toBe(run.pid);
  expect(line.pids.nodes).toHaveLength(2);

  expect(commandLine(line.pids.postgres)).toContain(join(data, 'postgres', 'data'));
  expect(commandLine(line.pids.nats)).toContain(join(data, 'nats', 'nats.conf'));
  for (const pid of line.pids.nodes) expect(commandLine(pid)).toContain(`serve ${ACTORS}`);
  expect(await sql(line, 'SELECT name FROM perdure.nodes WHERE live ORDER BY name')).toEqual([
    { name: 'node 1' },
    { name: 'node 2' },
  ]);
  expect(await sql(line, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  const nats = await connect({ servers: line.natsUrl });
  await nats.close();
  expect((await fetch(line.inspectUrl)).status).toBeLessThan(500);
  expect(readDevFile(data)).toMatchObject(line);

  const second = dev();
  expect(await second.exitCode).toBe(1);
  expect(JSON.parse(second.stderr)).toMatchObject({ error: { code: 'already_running' } });
  expect(second.stderr).toContain(`pid ${run.pid}`);

  const pids = allPids(line);
  run.process.kill('SIGINT');
  expect(await run.exitCode).toBe(0);
  await gone(pids);
  expect(readDevFile(data)).toBeUndefined();
});

test('of several runs started at once on one directory one wins', async () => {
  const all = [dev(), dev(), dev()];
  const winner = await Promise.any(all.map(async (run) => ({ run, line: await ready(run) })));
  const losers = all.filter((run) => run !== winner.run);
  for (const run of losers) {
    expect(await run.exitCode).toBe(1);
    expect(run.stderr).toContain('already_running');
  }
  expect(isAlive(winner.line.pids.postgres)).toBe(true);
});

test('after kill -9 the next run takes over the directory with its data', async () => {
  const killed = dev();
  const before = await ready(killed);
  const old = allPids(before);
  await sql(before, 'CREATE TABLE kept AS SELECT 42 AS answer');
  killed.process.kill('SIGKILL');
  await killed.exitCode;
  expect(readDevFile(data)).toBeUndefined();

  const after = await ready(dev());
  expect(await sql(after, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
  // The same places, so that whoever had the URLs can go on.
  expect(after.databaseUrl).toBe(before.databaseUrl);
  expect(after.natsUrl).toBe(before.natsUrl);
  expect(after.inspectUrl).toBe(before.inspectUrl);
  await gone(old.filter((pid) => !/watcher/.test(commandLine(pid))));
});

test('after kill -9 everything it started ends by itself', async () => {
  const killed = dev(['--nodes', '2']);
  const line = await ready(killed);
  const pids = allPids(line);
  killed.process.kill('SIGKILL');
  await gone(line.pids.nodes, 10_000);
  await gone(pids, 30_000);
});

test('starts again what dies', async () => {
  const run = dev();
  const line = await ready(run);
  const { postgres, nats, nodes } = line.pids;
  for (const pid of [postgres, nats, ...nodes]) signal(pid, 'SIGKILL');
  const now = await eventually(
    () => {
      const file = readDevFile(data);
      const fresh = file && [file.pids.postgres, file.pids.nats, ...file.pids.nodes];
      return fresh?.every((pid) => isAlive(pid) && ![postgres, nats, ...nodes].includes(pid))
        ? file
        : undefined;
    },
    { what: 'all three run again', timeoutMs: 60_000 },
  );
  expect(now.databaseUrl).toBe(line.databaseUrl);
  expect(now.natsUrl).toBe(line.natsUrl);
  for (const name of ['Postgres', 'nats-server', 'node'])
    expect(run.stderr).toMatch(new RegExp(`${name} \\(pid \\d+\\) ended: signal SIGKILL`));
  expect(await sql(line, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('Ctrl-C while starting leaves nothing behind', async () => {
  const run = dev();
  await eventually(() => run.stderr.includes('making a Postgres cluster'), { what: 'it starts' });
  run.process.kill('SIGINT');
  expect(await run.exitCode).toBe(0);
  expect(run.stdout).toBe('');
  const next = dev();
  await ready(next);
  expect(next.stderr).not.toContain('an earlier run left behind');
});

test('a second Ctrl-C kills a node that hangs', async () => {
  const run = dev([], { PERDURE_TEST_HANG: '1' });
  const line = await ready(run);
  const pids = allPids(line);
  // It is dealt with before the signal that ends it.
  for (const pid of line.pids.nodes) process.kill(pid, 'SIGUSR2');
  run.process.kill('SIGINT');
  await eventually(() => run.stderr.includes('stopping'), { what: 'it was heard' });
  expect(line.pids.nodes.every(isAlive)).toBe(true);
  run.process.kill('SIGINT');
  expect(await run.exitCode).toBe(1);
  await gone(pids, 5_000);
});

test('a file without actor types is refused before anything is started', async () => {
  const { code, stderr } = await refused(['src/config.ts']);
  expect(code).toBe(2);
  expect(stderr).toContain('perdure: bad_options: src/config.ts exports no actor type');
  expect(stderr).toContain('LIMITS');
  expect(existsSync(join(data, 'postgres'))).toBe(false);
});

test('a port another program has is named, with the option for another one', async () => {
  const other = createServer();
  await new Promise<void>((listening) => other.listen(0, '127.0.0.1', listening));
  const { port } = other.address() as AddressInfo;
  try {
    for (const option of ['--port-postgres', '--port-nats']) {
      const { code, stderr } = await refused(['--nodes', '0', option, String(port)]);
      expect(code).toBe(2);
      expect(stderr).toContain(`cannot listen on port ${port}`);
      expect(stderr).toContain(`Choose another port with ${option}`);
    }
  } finally {
    other.close();
  }
});

/** A run that ends by itself. */
async function refused(args: string[]): Promise<{ code: number | null; stderr: string }> {
  const run = spawn(process.execPath, ['src/cli/main.ts', 'dev', ...args, '--data', data], {
    cwd: ROOT,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  run.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const code = await new Promise<number | null>((done) => run.once('close', done));
  return { code, stderr };
}
