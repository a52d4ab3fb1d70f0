import { type Command, Option } from 'commander';
import { type Chart, type ChartMachine, machineAt } from '../actors/chart.ts';
import { PerdureError } from '../errors.ts';
import { layOut } from '../inspect/layout.ts';
import { mermaidOf } from '../inspect/mermaid.ts';
import { svgOf } from '../inspect/svgChart.ts';
import { textChart } from '../inspect/textChart.ts';
import { Vocabulary } from '../inspect/vocabulary.ts';
import type { ReadStore } from '../store/read.ts';
import { token } from './arguments.ts';
import type { ConnectionFlags } from './connection.ts';
import { endpointOptions } from './endpoints.ts';
import { withReadStore } from './session.ts';
import { printJson, visible } from './table.ts';

interface Flags extends ConnectionFlags {
  format: 'text' | 'mermaid' | 'svg' | 'json';
  of?: string;
  machine?: string;
}

/** `perdure graph TYPE`. */
export function register(program: Command): void {
  endpointOptions(program.command('graph'), 'database')
    .description('Print the machine of an actor type, as the nodes that run it have recorded it.')
    .argument('<type>', 'actor type', token)
    .addOption(
      new Option('--format <format>', 'how')
        .choices(['text', 'mermaid', 'svg', 'json'])
        .default('text'),
    )
    .option('--of <version>', 'version of the type; default: the one recorded last')
    .option('--machine <path>', 'one below the root: the src of each level, separated by slashes')
    .addHelpText(
      'after',
      `
Examples:
  $ perdure graph order
  $ perdure graph order --format mermaid > order.mmd
  $ perdure graph order --format svg > order.svg
  $ perdure graph order --machine ship`,
    )
    .action(graph);
}

async function graph(type: string, flags: Flags): Promise<void> {
  const chart = await withReadStore(flags, (store) => recorded(store, type, flags.of));
  const path = flags.machine?.split('/') ?? [];
  const machine = machineAt(chart, path);
  if (!machine) throw new PerdureError('not_found', `${type} has no machine at ${path.join('/')}.`);
  if (flags.format === 'json') return printJson(machine);
  const name = path.at(-1) ?? type;
  process.stdout.write(await textOf(machine, name, flags.format));
}

async function textOf(
  machine: ChartMachine,
  name: string,
  format: 'text' | 'mermaid' | 'svg',
): Promise<string> {
  if (format === 'mermaid') return mermaidOf(machine);
  if (format === 'svg') return svgOf(machine, await layOut(machine), name);
  return `${textChart(machine, name).map(visible).join('\n')}\n`;
}

/** @throws PerdureError `not_found` */
async function recorded(store: ReadStore, type: string, asked: string | undefined): Promise<Chart> {
  const known = (await store.machines()).filter((row) => row.type === type);
  const version = asked ?? known[0]?.version;
  const row = version === undefined ? undefined : await store.machine(type, version);
  if (row) return JSON.parse(row.definition) as Chart;
  const missing = await new Vocabulary(store).missing(type);
  if (missing) throw new PerdureError('not_found', missing.message);
  throw new PerdureError(
    'not_found',
    `No node has recorded a machine of ${type}${asked === undefined ? '' : ` version ${asked}`}; recorded are ${known.map((one) => one.version).join(', ') || 'none'}.`,
  );
}
