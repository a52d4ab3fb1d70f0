import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from '@nats-io/transport-node';
import pg from 'pg';
import type { Page, Route } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Stage, setStage } from './stage.ts';

// What acts on many, and what is said of it afterwards, in a real browser.

let stage: Stage;
let page: Page;

beforeAll(async () => {
  stage = await setStage();
  page = await stage.page();
});
afterAll(() => stage?.stop());
afterEach(() => expect(stage.complaints).toEqual([]));

const show = async (path: string, on = page) => {
  await on.goto(`${stage.line.inspectUrl}/#/${path}`);
  await on.locator('h1').waitFor();
};
const start = (id: string) => stage.client.start('parcel', { id, until: 'committed' });
const send = (id: string, type: string) =>
  stage.client.send('parcel', id, { type }, { until: 'committed' });

test.each(['light', 'dark'] as const)(
  'bug: in a state of one line the count of the active ones covered that of the failed (%s)',
  async (colorScheme) => {
    const ids = Array.from({ length: 14 }, (_, n) => `${colorScheme}-${n}`);
    await Promise.all(ids.map(start));
    await Promise.all(ids.slice(0, 12).map((id) => send(id, 'WEIGH')));
    const on = await stage.page({ colorScheme, reducedMotion: 'reduce' });
    await show('types/parcel', on);
    const counts = on.locator('[data-state="parcel.waiting"] > .count');
    await expect
      .poll(async () => (await counts.locator('text').allTextContents()).map(Number), {
        timeout: 20_000,
      })
      .toEqual([expect.any(Number), expect.any(Number)]);
    await on.locator('[data-state="parcel.waiting"] > .count.failed').waitFor();
    const names = await on.locator('[data-state="parcel.waiting"] > .name').boundingBox();
    const [active, failed] = await Promise.all(
      [0, 1].map((at) => counts.nth(at).locator('rect').boundingBox()),
    );
    for (const [one, other] of [
      [active, failed],
      [names, active],
      [names, failed],
    ] as const)
      expect(overlap(one, other), JSON.stringify([one, other])).toBe(false);
    if (process.env.PERDURE_PAGE_SHOTS) {
      mkdirSync(process.env.PERDURE_PAGE_SHOTS, { recursive: true });
      const path = join(process.env.PERDURE_PAGE_SHOTS, `counts-${colorScheme}.png`);
      await on.locator('.chart').first().screenshot({ path });
    }
  },
);

interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

function overlap(one: Box | null | undefined, other: Box | null | undefined): boolean {
  if (!one || !other) throw new Error('one of them is not drawn');
  return (
    one.x < other.x + other.width &&
    other.x < one.x + one.width &&
    one.y < other.y + other.height &&
    other.y < one.y + one.height
  );
}

test('bug: a cluster in which nothing happened was shown as not live', async () => {
  await show('');
  await page.locator('.pulse.on').waitFor();
  // Longer than the page waits for a word before it says so.
  const seen = await page.evaluate<string[]>(`new Promise((done) => {
    const seen = [];
    const source = new EventSource('/api/live?only=rates');
    source.addEventListener('rates', () => {
      seen.push(document.querySelector('.pulse').textContent);
      if (seen.length < 6) return;
      source.close();
      done(seen);
    });
  })`);
  expect(seen).toEqual(Array(6).fill('live'));
});

test('bug: pausing was told as a transition', async () => {
  await start('p-1');
  await show('actors/parcel/p-1');
  await page.getByRole('button', { name: 'Pause', exact: true }).click();
  await page.getByText('Paused; nothing is taken until it is resumed.').waitFor();
  await page.getByRole('button', { name: 'Resume', exact: true }).click();
  await page.getByText('Resumed.').waitFor();
  expect(await page.getByText('Paused; nothing').count()).toBe(0);
  // It has moved on: what was said of it before is no news.
  await send('p-1', 'COUNT');
  await page.getByText('Resumed.').waitFor({ state: 'detached' });
});

test('bug: an actor that had been deleted went on as one that lives', async () => {
  await start('p-gone');
  await show('actors/parcel/p-gone');
  await page.locator('h1 .pulse.on').waitFor();
  const database = new pg.Client({ connectionString: stage.line.databaseUrl });
  await database.connect();
  await database.query(`DELETE FROM perdure.actor WHERE id = 'p-gone'`);
  await database.end();
  await page.getByText('It is not there any more: this is how it was.').waitFor();
  expect(await page.locator('h1 .pulse').textContent()).toBe('not live');
  expect(await page.getByRole('group', { name: 'Events' }).count()).toBe(0);
});

test('bug: all dead letters were published at one click, and 20 failures were told of', async () => {
  const BAD = 23;
  const nats = await connect({ servers: stage.line.natsUrl });
  for (let n = 0; n < BAD; n++) nats.publish(`events.parcel.bad-${n}`, 'no JSON');
  for (const id of ['late-1', 'late-2']) nats.publish(`events.parcel.${id}`, '{"type":"COUNT"}');
  await nats.flush();
  await nats.close();
  await show('dead-letters');
  await page.getByRole('link', { name: `all ${BAD + 2}` }).waitFor();
  const few = (route: Route) =>
    route.continue({ url: route.request().url().replace('limit=200', 'limit=20') });
  await page.route('**/api/dead-letters?*', few);
  await show('dead-letters?reason=bad_body');
  await page.getByRole('link', { name: 'next page' }).click();
  const listed = () => page.getByRole('row').count();
  await expect.poll(listed).toBe(1 + BAD - 20);
  await page.unroute('**/api/dead-letters?*', few);
  await page.getByRole('link', { name: 'first page' }).click();
  await expect.poll(listed).toBe(1 + BAD);
  await show('dead-letters');
  const hopeless = page.getByRole('row', { name: /bad-3\b/ }).getByRole('button');
  expect(await hopeless.isDisabled()).toBe(true);
  expect(await hopeless.getAttribute('title')).toContain('its body cannot be read');
  for (const id of ['late-1', 'late-2']) await start(id);
  await page.getByRole('button', { name: 'Redrive all…' }).click();
  await page.getByText(`${BAD + 2} wait: ${BAD} bad_body, 2 unknown_actor.`).waitFor();
  expect(await page.getByText('were published again').count()).toBe(0);
  await page.getByRole('button', { name: 'no', exact: true }).click();
  await page.getByText(`${BAD + 2} wait`).waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Redrive all…' }).click();
  await page.getByRole('button', { name: `Redrive all ${BAD + 2}` }).click();
  await page.getByText(`2 were published again; ${BAD} could not be: ${BAD} bad_body.`).waitFor();
  await page.getByRole('link', { name: `all ${BAD}`, exact: true }).waitFor();
});

test('bug: a node that died long ago stood beside the one that has its name now', async () => {
  type Nodes = { name: string; live: boolean; shards: number }[];
  const dead = (nodes: Nodes, name: string) => ({
    ...nodes[0],
    ...{ name, node_id: name, live: false, state: 'dead', shards: 0 },
    expires_at: new Date(Date.now() - 3_600_000).toISOString(),
  });
  const routes = /\/api\/(nodes|overview)(\?.*)?$/;
  await page.route(routes, async (route) => {
    const response = await route.fetch();
    const body = (await response.json()) as { nodes: Nodes | { list: Nodes } };
    const list = Array.isArray(body.nodes) ? body.nodes : body.nodes.list;
    const owner = { ...dead(list, 'still-owner'), shards: 2 };
    list.push(dead(list, 'long-dead') as Nodes[number], owner as Nodes[number]);
    await route.fulfill({ json: body });
  });
  await show('cluster');
  await page.getByText('1 dead one not shown').waitFor();
  await page.getByText('still-owner').first().waitFor();
  expect(await page.getByText('long-dead').count()).toBe(0);
  await show('');
  await page.locator('.nodes .node', { hasText: 'still-owner' }).waitFor();
  expect(await page.getByText('long-dead').count()).toBe(0);
  await page.unroute(routes);
});
