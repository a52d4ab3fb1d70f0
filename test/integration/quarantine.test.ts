import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { bomber, counter, haul, POISON_FILE, tick } from '../support/actorsCluster.ts';
import { openStage, type Stage, startHauls, startTicks } from '../support/clusterStage.ts';
import { eventually, freshDatabase, natsUrl } from '../support/services.ts';

// What kills nodes is found out and kept away from them; everything else goes on (G9).

const DEATHS_MAX = 5;

let database: Awaited<ReturnType<typeof freshDatabase>>;
let stage: Stage;
let deaths = 0;
let over = false;
let kept: Promise<void>[] = [];

/** A node that is started again whenever it dies, as whoever supervises it would. */
async function keep(name: string): Promise<void> {
  while (!over) {
    const node = stage.launch(name);
    await node.exited;
    if (!over) deaths++;
  }
}

beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(() => database?.drop());

beforeEach(async () => {
  stage = await openStage({ databaseUrl: database.url, natsUrl: natsUrl() });
  writeFileSync(join(stage.dir, POISON_FILE), '');
  over = false;
  deaths = 0;
  kept = [keep('n1'), keep('n2')];
  await stage.shared([32, 32]);
  await startTicks(stage, 12, tick);
  // Through every death: it runs again, and ends at last.
  await startHauls(stage, 2, 4_000);
});
afterEach(async () => {
  over = true;
  await stage.close();
  await Promise.all(kept);
});

const quarantined = () =>
  stage.query<{ type: string; id: string; crashes: number }>(
    'SELECT type, id, crashes FROM quarantined',
  );

const deadLetters = () =>
  stage.query<{ reason: string; subject: string }>('SELECT reason, subject FROM dead_letters');

/** Nodes stay up, and whoever did nothing works. */
async function isCalm(): Promise<void> {
  const before = deaths;
  // Those who were working when others died are tried alone, one after the other, and long work takes 4 s.
  await stage.moving('tick', 30_000);
  await eventually(
    async () => (await stage.query(`SELECT FROM actor WHERE type = 'haul' AND busy`)).length === 0,
    { what: 'the long work ends', timeoutMs: 30_000 },
  );
  await stage.moving('tick');
  expect(deaths).toBe(before);
}

const allIsWell = async () => expect(await stage.judge([tick, haul, bomber, counter])).toEqual([]);

/** The counter takes one more. */
async function counts(id: string): Promise<void> {
  const receipt = await stage.client.send(counter, id, { type: 'ADD' }, COMMITTED);
  expect(receipt.status).toBe('active');
}

const COMMITTED = { until: 'committed', timeoutMs: 20_000 } as const;

test('an event that kills nodes becomes a dead letter, and its actor lives on', async () => {
  await stage.client.start(counter, { id: 'c', ...COMMITTED });
  await stage.client.send(counter, 'c', { type: 'POISON' });
  await stage.client.send(counter, 'c', { type: 'ADD' });
  await eventually(async () => (await deadLetters()).length > 0, {
    what: 'the dead letter',
    timeoutMs: 40_000,
  });
  expect(deaths).toBe(DEATHS_MAX);
  expect(await deadLetters()).toEqual([
    { reason: 'event_quarantined', subject: 'events.counter.c' },
  ]);
  await counts('c');
  expect((await stage.client.snapshot(counter, 'c')).context.n).toBe(2);
  expect(await quarantined()).toEqual([]);
  await isCalm();
  await allIsWell();
}, 60_000);

test('an actor whose work kills nodes is put in quarantine, until it is released', async () => {
  await stage.client.start(bomber, { id: 'b', ...COMMITTED });
  await stage.client.send(bomber, 'b', { type: 'GO' });
  await eventually(async () => (await quarantined()).length > 0, {
    what: 'the quarantine',
    timeoutMs: 40_000,
  });
  expect(deaths).toBe(DEATHS_MAX);
  expect(await quarantined()).toEqual([{ type: 'bomber', id: 'b', crashes: DEATHS_MAX }]);
  await expect(stage.client.send(bomber, 'b', { type: 'POKE' }, COMMITTED)).rejects.toMatchObject({
    code: 'actor_quarantined',
  });
  await isCalm();
  rmSync(join(stage.dir, POISON_FILE));
  await stage.client.send('bomber', 'b', { type: 'perdure.release' }, COMMITTED);
  expect(await stage.client.outcome(bomber, 'b', { timeoutMs: 10_000 })).toMatchObject({
    status: 'done',
  });
  expect(await quarantined()).toEqual([]);
  await isCalm();
  await allIsWell();
}, 60_000);

test('an actor whose timer kills nodes is put in quarantine', async () => {
  await stage.client.start(counter, { id: 'c', ...COMMITTED });
  await stage.client.start(counter, { id: 'other', ...COMMITTED });
  await stage.client.send(counter, 'c', { type: 'ARM' });
  await eventually(async () => (await quarantined()).length > 0, {
    what: 'the quarantine',
    timeoutMs: 40_000,
  });
  expect(deaths).toBe(DEATHS_MAX);
  expect(await quarantined()).toEqual([{ type: 'counter', id: 'c', crashes: DEATHS_MAX }]);
  await counts('other');
  await isCalm();
  rmSync(join(stage.dir, POISON_FILE));
  await stage.client.send('counter', 'c', { type: 'perdure.release' }, COMMITTED);
  await counts('c');
  await eventually(async () => (await stage.client.query(counter, 'c')).state === 'idle', {
    what: 'the timer fires',
  });
  await isCalm();
  await allIsWell();
}, 60_000);
