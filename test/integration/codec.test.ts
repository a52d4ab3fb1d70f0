import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeEach, expect, test, vi } from 'vitest';
import { compressing, encrypting } from '../../examples/codec.ts';
import { patient, SECRET } from '../support/actorsCodec.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import { eventually } from '../support/services.ts';

// What a codec of the user's covers, with real encryption and real compression.

const ROOT = resolve(import.meta.dirname, '../..');
const FILE = join(ROOT, 'test/support/actorsCodec.ts');

// Every command is a process of its own, perhaps on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const key = (name: string, byte: number) => `${name}:${Buffer.alloc(32, byte).toString('base64')}`;
const KEYS = key('one', 1);
const AES = encrypting(KEYS);
const ENV = { PERDURE_CODEC: join(ROOT, 'examples/codec.ts'), CODEC_KEYS: KEYS };

const world = useWorld();
beforeEach(() => printLogOnFailure(world));

const input = { name: `${SECRET} Ada`, ms: 5 };
const noted = (id: string, text: string) =>
  world.client.waitFor(patient, id, ({ context }) => context.notes.includes(text));

/** Everything that is recorded of actors, as Postgres has it. */
async function recorded(): Promise<string> {
  const rows = [];
  for (const table of ['actor', 'transition', 'timer', 'outbox'])
    rows.push(...(await world.sql.query(`SELECT to_json(t)::text AS row FROM ${table} t`)));
  return JSON.stringify(rows);
}

interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** The command line in a process of its own. */
function perdure(args: string[], env: Record<string, string> = {}): Promise<Ran> {
  const child = spawn(process.execPath, [join(ROOT, 'src/cli/main.ts'), ...args], {
    env: {
      ...process.env,
      PERDURE_DATABASE_URL: world.databaseUrl,
      PERDURE_NAMESPACE: world.namespace,
      ...env,
    },
  });
  const ran = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      ran[stream] += text;
    });
  return new Promise((done) => child.once('close', (code) => done({ code, ...ran })));
}

test('nodes that are killed go on from encrypted rows, and no row ever has the plain text', async () => {
  const { client } = world;
  const spawnNode = () => world.spawn({}, ENV, FILE);
  let node = await spawnNode();
  for (const id of ['k-1', 'k-2'])
    await client.start(patient, { id, input: { ...input, ms: 3_000 } });
  await client.send(patient, 'k-1', { type: 'REMIND', text: `${SECRET} later`, delayMs: 900 });
  await client.send(patient, 'k-2', { type: 'LOOK' }, { until: 'committed' });
  expect(await recorded()).not.toContain(SECRET);
  await node.kill('SIGKILL');
  node = await spawnNode();
  // What runs begins again with the input it had.
  await client.send(patient, 'k-1', { type: 'TELL', to: 'k-2', text: `${SECRET} told` });
  await noted('k-2', `${SECRET} told`);
  await node.kill('SIGKILL');
  node = await spawnNode();
  await noted('k-2', `${SECRET} result for ${SECRET} Ada`);
  await noted('k-1', `${SECRET} later`);
  await client.send(patient, 'k-1', { type: 'FAIL' });
  await client.send(patient, 'k-2', { type: 'CLOSE' });
  expect(await client.outcome(patient, 'k-2')).toMatchObject({
    output: {
      name: `${SECRET} Ada`,
      notes: [`${SECRET} told`, `${SECRET} result for ${SECRET} Ada`],
    },
  });
  expect(await client.outcome(patient, 'k-1')).toMatchObject({
    status: 'error',
    error: { message: `${SECRET} failure` },
  });
  expect(await recorded()).not.toContain(SECRET);
  // The views are JSON still, and who may open them can.
  const [row] = await world.sql.query<{ output: object; state: unknown }>(
    `SELECT output, state FROM actors WHERE id = 'k-2'`,
  );
  expect(row).toEqual({ output: { $perdure: 'wrapped', v: expect.any(String) }, state: 'closed' });
  expect(await world.transitions('patient', 'k-2')).toHaveLength(5);
  await node.kill();
});

test('the command line opens what it is given the codec for', async () => {
  const node = await world.node([patient], {}, { codec: AES });
  await world.client.start(patient, { id: 'c-1', input, until: 'committed' });
  const opened = await perdure(['show', 'patient', 'c-1', '--json'], ENV);
  expect(JSON.parse(opened.stdout)).toMatchObject({ context: { name: `${SECRET} Ada` } });
  const { stdout } = await perdure(['history', 'patient', 'c-1', '--json'], ENV);
  expect(JSON.parse(stdout)).toMatchObject({ event: { input } });
  const closed = await perdure(['show', 'patient', 'c-1']);
  expect(closed).toMatchObject({ code: 0, stderr: '' });
  expect(closed.stdout).toMatch(/context +recorded through a codec: --codec FILE opens it/);

  const check = async (env: Record<string, string>) => {
    const ran = await perdure(['check', FILE, '--json'], env);
    const lines = ran.stdout.split('\n').filter((line) => line.includes('"verdict"'));
    return { code: ran.code, verdicts: new Set(lines.map((line) => JSON.parse(line).verdict)) };
  };
  expect(await check(ENV)).toEqual({ code: 0, verdicts: new Set(['fine']) });
  expect(await check({})).toEqual({ code: 1, verdicts: new Set(['orphaned']) });
  const bad = await perdure(['show', 'patient', 'c-1', '--codec', FILE]);
  expect(bad).toMatchObject({ code: 2, stderr: expect.stringMatching(/exports no codec/) });
  await node.stop();
});

test('an exported history stays shut for who has no codec, and is replayed by who has', async () => {
  await perdure(['export', 'patient', 'c-1', '--out', join(world.dir, 'shut.jsonl')]);
  const file = join(world.dir, 'shut.jsonl');
  expect(readFileSync(file, 'utf8')).toContain('"kind":"end"');
  expect(readFileSync(file, 'utf8')).not.toContain(SECRET);
  const replay = ['replay', file, '--actors', FILE];
  const refused = await perdure(replay);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toMatch(/^perdure: codec_failed: /);
  expect(await perdure(replay, ENV)).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('no divergence: '),
  });
  expect((await perdure(['export', 'patient', 'c-1'], ENV)).stdout).toContain(SECRET);
});

test('rows from before the codec go on; with compression they shrink', async () => {
  const before = await world.node([patient]);
  const text = 'long and dull, '.repeat(200);
  await world.client.start(patient, { id: 'm-1', input });
  await world.client.send(patient, 'm-1', { type: 'NOTE', text }, { until: 'committed' });
  const size = async () => {
    const [row] = await world.sql.query<{ bytes: number }>(
      `SELECT octet_length(snapshot) AS bytes FROM current_actor JOIN transition USING (type, id, seq) WHERE id = 'm-1'`,
    );
    return row?.bytes as number;
  };
  const plain = await size();
  await before.stop();
  const after = await world.node([patient], { passivateAfterMs: 1 }, { codec: compressing });
  await world.client.send(patient, 'm-1', { type: 'NOTE', text: 'short' }, { until: 'committed' });
  expect(await size()).toBeLessThan(plain / 3);
  await world.client.send(patient, 'm-1', { type: 'CLOSE' });
  expect(await world.client.outcome(patient, 'm-1')).toMatchObject({
    output: { notes: [text, 'short'] },
  });
  await after.stop();
});

test.each([
  ['without the codec', undefined],
  ['with another key', encrypting(key('one', 9))],
])('a node %s leaves alone what it cannot open, and goes on with the rest', async (how, codec) => {
  const { client } = world;
  const id = how.replaceAll(' ', '-');
  // Given away at once, with an invoke that runs and a timer that waits.
  const able = await world.node([patient], { drainMs: 1 }, { codec: AES });
  await client.start(patient, { id, input: { ...input, ms: 4_000 } });
  await client.send(patient, id, { type: 'REMIND', text: 'later', delayMs: 1_000 });
  await client.send(patient, id, { type: 'LOOK' }, { until: 'committed' });
  await able.stop();

  const unable = await world.node([patient], {}, codec ? { codec } : {});
  const refused = client.send(patient, id, { type: 'NOTE', text: 'x' }, { until: 'committed' });
  await expect(refused).rejects.toMatchObject({
    code: 'codec_failed',
    message: expect.stringMatching(/recorded through a codec, and cannot be opened/),
  });
  await expect(client.snapshot(patient, id)).rejects.toMatchObject({ code: 'codec_failed' });
  // It is known where it stands, if not with what.
  expect(await client.query(patient, id)).toMatchObject({ status: 'active', state: 'looking' });
  await client.start(patient, { id: `${id}-n`, input, until: 'committed' });
  expect(Object.values(unable.status().surprises).every((count) => count === 0)).toBe(true);
  await unable.stop();
  expect(world.log.map(({ msg }) => msg)).toEqual(
    expect.arrayContaining([
      'codec: cannot open what is recorded',
      'actor: cannot be rehydrated',
      'dead letter',
    ]),
  );

  const again = await world.node([patient], {}, { codec: AES });
  await noted(id, 'later');
  await noted(id, `${SECRET} result for ${SECRET} Ada`);
  await again.stop();
});

test('a codec that cannot write holds up its node and loses nothing', async () => {
  let broken = true;
  const codec = {
    ...AES,
    wrap: (text: string) => {
      if (broken) throw new Error('the key server is away');
      return AES.wrap(text);
    },
  };
  const node = await world.node([patient], {}, { codec });
  await world.client.start(patient, { id: 'w-1', input });
  await eventually(
    async () => world.log.some((line) => JSON.stringify(line).includes('the key server is away')),
    { what: 'the refused commit is logged' },
  );
  broken = false;
  await world.client.waitFor(patient, 'w-1', (snapshot) => snapshot.matches('resting'));
  await node.stop();
});
