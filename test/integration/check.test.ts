import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { cutToday, goneToday, movedToday, sameToday } from '../support/actorsCheck.ts';
import { nest } from '../support/actorsCheckFamily.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import { eventually } from '../support/services.ts';

// `perdure check` with actors that live.

const ROOT = resolve(import.meta.dirname, '../..');

// Every command is a process of its own, perhaps on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const TODAY = 'test/support/actorsCheckToday.ts';
const TOMORROW = 'test/support/actorsCheckTomorrow.ts';
const world = useWorld();
beforeEach(() => printLogOnFailure(world));

interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

/** Objects among the arguments are for the environment. */
function perdure(...given: (string | Record<string, string>)[]): Promise<Ran> {
  const { databaseUrl, namespace } = world;
  const args = given.filter((arg) => typeof arg === 'string');
  const env = Object.assign(
    { ...process.env, PERDURE_DATABASE_URL: databaseUrl, PERDURE_NAMESPACE: namespace },
    ...given.filter((arg) => typeof arg === 'object'),
  );
  return new Promise((done) => {
    execFile(
      process.execPath,
      [join(ROOT, 'src/cli/main.ts'), ...args],
      { cwd: ROOT, env },
      (error, stdout, stderr) => done({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}

const lines = ({ stdout }: Ran) =>
  stdout
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const of = (found: Record<string, unknown>[], type: string) =>
  found
    .filter((line) => line.type === type)
    .map(({ version, state, actors, verdict, as }) => ({ version, state, actors, verdict, as }));

beforeAll(async () => {
  const types = [sameToday, movedToday, cutToday, goneToday];
  const node = await world.node(types);
  for (const type of types)
    for (const [n, event] of ['A', 'A', 'B', 'C', 'D', 'END'].entries()) {
      await world.client.start(type, { id: `x${n}`, until: 'committed' });
      await world.client.send(type, `x${n}`, { type: event as 'A' }, { until: 'committed' });
    }
  await world.client.send('same', 'x0', { type: 'TYPO' }, { until: 'committed' });
  await node.stop();
});

test('all is well with the types that run', async () => {
  const ran = await perdure('check', TODAY, '--json');
  expect(ran).toMatchObject({ code: 0, stderr: '' });
  const states = { version: '1', verdict: 'fine', as: '1' };
  expect(of(lines(ran), 'same')).toEqual([
    { ...states, state: 'a', actors: 2 },
    { ...states, state: 'b', actors: 1 },
    { ...states, state: 'c', actors: 1 },
    { ...states, state: 'd', actors: 1 },
  ]);
});

test('says what a deploy would do to each actor, and fails', async () => {
  const ran = await perdure('check', TOMORROW, '--json');
  expect(ran).toMatchObject({ code: 1, stderr: '' });
  const found = lines(ran);
  expect(of(found, 'same')).toEqual([
    { version: '1', state: 'a', actors: 2, verdict: 'fine', as: '1' },
    { version: '1', state: 'b', actors: 1, verdict: 'stuck', as: '1' },
    { version: '1', state: 'c', actors: 1, verdict: 'fine', as: '1' },
    { version: '1', state: 'd', actors: 1, verdict: 'orphaned', as: null },
  ]);
  expect(of(found, 'moved')).toEqual([
    { version: '1', state: 'a', actors: 2, verdict: 'migrated', as: '2' },
    { version: '1', state: 'b', actors: 1, verdict: 'migrated', as: '2' },
    { version: '1', state: 'c', actors: 1, verdict: 'migrated', as: '2' },
    { version: '1', state: 'd', actors: 1, verdict: 'orphaned', as: null },
  ]);
  for (const type of ['cut', 'gone'])
    expect(new Set(of(found, type).map(({ verdict }) => verdict))).toEqual(new Set(['orphaned']));
  const reasons = Object.fromEntries(
    found.map(({ type, state, reason }) => [`${type} ${state}`, reason]),
  );
  expect(reasons).toMatchObject({
    'same b':
      'invoke late does not run, timer xstate.after.60000.m.b is not armed: the machine was changed without a new version',
    'same d': expect.stringContaining('there is no state "d" in #m'),
    'moved d': expect.stringContaining('cannot go from version 1 to 2: there is no state "d"'),
    'cut a': 'nothing here knows version 1 of cut or migrates from it',
    'gone a': 'there is no type gone here',
  });
});

test('with --events, what was sent and no state handles; it is no error', async () => {
  const ran = await perdure('check', TODAY, '--events', '--json');
  expect(ran).toMatchObject({ code: 0, stderr: '' });
  expect(lines(ran).filter(({ level }) => level === 'note')).toEqual([
    expect.objectContaining({
      type: 'same',
      version: '1',
      problem: 'was sent 1 × "TYPO", which no state handles',
    }),
  ]);
});

test('a table for people', async () => {
  const { stdout, code } = await perdure('check', TOMORROW);
  expect(code).toBe(1);
  expect(stdout).toMatch(/^TYPE +VERSION +STATE +ACTORS +VERDICT +WHY$/m);
  expect(stdout).toMatch(/^moved +1 +a +2 +migrated to 2$/m);
});

test('a timer that has fired and left its state alone is not missing', async () => {
  await world.sql.query(`INSERT INTO transition
    SELECT 3, epoch, at, 0, 'same', 'x2', node_id, 'xstate.after.60000.m.b', '!timer:2:t', 'timer', to_state, to_state,
           '[]', '{}', snapshot FROM transition WHERE type = 'same' AND id = 'x2' AND seq = 2`);
  await world.sql.query(
    `UPDATE transition SET snapshot = replace(snapshot, '"started":{}', '"started":{"late":2}') WHERE type = 'same' AND id = 'x2'`,
  );
  // What JSON allows and jsonb does not is no obstacle.
  await world.sql.query(
    `UPDATE transition SET snapshot = replace(snapshot, '"context":{}', '"context":{"t":"\\u0000\\ud800\\\\u0000"}') WHERE type = 'same'`,
  );
  const found = lines(await perdure('check', TOMORROW, '--json'));
  expect(of(found, 'same').find(({ state }) => state === 'b')).toMatchObject({ verdict: 'fine' });
});

describe('without a database', () => {
  const write = (text: string) => {
    const dir = mkdtempSync(join(ROOT, 'node_modules/.check-'));
    const file = join(dir, 'actors.mjs');
    writeFileSync(file, text);
    return { file, drop: () => rmSync(dir, { recursive: true }) };
  };

  test('looks at the machines, whatever the file keeps open', async () => {
    const { file, drop } = write(`
      import { createMachine } from 'xstate';
      import { defineActor } from 'perdure';
      setInterval(() => {}, 1000);
      export const order = defineActor('order', {
        machine: createMachine({ id: 'order', initial: 'a', states: { a: {}, b: {} } }),
      });`);
    try {
      const ran = await perdure('check', file, '--static');
      expect(ran.code).toBe(1);
      expect(ran.stdout).toContain('error: order@1 #order.a is a dead end');
      expect(ran.stdout).toContain('error: order@1 #order.b can never be reached.');
    } finally {
      drop();
    }
  });

  test('a wrong question ends with 2', async () => {
    expect(await perdure('check', 'nowhere.ts', '--static')).toMatchObject({ code: 2 });
    expect(await perdure('check')).toMatchObject({ code: 2 });
    expect(await perdure('check', TODAY, '--static', '--events')).toMatchObject({ code: 2 });
    expect(await perdure('ls', '--parked', '--status', 'done')).toMatchObject({ code: 2 });
  });
});

test('perdure ls --parked shows what no node opens', async () => {
  await world.node([cutToday]);
  await eventually(
    async () => {
      const found = lines(await perdure('ls', '--parked', '--json'));
      return found.length === 3 && found.every((row) => row.opened_by === 0 && row.nodes === 1);
    },
    { what: 'three types are parked' },
  );
  const { stdout } = await perdure('ls', 'gone', '--parked');
  expect(stdout).toMatch(
    /^TYPE +VERSION +ACTORS +OPENED BY +WAITING +MESSAGES +SINCE\ngone +1 +5 +0 of 1 nodes +0 +0 +-\n$/,
  );
});

test('machines that others have are looked at, too, each by its own states', async () => {
  const node = await world.node([nest]);
  await world.client.start(nest, { id: 'n', until: 'committed' });
  await world.client.send(nest, 'n', { type: 'STEP' }, { until: 'committed' });
  await node.stop();
  const file = 'test/support/actorsCheckFamily.ts';
  const eggs = async (env: Record<string, string>) =>
    lines(await perdure('check', file, '--json', env))
      .filter(({ path }) => path === '["egg"]')
      .map(({ state, actors, verdict, reason }) => ({ state, actors, verdict, reason }));
  const fine = { state: 'warm', actors: 1, verdict: 'fine', reason: '' };
  expect(await eggs({})).toEqual([{ ...fine, state: 'cracked' }, fine]);
  expect(await eggs({ CHANGED: '1' })).toEqual([
    {
      state: 'cracked',
      actors: 1,
      verdict: 'orphaned',
      reason: expect.stringContaining('there is no state "cracked" in #egg'),
    },
    fine,
  ]);
  const { stdout } = await perdure('check', file, { CHANGED: '1' });
  expect(stdout).toMatch(/nest › egg +1 +cracked +1 +orphaned/);
  expect(stdout).toMatch(/#egg\.bird is a dead end/);
});
