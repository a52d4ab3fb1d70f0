import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createMachine } from 'xstate';
import { namespace } from '../../src/config.ts';
import { defineActor } from '../../src/index.ts';
import { openReadStore } from '../../src/store/postgres.ts';
import { hold } from '../support/actorsJournal.ts';
import { parcel1, parcel2, parcel2wrong } from '../support/actorsVersions.ts';
import { Journal } from '../support/cluster.ts';
import { openWorld, printLogOnFailure, type World } from '../support/clusterWorld.ts';
import type { JournalLine } from '../support/history.ts';
import { eventually } from '../support/services.ts';

// Actors that one version of their type wrote go on with another.

const SUPPORT = join(import.meta.dirname, '../support');
const FILE_1 = join(SUPPORT, 'actorsVersion1.ts');
const FILE_2 = join(SUPPORT, 'actorsVersion2.ts');
const TYPES = [parcel1, parcel2];

let world: World;
let close: () => Promise<void>;

beforeEach(async () => {
  ({ world, close } = await openWorld());
  printLogOnFailure(world);
});
afterEach(() => close());

const start = (id: string, ms = 50) =>
  world.client.start(parcel1, { id, input: { ms }, until: 'committed' });
const tell = (id: string, type: 'WORK' | 'NAP' | 'PING') =>
  world.client.send(parcel1, id, { type }, { until: 'committed' });
const events = async (id: string) =>
  (await world.transitions('parcel', id)).map(({ event_type }) => event_type);
const versionOf = async (id: string) =>
  (await world.sql.query(`SELECT version FROM actor WHERE id = $1`, [id]))[0]?.version;
const journal = () =>
  new Journal<Extract<JournalLine, { kind: 'invoke' }>>(join(world.dir, 'journal.jsonl')).read();
const runsOf = (key: string) =>
  journal().filter((line) => line.key === key && line.phase === 'start');

async function parked() {
  const { databaseUrl } = world;
  const store = await openReadStore({ databaseUrl, namespace: namespace(world.namespace) });
  try {
    return await store.parked();
  } finally {
    await store.close();
  }
}

test('a machine that changed under its version is told of when a node starts', async () => {
  const changed = () =>
    world.log.filter(({ msg }) => msg.startsWith('machine: changed under its version'));
  await (await world.node([parcel1])).stop();
  await (await world.node([parcel1])).stop();
  expect(changed()).toEqual([]);
  const machine = createMachine({ id: 'parcel', initial: 'elsewhere', states: { elsewhere: {} } });
  await world.node([defineActor('parcel', { version: '1', machine })]);
  expect(changed()).toMatchObject([{ type: 'parcel', version: '1' }]);
});

test('a rolling deploy: what runs and what sleeps goes on in the new version', async () => {
  const old = await world.spawn({ drainMs: 50 }, {}, FILE_1);
  await start('sleeps');
  await tell('sleeps', 'PING');
  await start('naps');
  hold(world.dir, old.pid);
  await start('works');
  await tell('works', 'WORK');
  await eventually(() => runsOf('parcel/works/work/2').length === 1, { what: 'it works' });
  const next = await world.spawn({}, {}, FILE_2);
  await tell('naps', 'NAP');
  const [nap] = await world.sql.query<{ fire_at: Date; armed_seq: string }>(`SELECT * FROM timer`);
  await old.kill('SIGTERM');
  // What runs is taken over at once, and has ended under the key it began with.
  await world.settled('parcel', 'works');
  expect((await events('works')).slice(0, 3)).toEqual(['xstate.init', 'WORK', 'perdure.migrate']);
  expect(await world.actor('parcel', 'works')).toMatchObject({
    status: 'done',
    context: { seen: ['parcel/works/work/2'] },
  });
  expect(runsOf('parcel/works/work/2').length).toBe(2);
  expect(runsOf('parcel/works/notice/3').length).toBe(1);
  // What sleeps is left as it is until something comes for it.
  expect(await versionOf('sleeps')).toBe('1');
  await tell('sleeps', 'PING');
  expect(await events('sleeps')).toEqual(['xstate.init', 'PING', 'perdure.migrate', 'PING']);
  expect((await world.actor('parcel', 'sleeps'))?.context).toMatchObject({ count: 11 });
  // A timer both have fires at its old deadline.
  await eventually(async () => (await events('naps')).length === 4, {
    what: 'it wakes',
    timeoutMs: 20_000,
  });
  const [, , migrated, woke] = await world.transitions('parcel', 'naps');
  expect(migrated).toMatchObject({
    event_type: 'perdure.migrate',
    event: { type: 'perdure.migrate', from: '1', to: '2' },
  });
  expect(woke).toMatchObject({
    event_type: 'xstate.after.8000.parcel.napping',
    event_id: `!timer:${nap?.armed_seq}:xstate.after.8000.parcel.napping`,
  });
  expect(woke?.at.getTime()).toBeGreaterThanOrEqual(nap?.fire_at.getTime() as number);
  expect(await world.sql.query('SELECT FROM timer')).toEqual([]);
  await next.kill('SIGTERM');
  expect(await world.check({ types: TYPES, journal: journal() })).toEqual([]);
});

test('a node that knows both leaves old actors in their version', async () => {
  const first = await world.node([parcel1]);
  await start('a');
  await first.stop();
  await world.node(TYPES);
  await tell('a', 'PING');
  await start('b');
  expect(await versionOf('a')).toBe('1');
  expect(await versionOf('b')).toBe('2');
  expect(await parked()).toEqual([]);
  expect(await world.check({ types: TYPES })).toEqual([]);
});

test('nodes of two versions side by side: an actor stays in its version while a node that knows it lives', async () => {
  const one = await world.node([parcel1]);
  const ids = Array.from({ length: 12 }, (_, n) => `p${n}`);
  for (const id of ids) await start(id);
  const two = await world.node([parcel2]);
  await eventually(() => one.status().shards.length === 32 && two.status().shards.length === 32, {
    what: 'the shards are shared',
  });
  // Where version 2 has the shard, it goes to the node that knows version 1.
  for (const id of ids) await tell(id, 'PING');
  expect(new Set(await Promise.all(ids.map(versionOf)))).toEqual(new Set(['1']));
  expect(await parked()).toEqual([]);
  const news = Array.from({ length: 12 }, (_, n) => `n${n}`);
  for (const id of news) await start(id);
  const written = await Promise.all(news.map(versionOf));
  const newer = written.filter((version) => version === '2').length;
  expect(newer).toBeGreaterThan(0);
  // Version 2 is a stranger to the first node; version 1 is none to the second.
  expect(await parked()).toEqual([
    {
      type: 'parcel',
      version: '2',
      actors: newer,
      waiting: 0,
      nodes: 2,
      opened_by: 1,
      messages: 0,
      since: null,
    },
  ]);
  await one.stop();
  for (const id of ids) await tell(id, 'PING');
  for (const id of ids)
    expect(await events(id)).toEqual(['xstate.init', 'PING', 'perdure.migrate', 'PING']);
  await two.stop();
  expect(await world.check({ types: TYPES })).toEqual([]);
});

test('the last node that knows the old version is killed: what was left to it is migrated and goes on', async () => {
  const old = await world.spawn({}, {}, FILE_1);
  hold(world.dir, old.pid);
  await start('a');
  await tell('a', 'WORK');
  await eventually(() => runsOf('parcel/a/work/2').length === 1, { what: 'it works' });
  const next = await world.spawn({}, {}, FILE_2);
  const [{ owner } = { owner: '' }] = await world.sql.query<{ owner: string }>(
    `SELECT s.owner FROM actor a JOIN shard s USING (shard)`,
  );
  // Sharing has not taken it away from the node it runs on.
  expect(owner).toBe(await old.ready);
  await old.kill('SIGKILL');
  await world.settled('parcel', 'a');
  expect((await events('a')).slice(0, 3)).toEqual(['xstate.init', 'WORK', 'perdure.migrate']);
  expect(runsOf('parcel/a/work/2').length).toBe(2);
  await next.kill('SIGTERM');
  expect(await world.check({ types: TYPES, journal: journal() })).toEqual([]);
});

test('an actor with an overdue timer whose migrate fails is tried once, not with each sweep', async () => {
  const first = await world.node([parcel1]);
  await start('a');
  await tell('a', 'NAP');
  await first.stop();
  const due = (id: string) =>
    world.sql.query(`UPDATE timer SET fire_at = now() WHERE id = $1`, [id]);
  await due('a');
  await world.node([parcel2wrong], { timerHorizonMs: 300 });
  const failures = () =>
    world.log.filter(({ msg }) => msg === 'actor: migrate failed, left alone').length;
  await eventually(() => failures() > 0, { what: 'it was tried' });
  // Timers of others that only a later sweep can have brought.
  for (const id of ['b', 'c', 'd']) {
    await start(id);
    await tell(id, 'NAP');
    await due(id);
    await eventually(async () => (await events(id)).length === 3, { what: `${id} woke` });
  }
  expect(failures()).toBe(1);
  await expect(tell('a', 'PING')).rejects.toMatchObject({ code: 'migrate_failed' });
  expect(failures()).toBe(2);
});

test('a migrate that throws leaves the actor as it is, and a corrected one goes on', async () => {
  const first = await world.spawn({ drainMs: 50 }, {}, FILE_1);
  hold(world.dir, first.pid);
  await start('a', 60_000);
  await tell('a', 'WORK');
  const [neighbour = ''] = world.neighbours('parcel', 'a', 1);
  await first.kill('SIGTERM');
  const wrong = await world.node([parcel2wrong]);
  await expect(tell('a', 'PING')).rejects.toMatchObject({
    code: 'migrate_failed',
    message: expect.stringContaining('a mistake in migrate'),
  });
  // Its shard goes on.
  await start(neighbour);
  expect(await versionOf('a')).toBe('1');
  expect(await events('a')).toEqual(['xstate.init', 'WORK']);
  expect(world.log.some(({ msg }) => msg === 'actor: migrate failed, left alone')).toBe(true);
  expect(await parked()).toEqual([
    {
      type: 'parcel',
      version: '1',
      actors: 1,
      waiting: 1,
      nodes: 1,
      opened_by: 1,
      messages: 0,
      since: null,
    },
  ]);
  const [letter] = await world.deadLetters('events.parcel.a');
  expect(letter?.reason).toBe('migrate_failed');
  await wrong.stop();
  await world.spawn({}, {}, FILE_2);
  await tell('a', 'PING');
  expect((await events('a')).slice(0, 3)).toEqual(['xstate.init', 'WORK', 'perdure.migrate']);
  expect(await world.check({ types: TYPES })).toEqual([]);
});

test('actions that version 1 owes are done by version 1, before anybody migrates', async () => {
  const first = await world.node([parcel1]);
  await start('a');
  await first.stop();
  await world.sql.query(`UPDATE actor SET acted_seq = 0, busy = true WHERE id = 'a'`);
  const next = await world.node([parcel2]);
  await world.client.send(parcel1, 'a', { type: 'PING' });
  await eventually(async () => (await parked())[0]?.messages === 1, { what: 'it is parked' });
  expect(
    world.log.some(({ msg }) => msg === 'actor: actions of its old version are left, left alone'),
  ).toBe(true);
  await next.stop();
  const both = await world.node(TYPES);
  await tell('a', 'PING');
  expect(await events('a')).toEqual(['xstate.init', 'PING', 'PING']);
  await both.stop();
  await world.node([parcel2]);
  await tell('a', 'PING');
  expect(await versionOf('a')).toBe('2');
});

test('an actor that nodes have died of is migrated apart from the others', async () => {
  const old = await world.spawn({ drainMs: 50 }, {}, FILE_1);
  hold(world.dir, old.pid);
  await start('a');
  await tell('a', 'WORK');
  await old.kill('SIGTERM');
  await world.sql.query(`UPDATE actor SET crashes = 3 WHERE id = 'a'`);
  const next = await world.spawn({}, {}, FILE_2);
  await world.settled('parcel', 'a');
  expect(next.stderr()).toContain('actor: under suspicion, tried apart');
  expect((await events('a')).slice(0, 3)).toEqual(['xstate.init', 'WORK', 'perdure.migrate']);
  await next.kill('SIGTERM');
  expect(await world.check({ types: TYPES, journal: journal() })).toEqual([]);
});

test('a node that is killed right after the migration was committed: its effects follow elsewhere', async () => {
  const old = await world.spawn({ drainMs: 50 }, {}, FILE_1);
  hold(world.dir, old.pid);
  await start('a');
  await tell('a', 'WORK');
  await old.kill('SIGKILL');
  // It dies when it is about to start what the migration asks for.
  const dies = await world
    .spawn({}, { PERDURE_TEST_CRASH: 'first invoke' }, join(SUPPORT, 'actorsVersion2Crash.ts'))
    .catch(() => undefined);
  if (dies) await dies.exited;
  expect(await versionOf('a')).toBe('2');
  expect(existsSync(join(world.dir, 'journal.jsonl'))).toBe(true);
  const next = await world.spawn({}, {}, FILE_2);
  await world.settled('parcel', 'a');
  expect((await events('a')).filter((type) => type === 'perdure.migrate')).toHaveLength(1);
  expect(await world.actor('parcel', 'a')).toMatchObject({
    context: { seen: ['parcel/a/work/2'] },
  });
  await next.kill('SIGTERM');
  expect(await world.check({ types: TYPES, journal: journal() })).toEqual([]);
});
