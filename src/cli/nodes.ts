import type { Command } from 'commander';
import { type NodeView, viewNodes } from '../inspect/clusterView.ts';
import { age, duration } from './age.ts';
import type { ConnectionFlags } from './connection.ts';
import { endpointOptions } from './endpoints.ts';
import { withReadStore } from './session.ts';
import { printJson, printTable } from './table.ts';

interface Flags extends ConnectionFlags {
  all?: true;
  json?: true;
}

/** As much of a node's id as its log lines have. */
export const SHORT_ID = 8;

/** `perdure nodes`. */
export function register(program: Command): void {
  endpointOptions(program.command('nodes'), 'database')
    .description('List the nodes that live, and the dead that still own shards.')
    .option('--all', 'also the dead of the last day that own nothing')
    .option('--json', 'print one JSON document a line')
    .addHelpText(
      'after',
      `
Examples:
  $ perdure nodes
  $ perdure nodes --json | jq -r 'select(.state != "ok") | .name'

STATE is one of
  ok        it takes its share of the shards
  draining  it was asked to end, and gives its shards back
  no NATS   it does not reach NATS; its shards go to nodes that do
  dead      its lease is over, or its session with Postgres is gone; others take its shards

REFUSED: its commits of shards that another node had taken meanwhile; none of them has landed`,
    )
    .action(nodes);
}

async function nodes(flags: Flags): Promise<void> {
  const known = viewNodes(await withReadStore(flags, (store) => store.nodes()));
  const shown = known.filter(({ state, shards }) => flags.all || state !== 'dead' || shards > 0);
  if (flags.json) return shown.forEach(printJson);
  const left = known.length - shown.length;
  if (shown.length === 0) process.stderr.write('no nodes; perdure serve FILE starts one\n');
  else
    printTable(
      ['NAME', 'ID', 'HOST', 'PID', 'VERSION', 'UP', 'SHARDS', 'STATE', 'LEASE', 'REFUSED'],
      shown.map(row),
    );
  if (left > 0)
    process.stderr.write(
      `${left} dead ${left === 1 ? 'one' : 'ones'} not shown; --all shows them\n`,
    );
}

const row = (node: NodeView): string[] => [
  node.name,
  node.node_id.slice(0, SHORT_ID),
  node.host,
  String(node.pid),
  node.version,
  age(node.started_at),
  String(node.shards),
  node.state,
  node.lease_left_ms > 0 ? duration(node.lease_left_ms) : '-',
  String(node.refused_commits),
];
