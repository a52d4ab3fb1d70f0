import { createRequire } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import type { ChartMachine } from '../actors/chart.ts';
import { drawn, graphOf } from './graph.ts';
import { vendored } from './layout.ts';

// A thread of its own: the library is one long computation.
const require = createRequire(import.meta.url);
const Elk = require(vendored('elk.cjs', 'elkjs/lib/elk.bundled.js').pathname) as new () => {
  layout(graph: object): Promise<object>;
};
const machine = workerData as ChartMachine;
const draw = async (direction: 'DOWN' | 'RIGHT') =>
  drawn(machine, await new Elk().layout(graphOf(machine, direction)));
parentPort?.postMessage({ down: await draw('DOWN'), right: await draw('RIGHT') });
