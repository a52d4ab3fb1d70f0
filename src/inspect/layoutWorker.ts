import { createRequire } from 'node:module';
import { parentPort } from 'node:worker_threads';
import type { ChartMachine } from '../actors/chart.ts';
import { drawn, graphOf } from './graph.ts';
import { vendored } from './layout.ts';

// A thread of its own: the library is one long computation.
const require = createRequire(import.meta.url);
const Elk = require(vendored('elk.cjs', 'elkjs/lib/elk.bundled.js').pathname) as new () => {
  layout(graph: object): Promise<object>;
};
const elk = new Elk();
const draw = async (machine: ChartMachine, direction: 'DOWN' | 'RIGHT') =>
  drawn(machine, await elk.layout(graphOf(machine, direction)));

parentPort?.on('message', async (machine: ChartMachine) => {
  const down = await draw(machine, 'DOWN');
  parentPort?.postMessage({ down, right: await draw(machine, 'RIGHT') });
});
