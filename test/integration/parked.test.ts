import { execFile } from 'node:child_process';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { shardOf } from '../../src/bus/subjects.ts';
import { namespace, SHARDS } from '../../src/config.ts';
import { createLogger } from '../../src/log.ts';
import { createNode } from '../../src/node.ts';
import { openReadStore } from '../../src/store/postgres.ts';
import { lamp, tally1, tally2, teller } from '../support/actorsParked.ts';
import { openWorld, printLogOnFailure, type World } from '../support/clusterWorld.ts';
import { parseMetrics } from '../support/metrics.ts';
import { eventually } from '../support/services.ts';

// Nodes that do not know the same types and versions, side by side: what one of them cannot do waits for another.

const ROOT = resolve(import.meta.dirname, '../..');
const FILE = join(import.meta.dirname, '../support/actorsParkedNode.ts');
const TYPES = [tally1, tally2, teller, lamp];
const FIRST = [tally1, teller];
const SECOND = [tally2, teller, lamp];

let world: World;
let close: () => Promise<void>;

beforeEach(async () => {
  ({ world, close } = await openWorld());
  printLogOnFailure(world);
});
afterEach(() => close());

const spawn = (version: '1' | '2') => world.spawn({}, { PERDURE_TEST_VERSION: version }, FILE);
const ids = Array.from({ length: 24 }, (_, n) => `a${n}`);
const seen = async (type: string, id: string) =>
  ((await world.actor(type, id))?.context as { seen: number[] } | undefined)?.seen;
const allSaw = (type: string, which: readonly string[], numbers: readonly number[]) =>
  eventually(
    async () => {
      for (const id of which) expect(await seen(type, id)).toEqual(numbers);
      return true;
    },
    { what: `all saw ${numbers}`, timeoutMs: 20_000 },
  );
const versions = async () => {
  const rows = await world.sql.query<{ id: string; version: string }>(
    `SELECT id, version FROM actor WHERE type = 'tally'`,
  );
  return (version: string) => rows.filter((row) => row.version === version).map(({ id }) => id);
};
const parkedMessages = async () => (await world.sql.query(`SELECT FROM parked_message`)).length;
const noDeadLetters = async () =>
  expect(await world.sql.query('SELECT reason, detail, subject FROM dead_letters')).toEqual([]);
const add = async (type: string, which: readonly string[], n: number) => {
  for (const id of which)
    await world.publish(`events.${type}.${id}`, JSON.stringify({ type: 'ADD', n }), {
      'Nats-Msg-Id': `${type}-${id}-${n}`,
    });
};
async function parkedRows() {
  const { databaseUrl } = world;
  const store = await openReadStore({ databaseUrl, namespace: namespace(world.namespace) });
  try {
    return await store.parked();
  } finally {
    await store.close();
  }
}

function perdure(...args: string[]): Promise<string> {
  const { databaseUrl, natsUrl, namespace } = world;
  const env = {
    ...process.env,
    PERDURE_DATABASE_URL: databaseUrl,
    PERDURE_NATS_URL: natsUrl,
    PERDURE_NAMESPACE: namespace,
  };
  const main = join(ROOT, 'src/cli/main.ts');
  return new Promise((done) => {
    execFile(process.execPath, [main, ...args], { cwd: ROOT, env }, (_error, stdout, stderr) =>
      done(stdout + stderr),
    );
  });
}

test('a rolling deploy whose new node is killed: what comes for its actors waits for the next one, in order', async () => {
  await spawn('1');
  const olds = ids.map((id) => `old-${id}`);
  for (const id of olds) await world.client.start(tally1, { id, until: 'committed' });
  const second = await spawn('2');
  for (const id of ids) await world.client.start(tally2, { id, until: 'committed' });
  const news = (await versions())('2');
  expect(news.length).toBeGreaterThan(0);
  const all = [...olds, ...ids];
  await add('tally', all, 1);
  await allSaw('tally', all, [1]);
  await second.kill('SIGKILL');
  for (const n of [2, 3, 4]) await add('tally', all, n);
  const others = all.filter((id) => !news.includes(id));
  await allSaw('tally', others, [1, 2, 3, 4]);
  await eventually(async () => (await parkedMessages()) === 3 * news.length, {
    what: 'what comes for version 2 is parked',
  });
  for (const id of news) expect(await seen('tally', id)).toEqual([1]);
  expect(await parkedRows()).toMatchObject([
    { type: 'tally', version: '2', messages: 3 * news.length, since: expect.any(String) },
  ]);
  await noDeadLetters();
  const third = await spawn('2');
  await add('tally', all, 5);
  await allSaw('tally', all, [1, 2, 3, 4, 5]);
  expect(await parkedMessages()).toBe(0);
  await noDeadLetters();
  expect((await versions())('2').sort()).toEqual(news.sort());
  await third.kill('SIGTERM');
  const events = all.flatMap((id) =>
    [1, 2, 3, 4, 5].map((n) => ({ type: 'tally', id, eventId: `tally-${id}-${n}` })),
  );
  expect(await world.check({ types: TYPES, expected: { events } })).toEqual([]);
});

test('nodes are killed while they take what was parked: each message is applied once, in order', async () => {
  await spawn('1');
  const second = await spawn('2');
  for (const id of ids) await world.client.start(tally2, { id, until: 'committed' });
  const news = (await versions())('2');
  await second.kill('SIGKILL');
  const numbers = Array.from({ length: 30 }, (_, n) => n);
  for (const n of numbers) await add('tally', news, n);
  const all = numbers.length * news.length;
  await eventually(async () => (await parkedMessages()) === all, { what: 'all of it is parked' });
  for (const left of [all - 1, all / 2]) {
    const node = await spawn('2');
    await eventually(async () => (await parkedMessages()) <= left, {
      what: `${left} messages are left`,
      everyMs: 1,
    });
    await node.kill('SIGKILL');
  }
  await spawn('2');
  await allSaw('tally', news, numbers);
  expect(await parkedMessages()).toBe(0);
  await noDeadLetters();
  expect(await world.check({ types: TYPES })).toEqual([]);
});

test('a start of a type only another live node knows is kept, with what follows it', async () => {
  const first = await world.node(FIRST);
  const second = await world.node(SECOND);
  const mine = (id: string) => first.status().shards.includes(shardOf('lamp', id, SHARDS));
  expect(ids.some(mine)).toBe(true);
  // Nobody waits in vain: the shard goes to the node that knows the type.
  for (const id of ids) await world.client.start('lamp', { id, until: 'committed' });
  for (const n of [1, 2]) await add('lamp', ids, n);
  await allSaw('lamp', ids, [1, 2]);
  await noDeadLetters();
  await expect(
    world.client.start('unheard', { id: 'of', until: 'committed' }),
  ).rejects.toMatchObject({ code: 'unknown_type' });
  await second.stop();
  await expect(
    world.client.start('lamp', { id: 'late', until: 'committed' }),
  ).rejects.toMatchObject({ code: 'unknown_type' });
});

test('what an actor sends to one that only another node can open arrives once', async () => {
  await spawn('1');
  const second = await spawn('2');
  for (const id of ids) await world.client.start('lamp', { id, until: 'committed' });
  await second.kill('SIGKILL');
  await world.client.start(teller, { id: 't', until: 'committed' });
  for (const [n, to] of ids.entries())
    await world.client.send(teller, 't', { type: 'TELL', to, n }, { until: 'committed' });
  await eventually(async () => (await parkedMessages()) === ids.length, {
    what: 'they are parked',
  });
  // What is parked has arrived: nothing sends it again.
  expect(await world.sql.query('SELECT FROM outbox')).toEqual([]);
  await spawn('2');
  await eventually(
    async () => {
      for (const [n, id] of ids.entries()) expect(await seen('lamp', id)).toEqual([n]);
      return true;
    },
    { what: 'all of it has arrived', timeoutMs: 20_000 },
  );
  await noDeadLetters();
  expect(await world.check({ types: TYPES })).toEqual([]);
});

test('a parked message that kills nodes kills five, though another node gets on in between', async () => {
  const first = await spawn('1');
  const second = await spawn('2');
  await world.client.start('mine', { id: 'a', until: 'committed' });
  const [neighbour = ''] = world.neighbours('mine', 'a', 1);
  await world.client.start(tally1, { id: neighbour });
  await second.kill('SIGKILL');
  await world.publish('events.mine.a', '{"type":"BOOM"}');
  await add('mine', ['a'], 1);
  await eventually(async () => (await parkedMessages()) === 2, { what: 'both are parked' });
  const owner = async () =>
    (
      await world.sql.query<{ owner: string }>(`SELECT owner FROM shard WHERE shard = $1`, [
        shardOf('mine', 'a', SHARDS),
      ])
    )[0]?.owner;
  const firstId = await first.ready;
  for (let deaths = 0; deaths < 5; deaths++) {
    // It may die before it has said that it is ready.
    const next = await spawn('2').catch(() => undefined);
    await next?.exited;
    await eventually(async () => (await owner()) === firstId, { what: 'the shard is back' });
    // The shard's cursor gets on, where nobody can die of it.
    await world.client.start('tally', {
      id: world.neighbours('mine', 'a', deaths + 2).at(-1) as string,
      until: 'committed',
    });
  }
  await spawn('2');
  await allSaw('mine', ['a'], [1]);
  const [letter] = await world.deadLetters('events.mine.a');
  expect(letter).toMatchObject({ reason: 'event_quarantined' });
  expect(await parkedMessages()).toBe(0);
}, 60_000);

test('parked messages that are full: one more is a dead letter, and those before it are applied', async () => {
  const second = await world.node(SECOND);
  await world.client.start(tally2, { id: 'a', until: 'committed' });
  await second.stop();
  const first = await world.node(FIRST, { shardParkedMax: 2 });
  await add('tally', ['a'], 1);
  await add('tally', ['a'], 2);
  await expect(
    world.client.send(tally2, 'a', { type: 'ADD', n: 3 }, { until: 'committed' }),
  ).rejects.toMatchObject({ code: 'parked_full' });
  expect((await world.deadLetters('events.tally.a')).map(({ reason }) => reason)).toEqual([
    'parked_full',
  ]);
  await first.stop();
  await world.node(SECOND);
  await allSaw('tally', ['a'], [1, 2]);
});

test('what waits for another node is shown, with the time, wherever somebody looks', async () => {
  const second = await world.node(SECOND);
  await world.client.start(tally2, { id: 'a', until: 'committed' });
  await second.stop();
  const first = createNode({
    ...world,
    actors: FIRST,
    http: { port: 0 },
    logger: createLogger({ level: 'silent' }),
  });
  await first.start();
  try {
    for (const n of [1, 2, 3]) await add('tally', ['a'], n);
    await eventually(async () => (await parkedMessages()) === 3, { what: 'they are parked' });
    expect(await perdure('ls', '--parked')).toMatch(/\ntally +2 +1 +0 of 1 nodes +0 +3 +\S+ ago/);
    expect(await perdure('show', 'tally', 'a')).toMatch(
      /\nparked +3 messages wait for a node that can open it, for \S+;/,
    );
    expect(await perdure('doctor')).toMatch(
      /parked.*tally@2, which 0 of 1 nodes open \(3 messages since \S+Z, 0 actors\)/,
    );
    const metrics = parseMetrics(await (await fetch(`${first.status().httpUrl}/metrics`)).text());
    expect(metrics.get('perdure_parked_messages')).toBe(3);
    expect(metrics.get('perdure_parked_total')).toBe(3);
    expect(metrics.get('perdure_parked_oldest_seconds')).toBeGreaterThan(0);
    expect(metrics.get('perdure_parked_oldest_seconds')).toBeLessThan(60);
  } finally {
    await first.stop();
  }
});

test('shards with work for another version go there and stay, and fair shares are kept otherwise', async () => {
  const first = await world.node(FIRST);
  const second = await world.node(SECOND);
  for (const id of ids) await world.client.start('lamp', { id, until: 'committed' });
  const needed = new Set(ids.map((id) => shardOf('lamp', id, SHARDS)));
  for (const n of [1, 2, 3]) await add('lamp', ids, n);
  await allSaw('lamp', ids, [1, 2, 3]);
  const owned = await eventually(
    () => {
      const [a, b] = [first.status().shards, second.status().shards];
      return a.length + b.length === SHARDS && { a, b };
    },
    { what: 'every shard has an owner' },
  );
  const moved = await world.sql.query<{ shard: number }>(
    `SELECT shard FROM shard WHERE needs IS NOT NULL`,
  );
  expect(moved.length).toBeGreaterThan(0);
  for (const { shard } of moved) expect(owned.b).toContain(shard);
  for (const shard of needed) expect(owned.b).toContain(shard);
  const rest = SHARDS - moved.length;
  expect(owned.a.length).toBeGreaterThanOrEqual(Math.floor(rest / 2));
  expect(owned.a.length).toBeLessThanOrEqual(Math.ceil(rest / 2));
  const epochs = () => world.sql.query(`SELECT shard, epoch FROM shard ORDER BY shard`);
  const before = await epochs();
  for (const n of [4, 5]) await add('lamp', ids, n);
  await allSaw('lamp', ids, [1, 2, 3, 4, 5]);
  expect(await epochs()).toEqual(before);
});
