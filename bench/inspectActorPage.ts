import type { Browser } from 'playwright-core';
import { launch } from '../test/page/stage.ts';
import type { Inspector } from './inspectCost.ts';

/** What is opened: the first page after a start, one of a version recorded just then, one of a version that is drawn. */
export const OPENED = ['first', 'new version', 'known version'] as const;

/**
 * How long it takes until an actor's page shows its statechart and its history, and has gone to a step that was clicked: ms,
 * each time in a browser that has nothing of it. Every round has an inspector and a browser of its own.
 */
export async function actorPages(
  options: { inspect: () => Promise<Inspector>; recordAgain: () => Promise<unknown> } & {
    rounds: number;
    actorOf: (n: number) => string;
  },
): Promise<Record<(typeof OPENED)[number], number[]>> {
  const { inspect, recordAgain, rounds, actorOf } = options;
  const took: Record<(typeof OPENED)[number], number[]> = {
    first: [],
    'new version': [],
    'known version': [],
  };
  for (let round = 0; round < rounds; round++) {
    const inspector = await inspect();
    const browser = await launch();
    try {
      for (const [at, what] of OPENED.entries()) {
        if (what === 'new version') await recordAgain();
        const id = actorOf(round * OPENED.length + at);
        took[what].push(await open(browser, `${inspector.url}/#/actors/order/${id}`));
      }
    } finally {
      await browser.close();
      await inspector.stop();
    }
  }
  return took;
}

async function open(browser: Browser, url: string): Promise<number> {
  const context = await browser.newContext();
  const page = await context.newPage();
  const from = performance.now();
  await page.goto(url);
  await page.locator('[data-state]').first().waitFor();
  await page.locator('.history .step').first().click();
  await page.locator('.history .step[aria-current=step]').first().waitFor();
  const took = performance.now() - from;
  await context.close();
  return took;
}
