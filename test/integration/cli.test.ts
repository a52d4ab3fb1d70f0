import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { connect } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { fromPromise, setup } from 'xstate';
import { type ActorType, defineActor } from '../../src/actors/define.ts';
import { startInspectServer } from '../../src/inspect/server.ts';
import { createLogger } from '../../src/log.ts';
import { createNode, type PerdureNode } from '../../src/node.ts';
import { eventually, freshDatabase, freshNamespace, natsUrl } from '../support/services.ts';

const ROOT = resolve(import.meta.dirname, '../..');

// Every command is a process of its own, perhaps on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const order = defineActor('order', {
  machine: setup({
    types: {
      input: {} as { total?: number } | undefined,
      context: {} as { total: number; since: Date },
      events: {} as { type: 'PAY'; amount?: number } | { type: 'HOLD' } | { type: 'TRY' },
    },
    actors: {
      forever: fromPromise(() => new Promise(() => {})),
      flaky: fromPromise(() => Promise.reject(new Error('no luck'))),
    },
    delays: { day: 86_400_000 },
  }).createMachine({
    context: ({ input }) => ({ total: input?.total ?? 0, since: new Date(0) }),
    initial: 'waiting',
    states: {
      waiting: {
        tags: 'open',
        after: { day: 'paid' },
        on: { PAY: 'paid', HOLD: 'held', TRY: 'trying' },
      },
      held: { initial: 'asking', states: { asking: { invoke: { id: 'ask', src: 'forever' } } } },
      trying: { invoke: { id: 'try', src: 'flaky' } },
      paid: { type: 'final' },
    },
    output: ({ context }) => ({ total: context.total }),
  }),
  searchable: ['total'],
  retry: { flaky: { attempts: 100, delayMs: 3_600_000, maxDelayMs: 3_600_000 } },
});

const late = defineActor('late', {
  machine: setup({}).createMachine({ on: { PING: {} } }),
});

let database: Awaited<ReturnType<typeof freshDatabase>>;
let node: PerdureNode | undefined;
let dir: string;
const namespace = freshNamespace();

interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
}

beforeAll(async () => {
  database = await freshDatabase();
  dir = mkdtempSync(join(tmpdir(), 'perdure-cli-'));
  const migrated = await perdure('migrate', '--json');
  expect(migrated).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(migrated.stdout)).toMatchObject({ namespace, version: expect.any(Number) });
  expect(JSON.parse(migrated.stdout).applied).toEqual([
    '0001_initial.sql',
    '0002_cluster.sql',
    '0003_versions.sql',
    '0004_parked.sql',
    '0005_families.sql',
    '0006_machines.sql',
    '0007_held_since.sql',
    '0008_outcomes.sql',
    '0009_snapshot_once.sql',
    '0010_paused.sql',
    '0011_searchable.sql',
    '0012_history_vacuum.sql',
    '0013_failed_attempts.sql',
    '0014_refused_commits.sql',
    '0015_lagging_rows.sql',
    '0016_timers_named.sql',
  ]);
  await runNode([order]);
});

afterAll(async () => {
  await node?.stop();
  await database.drop();
  rmSync(dir, { recursive: true, force: true });
});

async function runNode(actors: ActorType[]): Promise<void> {
  await node?.stop();
  node = createNode({
    actors,
    natsUrl: natsUrl(),
    databaseUrl: database.url,
    namespace,
    logger: createLogger({ level: 'silent' }),
  });
  await node.start();
}

function child(args: string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(process.execPath, [join(ROOT, 'src/cli/main.ts'), ...args], {
    cwd: dir,
    env: {
      ...process.env,
      PERDURE_NATS_URL: natsUrl(),
      PERDURE_DATABASE_URL: database.url,
      PERDURE_NAMESPACE: namespace,
      ...env,
    },
  });
}

function ended(running: ChildProcess): Promise<Result> {
  const result: Result = { code: null, stdout: '', stderr: '' };
  running.stdout?.on('data', (chunk) => {
    result.stdout += chunk;
  });
  running.stderr?.on('data', (chunk) => {
    result.stderr += chunk;
  });
  return new Promise((done) => running.once('close', (code) => done({ ...result, code })));
}

function perdure(...args: string[]): Promise<Result> {
  const running = child(args);
  running.stdin?.end();
  return ended(running);
}

const json = (result: Result) => JSON.parse(result.stdout);
const jsonLines = ({ stdout }: Result) =>
  stdout
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

/** Starts an order that is committed. */
async function startOrder(id: string, total = 30): Promise<void> {
  const started = await perdure(
    ...['start', 'order', '--id', id, '--input', JSON.stringify({ total })],
    ...['--until', 'committed'],
  );
  expect(started).toMatchObject({ code: 0, stderr: '' });
}

test('migrate says when there is nothing to do', async () => {
  const again = await perdure('migrate');
  expect(again).toMatchObject({ code: 0, stderr: '' });
  expect(again.stdout).toMatch(/is at version \d+ already/);
});

test('pause and resume: shown while it lasts, and everything in order afterwards', async () => {
  await perdure('start', 'order', '--id', 'p-1', '--input', '{"total":5}', '--until', 'committed');
  const pause = await perdure('pause', 'order', 'p-1', '--until', 'committed');
  expect(pause).toMatchObject({ code: 0, stdout: 'committed order/p-1 #1: active, waiting\n' });
  expect(await perdure('pause', 'order', 'p-1', '--until', 'committed')).toMatchObject({
    code: 1,
    stderr: 'perdure: already_paused: order/p-1 is paused already.\n',
  });
  await perdure('send', 'order', 'p-1', 'PAY');
  const listed = await perdure('ls', 'order', '--paused');
  expect(listed.stdout).toMatch(/^order +p-1 +paused +waiting/m);
  expect(listed.stdout.trim().split('\n')).toHaveLength(2);
  expect(JSON.parse((await perdure('ls', '--paused', '--json')).stdout)).toMatchObject({
    id: 'p-1',
    paused_at: expect.any(String),
  });
  await eventually(
    async () =>
      /^paused +for \d+\S*; 1 messages wait; perdure resume order p-1$/m.test(
        (await perdure('show', 'order', 'p-1', '--no-chart')).stdout,
      ),
    { what: 'show says what waits' },
  );
  expect(await perdure('resume', 'order', 'p-1', '--until', 'committed')).toMatchObject({
    code: 0,
  });
  await eventually(
    async () => /^status +done$/m.test((await perdure('show', 'order', 'p-1')).stdout),
    { what: 'the event that waited is applied' },
  );
  expect(await perdure('resume', 'order', 'p-1', '--until', 'committed')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('actor_finished'),
  });
  expect(await perdure('pause', 'order', 'p-1.child-1')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('only order/p-1 can be paused'),
  });
});

test('start, send and cancel say what became of it', async () => {
  const started = await perdure(
    ...['start', 'order', '--id', 's-1', '--input', '{"total":30}'],
    ...['--until', 'committed', '--json'],
  );
  expect(started.code).toBe(0);
  expect(json(started)).toMatchObject({
    type: 'order',
    id: 's-1',
    duplicate: false,
    seq: 1,
    status: 'active',
    state: 'waiting',
  });
  const accepted = await perdure('start', 'order', '--id', 's-2');
  expect(accepted).toMatchObject({ code: 0, stdout: 'accepted order/s-2\n' });

  const paid = await perdure(
    ...['send', 'order', 's-1', 'PAY', '--with', '{"amount":30}', '--until', 'committed'],
  );
  expect(paid).toMatchObject({ code: 0, stdout: 'committed order/s-1 #2: done, paid\n' });
  const sent = jsonLines(await perdure('history', 'order', 's-1', '--json'))[1];
  expect(sent.event).toEqual({ type: 'PAY', amount: 30 });

  const cancelled = await perdure('cancel', 'order', 's-2', '--until', 'committed');
  expect(cancelled.stdout).toBe('committed order/s-2 #2: stopped, waiting\n');
});

test('start --wait prints the output; what ends otherwise exits with 1', async () => {
  const running = ended(
    child(['start', 'order', '--id', 'w-1', '--input', '{"total":7}', '--wait']),
  );
  await eventually(async () => (await perdure('show', 'order', 'w-1')).code === 0, {
    what: 'it is there',
  });
  await perdure('send', 'order', 'w-1', '{"type":"PAY"}');
  expect(await running).toMatchObject({ code: 0, stdout: '{"total":7}\n' });

  const stopped = ended(child(['start', 'order', '--id', 'w-2', '--wait', '--json']));
  await eventually(async () => (await perdure('show', 'order', 'w-2')).code === 0, {
    what: 'it is there',
  });
  await perdure('cancel', 'order', 'w-2');
  const result = await stopped;
  expect(result.code).toBe(1);
  expect(json(result)).toMatchObject({ id: 'w-2', status: 'stopped' });
});

test('ls, show and history', async () => {
  await startOrder('l-1');
  await perdure('send', 'order', 'l-1', 'HOLD', '--until', 'committed');
  await startOrder('l-2');

  const listed = await perdure('ls', 'order', '--status', 'active');
  expect(listed.code).toBe(0);
  const [heading, ...rows] = listed.stdout.split('\n');
  expect(heading).toMatch(/^TYPE +ID +STATUS +STATE +SEQ +AGE +CHANGED$/);
  expect(rows.join('\n')).toMatch(/^order +l-1 +active +held\.asking +2 +/m);
  const held = jsonLines(await perdure('ls', '--state', 'held', '--json'));
  expect(held.map((actor) => actor.id)).toEqual(['l-1']);
  expect((await perdure('ls', '--limit', '1')).stderr).toContain('the first 1');

  await startOrder('l-3', 4711);
  const found = async (...args: string[]) =>
    jsonLines(await perdure('ls', '--json', ...args)).map(({ id }) => id);
  expect(await found('order', '--where', 'total=4711')).toEqual(['l-3']);
  expect(await found('--where', 'total=4711', '--state', 'held')).toEqual([]);
  await perdure('send', 'order', 'l-3', 'HOLD', '--until', 'committed');
  expect(await found('--where', 'total=4711', '--state', 'held.asking')).toEqual(['l-3']);
  expect((await perdure('ls', '--where', 'total=4712')).stderr).toBe('no actors\n');

  const shown = json(await perdure('show', 'order', 'l-1', '--json'));
  expect(shown).toMatchObject({
    state: { held: 'asking' },
    seq: 2,
    context: { total: 30 },
    invokes: [{ invokeId: expect.any(String), startedSeq: 2 }],
  });
  const waiting = await perdure('show', 'order', 'l-2');
  expect(waiting.stdout).toMatch(/^tags +open$/m);
  expect(waiting.stdout).toMatch(/^timers +.* in 23h59m \(/m);
  expect(waiting.stdout).toMatch(/since: 1970-01-01T00:00:00.000Z/);
  expect((await perdure('show', 'order', 'l-1')).stdout).toMatch(/^invokes +ask, started by #2$/m);

  const history = await perdure('history', 'order', 'l-1');
  expect(history.stdout).toMatch(/^1 .* xstate\.init +- +waiting +start /m);
  expect(history.stdout).toMatch(/^2 .* HOLD +waiting +held\.asking +event /m);
  const from = jsonLines(
    await perdure('history', 'order', 'l-1', '--from-seq', '2', '--snapshots', '--json'),
  );
  expect(from).toHaveLength(1);
  expect(from[0]).toMatchObject({ seq: 2, snapshot: { machine: expect.any(String) } });
});

test('show names a retry that waits', async () => {
  await startOrder('r-1');
  await perdure('send', 'order', 'r-1', 'TRY', '--until', 'committed');
  await eventually(
    async () => {
      const { stdout } = await perdure('show', 'order', 'r-1');
      return /^invokes +try, started by #2, attempt 2 in .* after 'Error: no luck'$/m.test(stdout);
    },
    { what: 'the retry is shown' },
  );
  const { stdout } = await perdure('history', 'order', 'r-1');
  expect(stdout).toMatch(/^ +\S+Z +try: attempt 1 failed after \d+ ms +Error: no luck +\w{8}$/m);
  const [, second] = jsonLines(await perdure('history', 'order', 'r-1', '--json'));
  expect(second.failed_attempts).toMatchObject([{ invoke_id: 'try', attempt: 1 }]);
});

test('graph prints the machine, show marks where an actor is, history --diff what changed', async () => {
  await startOrder('g-1');
  await perdure('send', 'order', 'g-1', 'HOLD', '--until', 'committed');
  const graph = await perdure('graph', 'order');
  expect(graph).toMatchObject({ code: 0, stderr: '' });
  expect(graph.stdout).toMatch(/^order\n/);
  expect(graph.stdout).toContain('after day → paid');
  const mermaid = await perdure('graph', 'order', '--format', 'mermaid');
  expect(mermaid.stdout).toMatch(/^stateDiagram-v2\n/);
  const svg = await perdure('graph', 'order', '--format', 'svg');
  expect(svg).toMatchObject({ code: 0, stderr: '' });
  expect(svg.stdout).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"[\s\S]*<\/svg>\n$/);
  expect(svg.stdout).toContain('>waiting</text>');
  expect(svg.stdout).toContain('>after day</text>');
  expect(json(await perdure('graph', 'order', '--format', 'json'))).toMatchObject({
    actors: { flaky: { kind: 'promise', attempts: 100 } },
  });
  const unknown = await perdure('graph', 'order', '--of', '7');
  expect(unknown).toMatchObject({ code: 1 });
  expect(unknown.stderr).toContain('recorded are 1');
  const shown = await perdure('show', 'order', 'g-1');
  expect(shown.stdout).toMatch(/● held\n[\s\S]*● asking/);
  expect(shown.stdout).not.toContain('● waiting');
  expect((await perdure('show', 'order', 'g-1', '--no-chart')).stdout).not.toContain('●');
  const { stdout } = await perdure('history', 'order', 'g-1', '--diff');
  expect(stdout).toMatch(/^#2 {2}\S+ {2}HOLD\n {2}~ state: "waiting" → \{"held":"asking"\}$/m);
  const [first, second] = jsonLines(await perdure('history', 'order', 'g-1', '--diff', '--json'));
  expect(first.changes).toContainEqual({ path: 'state', kind: 'added', after: 'waiting' });
  expect(second.changes).toHaveLength(1);
});

test('inspect lets in who has the token, and is never open by accident', async () => {
  for (const [args, words] of [
    [['--host', '0.0.0.0', '--no-token'], 'token'],
    [['--host', '0.0.0.0'], '--allow-host'],
  ] as const) {
    const refused = await perdure('inspect', ...args);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain(words);
  }
  const weak = await ended(child(['inspect'], { PERDURE_INSPECT_TOKEN: 'secret' }));
  expect(weak).toMatchObject({ code: 2 });
  expect(weak.stderr).toContain('too weak');
  expect(weak.stderr).not.toContain('"secret"');

  await startOrder('i-1');
  const running = child(['inspect', '--json']);
  const result = ended(running);
  try {
    const line = await new Promise<string>((done) =>
      running.stdout?.once('data', (chunk) => done(String(chunk))),
    );
    const { url, address } = JSON.parse(line) as { url: string; address: string };
    const token = address.split('#token=')[1] ?? '';
    expect(token.length).toBeGreaterThanOrEqual(43);
    expect((await fetch(`${url}/api/overview`)).status).toBe(401);
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const post = async (event: object) => {
      const body = JSON.stringify({ event });
      const path = `${url}/api/actors/order/i-1/events`;
      const response = await fetch(path, { method: 'POST', headers, body });
      return { status: response.status, body: await response.json() };
    };
    expect(await post({ type: 'SHIP' })).toMatchObject({
      status: 409,
      body: { error: { code: 'event_not_handled', allowed: ['HOLD', 'PAY', 'TRY'] } },
    });
    const stop = new AbortController();
    const live = await fetch(`${url}/api/live?type=order&id=i-1`, { headers, signal: stop.signal });
    expect(await post({ type: 'PAY' })).toMatchObject({
      status: 200,
      body: { receipt: { seq: 2, status: 'done', state: 'paid' } },
    });
    let told = '';
    for await (const chunk of live.body ?? []) {
      told += Buffer.from(chunk).toString();
      if (told.includes('"seq":2')) break;
    }
    stop.abort();
    expect(told).toContain('event: transitions');
  } finally {
    running.kill('SIGINT');
  }
  expect(await result).toMatchObject({ code: 0, stderr: '' });
});

test('what is not there is an error that says so', async () => {
  for (const command of ['show', 'history']) {
    const unknown = await perdure(command, 'order', 'nobody');
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toContain('perdure: not_found: There is no order/nobody.');
  }
  const event = await perdure('send', 'order', 'nobody', 'PAY', '--until', 'committed');
  expect(event.code).toBe(1);
  expect(event.stderr).toContain(
    'perdure: unknown_actor: There is no order/nobody; start it first.',
  );
  expect(event.stderr).toContain('perdure dead redrive');
});

test.each([
  [['start', 'order', '--input', '{total}']],
  [['start', 'order', '--input', '@nowhere.json']],
  [['start']],
  [['start', '--from', 'nowhere.jsonl']],
  [['send', 'order', 'x', '{"type":']],
  [['send', 'order', 'x', 'PAY', '--with', '[]']],
  [['send', 'order', 'not.a.token', 'PAY']],
  [['ls', '--limit', '0']],
  [['ls', '--status', 'sleeping']],
  [['ls', '--where', 'total']],
  [['ls', '--where', 'total=1', '--where', 'total=2']],
  [['ls', '--parked', '--where', 'total=1']],
  [['dead', 'redrive']],
  [['dead', 'redrive', '1', '--all']],
])('asked in a wrong way: %j', async (args) => {
  const { code, stdout, stderr } = await perdure(...args);
  expect(code).toBe(2);
  expect(stdout).toBe('');
  expect(stderr).toMatch(/^perdure: (usage|bad_options): /);
});

test.each(['ls', 'watch', 'migrate', 'dead redrive 1'])('%s without a URL', async (command) => {
  const nowhere = { PERDURE_NATS_URL: '', PERDURE_DATABASE_URL: '' };
  const lost = await ended(child([...command.split(' '), '--json'], nowhere));
  expect(lost.code).toBe(2);
  expect(JSON.parse(lost.stderr).error).toMatchObject({ code: 'bad_options' });
});

// Each gives the servers seconds to answer.
test.concurrent('servers that do not answer are named, with the reason', async () => {
  const [postgres, nats] = await Promise.all([
    ended(child(['ls'], { PERDURE_DATABASE_URL: 'postgres://me:secret@127.0.0.1:1/x' })),
    ended(child(['start', 'order'], { PERDURE_NATS_URL: 'nats://127.0.0.1:1' })),
  ]);
  expect(postgres.code).toBe(1);
  expect(postgres.stderr).toMatch(/^perdure: store_unavailable: Postgres at .*ECONNREFUSED/);
  expect(postgres.stderr).not.toContain('secret');
  expect(nats.code).toBe(1);
  expect(nats.stderr).toMatch(/^perdure: bus_unavailable: .*perdure doctor/);
});

test.concurrent('start --from stops when NATS cannot be reached, and says so', async () => {
  const running = child(['start', 'order', '--from', '-'], {
    PERDURE_NATS_URL: 'nats://127.0.0.1:1',
  });
  const result = ended(running);
  // Standard input stays open: it must not wait for the next line.
  running.stdin?.write('{"id":"g-1"}\n');
  const { code, stdout, stderr } = await result;
  expect(code).toBe(1);
  expect(stdout).toMatch(/^0 accepted, 0 duplicates, 0 failed/);
  expect(stderr).toMatch(/^perdure: bus_unavailable: /m);
});

test.concurrent('doctor fails when nothing answers, and names what is missing', async () => {
  const gone = await ended(
    child(['doctor'], {
      PERDURE_NATS_URL: 'nats://user:secret@127.0.0.1:1',
      PERDURE_DATABASE_URL: 'postgres://user:secret@127.0.0.1:1/x',
    }),
  );
  expect(gone.code).toBe(1);
  expect(gone.stdout).toMatch(/^fail {2}postgres: /m);
  expect(gone.stdout).toMatch(/^fail {2}nats: /m);
  expect(gone.stdout).not.toContain('secret');
  const fresh = await freshDatabase();
  try {
    const empty = await ended(child(['doctor'], { PERDURE_DATABASE_URL: fresh.url }));
    expect(empty.code).toBe(1);
    expect(empty.stdout).toMatch(/^fail {2}schema: .*\n +Run perdure migrate\.$/m);
  } finally {
    await fresh.drop();
  }
});

test('start --from takes every good line once', async () => {
  const file = join(dir, 'jobs.jsonl');
  const good = Array.from({ length: 600 }, (_, n) =>
    JSON.stringify({ id: `f-${n}`, input: { total: n } }),
  );
  writeFileSync(file, `${good.join('\n')}\n\n`);
  const first = await perdure('start', 'order', '--from', file, '--json');
  expect(first.code).toBe(0);
  expect(json(first)).toMatchObject({ accepted: 600, duplicates: 0, failed: 0 });
  const second = await perdure('start', 'order', '--from', file);
  expect(second.code).toBe(0);
  expect(second.stdout).toMatch(/^0 accepted, 600 duplicates, 0 failed in /);
  await eventually(
    async () => {
      const all = jsonLines(await perdure('ls', 'order', '--limit', '10000', '--json'));
      return all.filter(({ id }) => id.startsWith('f-')).length === 600;
    },
    { what: 'all have started' },
  );
  const deadLetters = jsonLines(await perdure('dead', 'ls', '--reason', 'actor_exists', '--json'));
  expect(deadLetters).toEqual([]);
});

test('start --from - names bad lines and does the others', async () => {
  const running = child(['start', '--from', '-', '--json']);
  const result = ended(running);
  const lines = [
    '\uFEFF{"type":"order","id":"b-1"}',
    'nonsense',
    '{"id":"b-2"}',
    '{"type":"order","id":"b 3"}',
    '{"type":"order","id":"b-4","inputs":{}}',
    '[]',
    '{"type":"order","id":"b-5","input":{"total":1}}',
  ];
  running.stdin?.end(lines.join('\r\n'));
  const { code, stdout, stderr } = await result;
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ accepted: 2, duplicates: 0, failed: 5 });
  const named = stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(named.map(({ line, error }) => [line, error.code]).sort()).toEqual([
    [2, 'bad_body'],
    [3, 'bad_body'],
    [4, 'bad_subject'],
    [5, 'bad_body'],
    [6, 'bad_body'],
  ]);
});

test('start --from --until committed tells what became of every line', async () => {
  const file = join(dir, 'committed.jsonl');
  writeFileSync(file, '{"id":"c-1"}\n{"id":"c-1","input":{"total":1}}\n{"id":"c-2"}\n');
  const load = () =>
    perdure(
      ...['start', 'order', '--from', file, '--until', 'committed'],
      ...['--timeout', '5', '--json'],
    );
  const first = await load();
  expect(first.code).toBe(1);
  expect(json(first)).toMatchObject({ accepted: 2, duplicates: 0, failed: 1 });
  expect(JSON.parse(first.stderr)).toMatchObject({ line: 2, error: { code: 'actor_exists' } });
  // What became a dead letter is not asked again, and does not hold up the others.
  const second = await load();
  expect(json(second)).toMatchObject({ accepted: 0, duplicates: 2, failed: 1 });
  expect(JSON.parse(second.stderr)).toMatchObject({ line: 2 });
});

test('start --from says how far it got when it is interrupted', async () => {
  const running = child(['start', 'order', '--from', '-']);
  const result = ended(running);
  running.stdin?.write('{"id":"line-1"}\n');
  await eventually(async () => (await perdure('show', 'order', 'line-1')).code === 0, {
    what: 'the first line is done',
  });
  running.kill('SIGINT');
  const { code, stdout, stderr } = await result;
  expect(code).toBe(1);
  expect(stdout).toMatch(/^1 accepted, 0 duplicates, 0 failed/);
  expect(stderr).toContain('run the same again');
});

test('watch prints transitions until it is told to stop', async () => {
  const running = child(['watch', 'order', 'feed-1', '--json']);
  const result = ended(running);
  await new Promise<void>((ready) => {
    running.stderr?.on('data', (chunk) => String(chunk).includes('watching') && ready());
  });
  let seen = '';
  running.stdout?.on('data', (chunk) => {
    seen += chunk;
  });
  await startOrder('feed-1');
  await startOrder('feed-2');
  await perdure('send', 'order', 'feed-1', 'PAY');
  await eventually(() => seen.includes('"paid"'), { what: 'both transitions are printed' });
  running.kill('SIGINT');
  const stopped = await result;
  expect(stopped.code).toBe(0);
  const entries = jsonLines(stopped);
  expect(entries.map(({ id, seq, to }) => [id, seq, to])).toEqual([
    ['feed-1', 1, 'waiting'],
    ['feed-1', 2, 'paid'],
  ]);
});

test('a dead letter is redriven once its cause is gone', async () => {
  await perdure('send', 'order', 'd-1', 'PAY', '--message-id', 'pay-d-1');
  const letter = await eventually(
    async () => {
      const found = jsonLines(await perdure('dead', 'ls', '--reason', 'unknown_actor', '--json'));
      return found.find(({ subject }) => subject === 'events.order.d-1');
    },
    { what: 'the dead letter is there' },
  );
  const id = letter.dead_letter_id;
  expect(letter).toMatchObject({ message_id: 'pay-d-1', redriven_at: null });
  const newest = await perdure('dead', 'ls', '--limit', '1');
  expect(newest.stderr).toMatch(/^the newest 1; --after \d+ shows what is older\n$/);
  const older = jsonLines(await perdure('dead', 'ls', '--after', id, '--json'));
  expect(older.every(({ dead_letter_id }) => Number(dead_letter_id) < Number(id))).toBe(true);
  expect((await perdure('dead', 'ls', '--after', 'x')).stderr).toContain(
    'no number of a dead letter',
  );
  expect((await perdure('dead', 'ls')).stdout).toMatch(/unknown_actor +events\.order\.d-1/);
  const shown = json(await perdure('dead', 'show', id, '--json'));
  expect(shown).toMatchObject({ body: '{"type":"PAY"}', body_encoding: 'utf8' });
  expect(shown.headers).toMatchObject({ 'Nats-Msg-Id': 'pay-d-1' });

  await startOrder('d-1', 5);
  const redriven = await perdure('dead', 'redrive', id);
  expect(redriven).toMatchObject({ code: 0, stderr: '' });
  await eventually(
    async () => json(await perdure('show', 'order', 'd-1', '--json')).status === 'done',
    { what: 'the event has been applied' },
  );
  const again = await perdure('dead', 'redrive', id, '--json');
  expect(again.code).toBe(1);
  expect(json(again)).toMatchObject({ dead_letter_id: id, error: { code: 'bad_options' } });
  expect((await perdure('dead', 'redrive', '999999')).stderr).toContain('perdure: not_found');
});

test('what could never be done is not redriven', async () => {
  const nats = await connect({ servers: natsUrl() });
  try {
    nats.publish(`${namespace}.jobs.order.ümlaut`, '{}');
    nats.publish(`${namespace}.events.order.d-2`, new Uint8Array([0xff, 0xfe]));
    await nats.flush();
  } finally {
    await nats.close();
  }
  const letters = await eventually(
    async () => {
      const all = jsonLines(await perdure('dead', 'ls', '--json'));
      const found = ['bad_subject', 'bad_body'].map((reason) =>
        all.find((letter) => letter.reason === reason),
      );
      return found.every((letter) => letter !== undefined) && found;
    },
    { what: 'both are dead letters' },
  );
  const [subject, body] = letters;
  const shown = await perdure('dead', 'show', body.dead_letter_id);
  expect(shown.stdout).toMatch(/^body \(2 bytes, base64\) +\/\/4=$/m);
  for (const { dead_letter_id, reason } of [subject, body]) {
    const refused = await perdure('dead', 'redrive', dead_letter_id);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`perdure: ${reason}: Dead letter ${dead_letter_id} cannot be`);
  }
  const all = await perdure('dead', 'redrive', '--all', '--reason', 'bad_body');
  expect(all).toMatchObject({ code: 1, stdout: '' });
  expect(all.stderr).toMatch(/^perdure: bad_body: .*\n0 redriven; 1 not: 1 bad_body\n$/);
});

test('redrive --all takes the oldest first and leaves what is done alone', async () => {
  await perdure('start', 'late', '--id', 'a-1');
  await perdure('send', 'late', 'a-1', 'PING');
  const waiting = () => perdure('dead', 'ls', '--reason', 'unknown_type', '--json').then(jsonLines);
  await eventually(async () => (await waiting()).length === 2, { what: 'both are dead letters' });
  await runNode([order, late]);
  const all = await perdure('dead', 'redrive', '--all', '--reason', 'unknown_type', '--json');
  expect(all).toMatchObject({ code: 0, stderr: '2 redriven\n' });
  expect(jsonLines(all)).toHaveLength(2);
  await eventually(async () => json(await perdure('show', 'late', 'a-1', '--json')).seq === 2, {
    what: 'start and event have been applied',
  });
  expect(await waiting()).toEqual([]);
  const none = await perdure('dead', 'redrive', '--all', '--reason', 'unknown_type');
  expect(none).toMatchObject({ code: 0, stdout: '', stderr: 'no dead letters\n' });
});

test('doctor finds a healthy installation and says what it could not check', async () => {
  const result = await perdure('doctor', '--json');
  const { ok, findings } = json(result);
  const level = (check: string) => findings.find((one: { check: string }) => one.check === check);
  expect(findings.filter((one: { level: string }) => one.level === 'fail')).toEqual([]);
  expect(result.code).toBe(0);
  expect(ok).toBe(true);
  for (const check of [
    'postgres version',
    'postgres privileges',
    'clocks',
    'schema',
    `stream JOBS_${namespace}`,
    `stream OUTCOMES_${namespace}`,
    'nats permissions',
    'nats max_payload',
    'nodes',
    'shards',
    'log lag',
  ])
    expect(level(check), check).toMatchObject({ level: 'ok' });
  expect(level('nats sync_interval')).toMatchObject({ level: 'warn' });
  expect(level('nats sync_interval').advice).toContain('--monitor');
});

test('the inspector answers this machine only, and acts on nothing without NATS', async () => {
  const server = await startInspectServer({ databaseUrl: database.url, namespace });
  try {
    const get = async (path: string, init: RequestInit = {}) => {
      const response = await fetch(server.url + path, init);
      const text = await response.text();
      return { status: response.status, body: text === '' ? null : JSON.parse(text) };
    };
    await startOrder('h-1');
    const { body: overview } = await get('/api/overview');
    expect(overview).toMatchObject({ nodes: { live: 1 }, shards: { all: 64, owned: 64 } });
    expect(overview.population).toContainEqual(
      expect.objectContaining({ type: 'order', status: 'active' }),
    );
    const waiting = '/api/actors?type=order&state=waiting&limit=3';
    expect((await get(waiting)).body.actors).toHaveLength(3);
    const { body: one } = await get('/api/actors/order/h-1');
    expect(one.actor).toMatchObject({ state: 'waiting', seq: 1, version: '1' });
    expect(one.actor.events).toContainEqual(expect.objectContaining({ type: 'PAY' }));
    const { body: shards } = await get('/api/shards');
    expect(shards.shards[0]).toMatchObject({ health: 'ok', crashes: 0, suspect_seq: null });
    const { body: nodes } = await get('/api/nodes');
    expect(nodes.nodes).toContainEqual(
      expect.objectContaining({ name: shards.shards[0].owner_name, state: 'ok', nats_ok: true }),
    );
    for (const path of ['/livez', '/readyz']) expect((await get(path)).status, path).toBe(200);
    expect((await get('/livez', { method: 'HEAD' })).status).toBe(200);
    const cancel = await get('/api/actors/order/h-1/cancel', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    expect(cancel).toMatchObject({ status: 503, body: { error: { code: 'bus_unavailable' } } });
    expect(await askedAs('evil.example', server.url)).toBe(403);
    expect(await askedAs('localhost:80', server.url)).toBe(200);
  } finally {
    await server.close();
  }
});

/** The status for a request with another Host header, which fetch does not let us set. */
function askedAs(host: string, url: string): Promise<number | undefined> {
  return new Promise((done, failed) => {
    request(`${url}/livez`, { headers: { host } }, (response) => {
      response.resume();
      done(response.statusCode);
    })
      .once('error', failed)
      .end();
  });
}
