/**
 * Stands for browsers that show the overview: `node inspectPages.ts URL PAGES`. Each hears what happens, and asks for the
 * overview every three seconds, as the page does. Runs until it is killed; a process of its own, since browsers are no
 * part of what is measured.
 */
const [url = '', pages = '1'] = process.argv.slice(2);
const EVERY_MS = 3_000;
/** Of the page's own (`src/inspect/page/api.ts`). */
const REST_FACTOR = 40;

async function listen(): Promise<void> {
  const { body } = await fetch(`${url}/api/live?only=rates`);
  // biome-ignore lint/style/noNonNullAssertion: a stream has a body
  for await (const chunk of body!) bytes += chunk.length;
}

async function look(): Promise<void> {
  for (;;) {
    const from = performance.now();
    await (await fetch(`${url}/api/overview`)).arrayBuffer();
    looked = true;
    const rest = Math.max(EVERY_MS, REST_FACTOR * (performance.now() - from));
    await new Promise((resolve) => setTimeout(resolve, rest));
  }
}

let bytes = 0;
let looked = false;
process.once('disconnect', () => process.exit());
for (let page = 0; page < Number(pages); page++) {
  void listen().catch(() => process.exit(1));
  void look().catch(() => process.exit(1));
}
/** What all have heard so far; above 0 when they are there, and every actor has been counted for the first of them. */
setInterval(() => process.send?.(looked ? bytes : 0), 50);
