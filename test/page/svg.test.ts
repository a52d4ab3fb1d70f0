import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { setup } from 'xstate';
import { type Chart, type ChartMachine, machineAt } from '../../src/actors/chart.ts';
import { recordsOf } from '../../src/actors/chartOf.ts';
import { defineActor } from '../../src/index.ts';
import { layOut } from '../../src/inspect/layout.ts';
import { svgOf } from '../../src/inspect/svgChart.ts';
import { order } from '../support/pageActors.ts';
import { launch } from './stage.ts';

// The SVG file of a machine, as a browser that knows nothing else shows it.

const odd = defineActor('odd', {
  machine: setup({ types: { events: {} as { type: string } } }).createMachine({
    id: 'odd',
    description: 'a <b>"bold"</b> & \u0007 one',
    initial: 'a<b>&"c\u0001',
    states: {
      'a<b>&"c\u0001': { on: { '</text><script>': 'end' }, tags: ['<i>'] },
      end: { type: 'final' },
    },
  }),
});

const chartOf = (type: typeof order | typeof odd): ChartMachine => {
  const [record] = recordsOf([type]);
  return machineAt(JSON.parse(record?.definition ?? '{}') as Chart) as ChartMachine;
};

let browser: Browser;
let dir: string;
beforeAll(async () => {
  browser = await launch();
  dir = mkdtempSync(join(tmpdir(), 'perdure-svg-'));
});
afterAll(async () => {
  await browser?.close();
  rmSync(dir, { recursive: true, force: true });
});

async function shown(name: string, svg: string, colorScheme: 'light' | 'dark' = 'light') {
  const file = join(dir, `${name}.svg`);
  writeFileSync(file, svg);
  const page = await browser.newPage({ colorScheme });
  await page.goto(pathToFileURL(file).href);
  return page;
}

const drawn = async (type: typeof order | typeof odd) => {
  const machine = chartOf(type);
  return svgOf(machine, await layOut(machine), type.name);
};

test('every state has its name, what it does and its tags inside of its frame', async () => {
  const page = await shown('order', await drawn(order));
  const states = await page.evaluate<{ names: string; texts: string[]; isInside: boolean }[]>(`
    [...document.querySelectorAll('g.state')].map((group) => {
      const frame = group.querySelector('rect').getBBox();
      const texts = [...group.querySelectorAll('text')];
      const isInside = texts.map((text) => text.getBBox()).every((box) =>
        box.x >= frame.x && box.x + box.width <= frame.x + frame.width &&
        box.y >= frame.y && box.y + box.height <= frame.y + frame.height);
      return { names: group.getAttribute('class'), texts: texts.map((text) => text.textContent), isInside };
    })`);
  expect(states.filter(({ isInside }) => !isInside)).toEqual([]);
  expect(states).toContainEqual(expect.objectContaining({ texts: ['charging', '⟳ charge'] }));
  expect(states).toContainEqual(
    expect.objectContaining({ names: 'state parallel outer', texts: ['fulfilling'] }),
  );
  expect(states.map(({ texts }) => texts[0])).toEqual(
    expect.arrayContaining(['order', 'cart', 'payment', 'delivery', 'paid']),
  );
  const labels = await page.$$eval('.edge .label text', (all) => all.map((one) => one.textContent));
  expect(labels).toEqual(
    expect.arrayContaining(['SUBMIT [hasItems]', 'after 7 d', 'done charge', 'error charge']),
  );
});

test('it is light or dark as its reader likes it', async () => {
  const svg = await drawn(order);
  const colors = async (scheme: 'light' | 'dark') =>
    (await shown('order', svg, scheme)).evaluate(
      `['.paper', '.state rect', '.name'].map((one) => getComputedStyle(document.querySelector(one)).fill)`,
    );
  expect(await colors('light')).toEqual([
    'rgb(246, 246, 243)',
    'rgb(248, 248, 246)',
    'rgb(28, 30, 33)',
  ]);
  expect(await colors('dark')).toEqual([
    'rgb(18, 20, 22)',
    'rgb(31, 34, 38)',
    'rgb(231, 233, 234)',
  ]);
});

test('names are names, whatever they look like', async () => {
  const page = await shown('odd', await drawn(odd));
  expect(await page.$$eval('script, b, i', (all) => all.length)).toBe(0);
  const texts = await page.$$eval('text', (all) => all.map((one) => one.textContent));
  expect(texts).toEqual(expect.arrayContaining(['a<b>&"c\ufffd', '#<i>', '</text><script>']));
});
