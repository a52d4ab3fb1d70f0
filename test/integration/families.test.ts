import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { shipment, tariff } from '../support/actorsFamily.ts';
import { capture } from '../support/actorsJournal.ts';
import { Journal } from '../support/cluster.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import type { JournalLine } from '../support/history.ts';
import { eventually } from '../support/services.ts';

// Machines inside of machines on real servers, in nodes that are killed.

const world = useWorld();
beforeEach(() => printLogOnFailure(world));

const FILE = join(import.meta.dirname, '../support/actorsFamily.ts');
const TYPES = [shipment, tariff];
const journal = () => new Journal<JournalLine>(join(world.dir, 'journal.jsonl')).read();
const DONE = {
  labelled: 4,
  price: 7,
  out: [
    [10, 11],
    [20, 21],
  ],
};

test('a family goes on where its node is killed: each machine under its own keys', async () => {
  const dies = await world.spawn({}, { PERDURE_TEST_CRASH: 'work 21' }, FILE);
  await world.client.start(tariff, { id: 't', until: 'committed' });
  await world.client.start(shipment, { id: 's', until: 'committed' });
  expect(await dies.exited).toMatchObject({ signal: 'SIGKILL' });
  const rows = await world.sql.query<{ id: string; status: string }>(
    `SELECT id, status FROM actors WHERE type = 'shipment' ORDER BY id`,
  );
  expect(rows.map(({ id }) => id)).toContain('s.two-1');
  const node = await world.spawn({}, {}, FILE);
  expect(await world.client.outcome(shipment, 's', { timeoutMs: 20_000 })).toMatchObject({
    status: 'done',
    output: DONE,
  });
  const lines = journal();
  const started = lines.filter((line) => line.kind === 'invoke' && line.phase === 'start');
  const keys = started.map((line) => (line as { key: string }).key);
  expect(new Set(keys).size).toBe(4);
  expect(keys.length).toBeGreaterThan(4);
  expect(new Set(keys)).toContain('shipment/s.two-1.label-1/0.label.drawing/1');
  const ended = await world.sql.query<{ status: string }>(
    `SELECT status FROM actors WHERE type = 'shipment' AND id LIKE 's.%'`,
  );
  expect(ended.map(({ status }) => status)).toEqual(Array(6).fill('done'));
  await node.kill('SIGTERM');
});

test('forty families under kill -9: nothing lost, doubled or left over', async () => {
  const ids = Array.from({ length: 40 }, (_, n) => `k${n}`);
  let node = await world.spawn({}, {}, FILE);
  for (const id of ids) await world.client.start(shipment, { id });
  const finished = async () =>
    Number(
      (
        await world.sql.query<{ count: string }>(
          `SELECT count(*) FROM actors WHERE type = 'shipment' AND id LIKE 'k%' AND id NOT LIKE '%.%' AND status = 'done'`,
        )
      )[0]?.count,
    );
  const moved = async () =>
    Number((await world.sql.query<{ count: string }>('SELECT count(*) FROM transition'))[0]?.count);
  for (let kills = 0; kills < 3; kills++) {
    const before = await moved();
    const isOver = async () => (await finished()) === ids.length;
    await eventually(async () => (await moved()) > before + 60 || isOver(), {
      what: 'they get on',
    });
    await node.kill('SIGKILL');
    node = await world.spawn({}, {}, FILE);
  }
  await eventually(async () => (await finished()) === ids.length, {
    what: 'all are done',
    timeoutMs: 60_000,
  });
  for (const id of ids)
    expect(await world.client.outcome(shipment, id)).toMatchObject({ output: DONE });
  await eventually(
    async () => {
      const left = await world.sql.query(
        'SELECT FROM actor WHERE busy OR acted_seq <> seq UNION ALL SELECT FROM outbox',
      );
      return left.length === 0;
    },
    { what: 'rest' },
  );
  await node.kill('SIGTERM');
  expect(await world.check({ types: TYPES, quiescent: true, journal: journal(), capture })).toEqual(
    [],
  );
}, 120_000);

test('a family of which one machine is in quarantine is held as a whole, and released as a whole', async () => {
  const dies = await world.spawn({}, { PERDURE_TEST_CRASH: 'work 20' }, FILE);
  await world.client.start(shipment, { id: 'q' });
  expect(await dies.exited).toMatchObject({ signal: 'SIGKILL' });
  // As after five nodes that died of it.
  await world.sql.query(
    `UPDATE actor SET crashes = 5, quarantined_at = now() WHERE type = 'shipment' AND id = 'q.two-1.label-1'`,
  );
  const node = await world.spawn({}, {}, FILE);
  await expect(
    world.client.send(shipment, 'q', { type: 'LABELLED' }, { until: 'committed' }),
  ).rejects.toMatchObject({ code: 'actor_quarantined' });
  const before = await world.transitions('shipment', 'q');
  expect(before.length).toBeLessThan(4);
  await world.client.send('shipment', 'q', { type: 'perdure.release' }, { until: 'committed' });
  expect(await world.client.outcome(shipment, 'q', { timeoutMs: 20_000 })).toMatchObject({
    output: DONE,
  });
  expect(await world.sql.query('SELECT FROM quarantined')).toEqual([]);
  await node.kill('SIGTERM');
});
