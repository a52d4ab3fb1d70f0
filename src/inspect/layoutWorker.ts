import { createRequire } from 'node:module';
import { parentPort } from 'node:worker_threads';
import type { ChartMachine, ChartState } from '../actors/chart.ts';
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

// Most of a first layout is the library's code being compiled: done ahead, on a machine of two states.
const nothing = { initial: [], tags: [], entry: [], exit: [], invokes: [], edges: [], states: [] };
const state = (id: string, more: Partial<ChartState>): ChartState => ({
  ...{ id, key: id, type: 'atomic', ...nothing },
  ...more,
});
const edge = { id: 'edge', event: 'GO', targets: ['b'], actions: [] };
const states = [state('a', { edges: [edge] }), state('b', {})];
await draw(
  { id: 'c', root: state('c', { type: 'compound', initial: ['a'], states }), actors: {} },
  'DOWN',
);

parentPort?.on('message', async (machine: ChartMachine) => {
  const down = await draw(machine, 'DOWN');
  parentPort?.postMessage({ down, right: await draw(machine, 'RIGHT') });
});
