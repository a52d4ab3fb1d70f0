import { launch } from '../test/page/stage.ts';

/**
 * How long it takes until an actor's page shows its statechart and its history, and has gone to a step that was clicked: ms,
 * each time in a browser that has nothing of it.
 */
export async function actorPage(
  url: string,
  rounds: number,
  actorOf: (round: number) => string,
): Promise<number[]> {
  const browser = await launch();
  const took: number[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      const context = await browser.newContext();
      const page = await context.newPage();
      const from = performance.now();
      await page.goto(`${url}/#/actors/order/${actorOf(round)}`);
      await page.locator('[data-state]').first().waitFor();
      await page.locator('.history .step').first().click();
      await page.locator('.history .step[aria-current=step]').first().waitFor();
      took.push(performance.now() - from);
      await context.close();
    }
  } finally {
    await browser.close();
  }
  return took;
}
