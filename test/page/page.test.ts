import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { seed } from './seed.ts';
import { type Stage, setStage } from './stage.ts';

// The page in a real browser, against a real `perdure dev` with two nodes.

/** Written when PERDURE_PAGE_IMAGES is set; somebody must look at each. */
const IMAGES = resolve(import.meta.dirname, '../../docs/images');
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** Carts that a bulk operation is to end. */
const CARTS = 500;

let stage: Stage;
let page: Page;

beforeAll(async () => {
  stage = await setStage();
  await seed(stage.client);
  page = await stage.page();
});
afterAll(() => stage?.stop());
afterEach(() => expect(stage.complaints).toEqual([]));

const show = async (path: string, on = page) => {
  await on.goto(`${stage.line.inspectUrl}/#/${path}`);
  await on.locator('h1').waitFor();
};
const lit = (id: string) => page.locator(`[data-state="order.${id}"][data-active="true"]`);

test('what is published is seen to move', async () => {
  await show('actors/order/o-7');
  await lit('fulfilling.payment.due').waitFor();
  await lit('fulfilling.delivery.shipping').waitFor();
  // Its node has said so.
  await page.locator('.facts dd[title^="0 in memory"]', { hasText: '0' }).waitFor();
  await page.getByText('live', { exact: true }).waitFor();
  const from = performance.now();
  await stage.client.send('order', 'o-7', { type: 'PAY' });
  await lit('fulfilling.payment.paid').waitFor();
  console.log(`published to seen: ${Math.round(performance.now() - from)} ms`);
  expect(await lit('fulfilling.payment.due').count()).toBe(0);
  await page.locator('.edge.lit', { hasText: 'done charge' }).waitFor();
  await page.getByRole('button', { name: /done charge/ }).waitFor();
});

test('any past moment is shown with its context and what changed, and back', async () => {
  await show('actors/order/o-7');
  await lit('fulfilling.payment.paid').waitFor();
  const slider = page.getByRole('slider', { name: 'Transition' });
  await slider.focus();
  await page.keyboard.press('Home');
  await page.getByText('As it was after #1').waitFor();
  await lit('cart').waitFor();
  await page.keyboard.press('ArrowRight');
  await page.getByText('Context after #2').waitFor();
  expect(new URL(page.url()).hash).toBe('#/actors/order/o-7?seq=2');
  await page.reload();
  await page.getByText('As it was after #2').waitFor();
  await page.locator('.diff ins', { hasText: '"lamp"' }).waitFor();
  expect(await page.locator('.json').last().textContent()).not.toContain('desk');
  await page.getByRole('button', { name: /SUBMIT/ }).click();
  await lit('review.waiting').waitFor();
  await page.getByText('from a message from outside').waitFor();
  expect(await page.getByText('What it handles now').count()).toBe(0);
  await page.getByRole('button', { name: 'now' }).click();
  await lit('fulfilling.payment.paid').waitFor();
  expect(new URL(page.url()).hash).toBe('#/actors/order/o-7');
});

test('bug: a link to a moment that is still to come showed it once it had come', async () => {
  await show('actors/order/o-7?seq=99');
  await page.waitForURL((url) => url.hash === '#/actors/order/o-7');
  await lit('fulfilling.payment.paid').waitFor();
});

test('how often an invoke was tried, how long it took and why it failed stand with the moment', async () => {
  await stage.client.start('order', {
    ...{ id: 'tried', input: { total: 13, customer: 'c-1' } },
  });
  await stage.client.send('order', 'tried', { type: 'ADD', item: 'lamp' });
  await stage.client.send('order', 'tried', { type: 'SUBMIT' });
  await stage.client.send('order', 'tried', { type: 'PAY' });
  await show('actors/order/tried');
  await lit('fulfilling.payment.failed').waitFor();
  await page.getByRole('button', { name: /error charge/ }).click();
  const ended = page.getByRole('list', { name: 'Ended by it' });
  await ended.getByText(/^failed after \d+ ms, started by #\d+, attempt 2$/).waitFor();
  await ended.getByText(/^attempt 1 failed after \d+ ms: Error: card declined$/).waitFor();
  await page.getByRole('button', { name: 'One back' }).click();
  await page
    .getByText('What ran and waited then')
    .locator('xpath=ancestor::section')
    .getByText(/^attempt 1 failed after/)
    .waitFor();
});

test('what happened is copied as a test, up to the moment that is shown', async () => {
  await page
    .context()
    .grantPermissions(['clipboard-read', 'clipboard-write'], { origin: stage.line.inspectUrl });
  await show('actors/order/o-7?seq=4');
  await page.getByText('As it was after #4').waitFor();
  await page.getByRole('button', { name: 'copy as test case' }).click();
  await page.getByRole('button', { name: 'copied' }).waitFor();
  const text = await page.evaluate<string>('navigator.clipboard.readText()');
  expect(text).toContain(`test("order/o-7 as recorded up to #4"`);
  expect(text).toContain('"item":"desk"');
  expect(text).not.toContain('HOLD');
});

test('a legal event is sent with its fields, an illegal one refused with what is legal', async () => {
  await show('actors/order/o-101');
  await lit('cart').waitFor();
  await page.getByRole('group', { name: 'Events' }).getByRole('button', { name: 'ADD' }).click();
  await page.getByLabel(/Fields of ADD/).fill('{"item": "chair"}');
  await page.getByRole('button', { name: 'Send ADD' }).click();
  await page.getByText('ADD: done as #2').waitFor();
  await page.locator('.json', { hasText: '"chair"' }).first().waitFor();
  await page.getByLabel('Another event').fill('APPROVE');
  await page.getByRole('button', { name: 'Send APPROVE' }).click();
  const refusal = page.getByRole('alert');
  await refusal.waitFor();
  expect(await refusal.textContent()).toMatch(/event_not_handled .* it handles ADD, SUBMIT/);
  await page.getByLabel(/Fields of APPROVE/).fill('{"item"');
  await page.getByRole('button', { name: 'Send APPROVE' }).click();
  await page.getByText('not JSON').waitFor();
});

test('an actor is cancelled, once one has said so twice', async () => {
  await show('actors/order/o-103');
  await page.getByRole('button', { name: 'Cancel…' }).click();
  await page.getByRole('button', { name: 'Cancel it' }).click();
  await page.locator('h1 .badge', { hasText: 'stopped' }).waitFor();
  await page.getByText('It has ended: stopped.').waitFor();
});

test('an actor is paused: what it is sent waits until it is resumed', async () => {
  await show('actors/order/o-111');
  await page.getByRole('button', { name: 'Pause', exact: true }).click();
  await page.locator('h1 .badge', { hasText: 'paused' }).waitFor();
  await page.getByRole('group', { name: 'Events' }).getByRole('button', { name: 'ADD' }).click();
  await page.getByLabel(/Fields of ADD/).fill('{"item": "sofa"}');
  await page.getByRole('button', { name: 'Send ADD' }).click();
  await page.getByText('ADD: accepted; it waits until the actor is resumed.').waitFor();
  expect(await page.locator('.json', { hasText: '"sofa"' }).count()).toBe(0);
  await page.getByRole('button', { name: 'Resume', exact: true }).click();
  await page.locator('.json', { hasText: '"sofa"' }).first().waitFor();
  await page.locator('h1 .badge', { hasText: 'active' }).waitFor();
});

test('all that match are paused, found by that, and resumed', async () => {
  const together = async (what: string, word: string) => {
    await page.locator('.bulk select').selectOption(what);
    await page.getByRole('button', { name: 'Count first' }).click();
    await page.getByRole('button', { name: `${word} 5` }).click();
    await page.locator('.done-note', { hasText: '5 asked' }).waitFor();
  };
  await show('actors?type=order&state=cart&text=o-12');
  await page.getByRole('button', { name: 'Act on all…' }).click();
  await together('pause', 'Pause');
  await page.getByLabel('Paused').check();
  await page.locator('td .badge', { hasText: 'paused' }).nth(4).waitFor();
  expect(page.url()).toContain('paused=true');
  expect(await page.locator('td .badge').count()).toBe(5);
  await together('resume', 'Resume');
  await page.getByText('No actor matches.').waitFor();
});

test('parents lead to their children and back', async () => {
  await show('actors/order/o-7');
  await page.getByRole('link', { name: /^ship-/ }).click();
  await page.locator('[data-state="ship.packing"],[data-state="ship.onTheWay"]').first().waitFor();
  await page.getByText('Only its family reaches it').waitFor();
  await page.getByRole('link', { name: 'o-7' }).click();
  await lit('fulfilling.payment.paid').waitFor();
});

test('a dead letter is read, and published again', async () => {
  await stage.client.start('order', {
    id: 'o-900',
    input: { total: 1, customer: 'x' },
    until: 'committed',
  });
  await show('dead-letters?reason=unknown_actor');
  const row = page.getByRole('row', { name: /events\.order\.o-900/ });
  await row.getByRole('link').click();
  await page.getByText('There is no order/o-900').waitFor();
  await row.getByRole('button', { name: 'Redrive' }).click();
  await page.getByText('was published again').waitFor();
  await row.waitFor({ state: 'detached' });
  await show('actors/order/o-900');
  await page.getByRole('button', { name: /PAY/ }).first().waitFor();
});

test(`${CARTS} actors in one state are counted, and cancelled together`, async () => {
  await Promise.all(
    Array.from({ length: CARTS }, (_, n) =>
      stage.client.start('order', {
        id: `bulk-${n}`,
        input: { total: 5, customer: 'many' },
        until: 'committed',
      }),
    ),
  );
  await show('types/order');
  const cart = page.locator('[data-state="order.cart"]');
  await cart.waitFor();
  await cart.focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'In cart' }).waitFor();
  await show('actors?type=order&state=cart&text=bulk-');
  await page.getByRole('button', { name: 'Act on all…' }).click();
  await page.locator('.bulk select').selectOption('cancel');
  await page.getByRole('button', { name: 'Count first' }).click();
  await page.getByText(`${CARTS} actors match`).waitFor();
  const from = performance.now();
  await page.getByRole('button', { name: `Cancel ${CARTS}` }).click();
  await page.locator('.done-note', { hasText: `${CARTS} asked` }).waitFor();
  console.log(`${CARTS} cancelled: ${Math.round(performance.now() - from)} ms`);
  const stopped = `${stage.line.inspectUrl}/api/count?type=order&status=stopped&text=bulk-`;
  const counted = async () => ((await (await fetch(stopped)).json()) as { count: number }).count;
  await expect.poll(counted, { timeout: 10_000 }).toBe(CARTS);
});

test('an actor is found by a field of its input that its type marks', async () => {
  await show('actors');
  await page.getByLabel('Input').fill('customer=ada');
  await page.getByRole('button', { name: 'Search' }).click();
  await page.locator('tbody tr', { hasText: 'o-7' }).waitFor();
  expect(await page.locator('tbody tr').count()).toBe(1);
  expect(await page.getByLabel('Input').inputValue()).toBe('customer=ada');
  await page.getByLabel('Input').fill('customer=nobody');
  await page.getByRole('button', { name: 'Search' }).click();
  await page.getByText('No actor matches.').waitFor();
  // Bug: what is no NAME=VALUE was left out, and all actors were shown.
  for (const wrong of ['customer', 'customer=', '=ada']) {
    await page.getByLabel('Input').fill(wrong);
    await page.getByRole('button', { name: 'Search' }).click();
    const isRefused = await page
      .getByLabel('Input')
      .evaluate((input) => !(input as unknown as { validity: { valid: boolean } }).validity.valid);
    expect(isRefused, wrong).toBe(true);
    await page.getByText('No actor matches.').waitFor();
  }
});

test('a search goes on until it has looked at all, shows how far it is, and can be stopped', async () => {
  const gate = { open: 0 };
  let answered = 0;
  // Stands for a million actors: each answer is about a few, and says where to go on.
  await page.route(/\/api\/actors\?.*text=rare/, async (route) => {
    const after = Number(/after=order%2Fx-(\d+)/.exec(route.request().url())?.[1] ?? 0);
    await expect.poll(() => gate.open, { timeout: 30_000 }).toBeGreaterThan(after);
    answered++;
    const actors = after === 3 ? [await anActor()] : [];
    const next = after === 3 ? null : `order/x-${after + 1}`;
    await route.fulfill({ json: { actors, searched: 1_000, complete: next === null, next } });
  });
  const anActor = async () => {
    const one = await fetch(`${stage.line.inspectUrl}/api/actors?text=o-7&type=order`);
    return ((await one.json()) as { actors: unknown[] }).actors[0];
  };
  await show('actors?text=rare');
  gate.open = 2;
  await page.getByText('2,000 actors looked at, 0 found').waitFor();
  expect(await page.getByText('No actor matches.').count()).toBe(0);
  gate.open = 4;
  await page.locator('tbody tr', { hasText: 'o-7' }).waitFor();
  await page.getByText('actors looked at').waitFor({ state: 'detached' });
  expect(answered).toBe(4);

  gate.open = 1;
  await show('actors?text=rarer');
  await page.getByText('1,000 actors looked at').waitFor();
  await page.getByRole('button', { name: 'Stop' }).click();
  gate.open = 2;
  await page.getByText('Stopped after 2,000 actors').waitFor();
  await page.getByRole('link', { name: 'go on from here' }).waitFor();
  expect(await page.getByText('No actor matches.').count()).toBe(0);
  await page.unroute(/\/api\/actors\?.*text=rare/);
});

test('while every actor is counted, overview and fleet show the rest', async () => {
  let count = () => {};
  const counted = new Promise<void>((resolve) => {
    count = resolve;
  });
  // Stands for a count of many millions.
  const slow = /\/api\/(overview|types|types\/order\/population)$/;
  await page.route(slow, async (route) => {
    await counted;
    await route.continue();
  });
  await show('');
  await page.locator('.nodes .node').first().waitFor();
  await page.getByText('Every actor is being counted').waitFor();
  expect(await page.getByText('Nothing needs you').count()).toBe(0);
  await show('types/order');
  await page.locator('[data-state="order.cart"]').waitFor();
  await page.getByText('every actor is being counted').waitFor();
  expect(await page.locator('.count').count()).toBe(0);
  count();
  await page.locator('[data-state="order.cart"] > .count text').first().waitFor();
  await page.getByText('moved on live').waitFor();
  await page.unroute(slow);
});

test('a state of the fleet counts live', async () => {
  await show('types/order');
  const count = page.locator('[data-state="order.review"] > .count text');
  await count.waitFor();
  await page.getByText('live', { exact: true }).waitFor();
  const before = Number(await count.textContent());
  await stage.client.send('order', 'o-105', { type: 'ADD', item: 'pen' }, { until: 'committed' });
  await stage.client.send('order', 'o-105', { type: 'SUBMIT' }, { until: 'committed' });
  await expect.poll(async () => Number(await count.textContent())).toBe(before + 1);
});

test('a node that is killed is seen to lose its shards', async () => {
  await show('cluster');
  await page.getByText('2 nodes run').waitFor();
  await page.getByText('64 of 64 well').waitFor();
  process.kill(stage.line.pids.nodes[0] as number, 'SIGKILL');
  await page.locator('.badge', { hasText: 'dead' }).waitFor({ timeout: 20_000 });
  await page.getByText('64 of 64 well').waitFor({ timeout: 30_000 });
});

test('with a token: none is refused, the wrong one, too, and who may look cannot act', async () => {
  const act = 'c0ffee00c0ffee11c0ffee22c0ffee33aabbccdd';
  const read = 'read-0123456789-ABCDEFGHIJKLMNOPQRSTUV';
  const env = { PERDURE_INSPECT_TOKEN: act, PERDURE_INSPECT_READ_TOKEN: read };
  const { url } = JSON.parse(await stage.command(['inspect', '--json'], env)) as { url: string };
  const visitor = await stage.page();
  await visitor.goto(url);
  await visitor.getByLabel('Token').fill('wrong');
  await visitor.getByRole('button', { name: 'Look in' }).click();
  await visitor.getByText('token_wrong').waitFor();
  await visitor.getByLabel('Token').fill(read);
  await visitor.getByRole('button', { name: 'Look in' }).click();
  await visitor.getByText('read only').waitFor();
  await visitor.goto(`${url}/#/actors/order/o-107`);
  await visitor.locator('[data-state="order.cart"][data-active="true"]').waitFor();
  expect(await visitor.getByRole('button', { name: 'ADD' }).isDisabled()).toBe(true);
  expect(await visitor.getByRole('button', { name: /Cancel/ }).count()).toBe(0);
  const other = await stage.page();
  await other.goto(`${url}/#token=${act}`);
  await other.getByRole('heading', { name: 'Overview' }).waitFor();
  expect(other.url()).not.toContain(act);
});

const VIEWS: Record<string, { path: string; ready: string }> = {
  overview: { path: '', ready: '.series path.line' },
  actors: { path: 'actors?type=order', ready: 'tbody tr' },
  fleet: { path: 'types/order?state=order.review.onHold', ready: '.bulk' },
  actor: { path: 'actors/order/o-big', ready: '.edge.lit' },
  past: { path: 'actors/order/o-7?seq=4', ready: '.past .edge.lit' },
  letters: { path: 'dead-letters/2', ready: '.json' },
  cluster: { path: 'cluster', ready: '.shard' },
};

describe.each(['light', 'dark'] as const)('%s', (colorScheme) => {
  test.each([1440, 390])('every view is sound at %i pixels', async (width) => {
    mkdirSync(IMAGES, { recursive: true });
    const height = width > 1000 ? 900 : 844;
    const on = await stage.page({
      viewport: { width, height },
      colorScheme,
      reducedMotion: 'reduce',
    });
    for (const [name, { path, ready }] of Object.entries(VIEWS)) {
      await show(path, on);
      await on.locator(ready).first().waitFor();
      await move();
      const found = await troubles(on);
      expect(found, `${name} ${colorScheme} ${width}`).toEqual([]);
      const wide = await on.evaluate('document.documentElement.scrollWidth - innerWidth');
      expect(wide, `${name} ${width} scrolls sideways`).toBeLessThanOrEqual(0);
      if (process.env.PERDURE_PAGE_IMAGES)
        await on.screenshot({ path: join(IMAGES, `${name}-${colorScheme}-${width}.png`) });
    }
  });
});

/** What axe finds that is serious. Evaluated and not added to the page, whose policy would refuse it. */
async function troubles(on: Page): Promise<string[]> {
  await on.evaluate(AXE);
  return on.evaluate(`axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
    violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html.slice(0, 160)).slice(0, 3).join(' | ')))`);
}

/** Something to see in the charts. */
const move = () =>
  Promise.all(
    Array.from({ length: 20 }, () =>
      stage.client.start('ping', { input: { fails: Math.random() < 0.1 }, until: 'committed' }),
    ),
  );
