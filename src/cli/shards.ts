import type { Command } from 'commander';
import { LIMITS } from '../config.ts';
import { PerdureError } from '../errors.ts';
import { type ShardView, viewShards } from '../inspect/clusterView.ts';
import type { NodeRow } from '../store/read.ts';
import { age } from './age.ts';
import { type ConnectionFlags, connectionOptions } from './connection.ts';
import { NatsSide } from './natsSide.ts';
import { SHORT_ID } from './nodes.ts';
import { withReadStore } from './session.ts';
import { printJson, printTable } from './table.ts';

interface Flags extends ConnectionFlags {
  node?: string;
  unhealthy?: true;
  json?: true;
}

/** The beginning of an id names a node; less of it could be anybody. */
const ID_MIN = 4;

/** `perdure shards`. */
export function register(program: Command): void {
  connectionOptions(program.command('shards'))
    .description('List the shards: who owns each, since when, and how far behind it is.')
    .option('--node <name>', 'only those of this node; its name, or the beginning of its id')
    .option('--unhealthy', 'only those that are not ok; exits with 1 when there are any')
    .option('--json', 'print one JSON document a line')
    .addHelpText(
      'after',
      `
Examples:
  $ perdure shards
  $ perdure shards --node web-1
  $ perdure shards --unhealthy || page somebody

LAG counts messages that wait or are not acknowledged, as JetStream knows them; ? when NATS does not answer, - when
nobody reads. HEALTH is one of
  ok
  free       nobody owns it
  orphaned   its owner is dead
  no reader  its owner lives, and does not read the log
  suspect    its owners died one after the other; perdure doctor says more
  behind     more than ${LIMITS.shardPendingMax} messages wait
While nodes come and go, some shards are free, orphaned or without reader for a moment.`,
    )
    .action(shards);
}

async function shards(flags: Flags): Promise<void> {
  const nats = new NatsSide('perdure shards', flags);
  try {
    const [rows, nodes] = await withReadStore(flags, (store) =>
      Promise.all([store.shards(), store.nodes()]),
    );
    // After the record: a shard opened again in between then has a newer reader, not none.
    const readers = await nats.readers();
    const all = viewShards(rows, nodes, readers);
    const unhealthy = all.filter(({ health }) => health !== 'ok');
    const chosen = flags.unhealthy ? unhealthy : all;
    const shown = flags.node === undefined ? chosen : ownedBy(flags.node, nodes, chosen);
    if (flags.unhealthy && shown.length > 0) process.exitCode = 1;
    if (nats.trouble !== undefined)
      process.stderr.write(`perdure: how far shards are behind is not known: ${nats.trouble}\n`);
    if (flags.json) return shown.forEach(printJson);
    print(shown, readers !== undefined);
    const live = nodes.filter((node) => node.live).length;
    process.stdout.write(
      `${all.length} shards, ${live} ${live === 1 ? 'node' : 'nodes'}, ${unhealthy.length} unhealthy\n`,
    );
  } finally {
    await nats.close();
  }
}

/** Several incarnations may have had one name. @throws PerdureError `not_found` */
function ownedBy(asked: string, nodes: readonly NodeRow[], shards: ShardView[]): ShardView[] {
  const named = nodes.filter(({ name }) => name === asked);
  const meant =
    named.length > 0 || asked.length < ID_MIN
      ? named
      : nodes.filter(({ node_id }) => node_id.startsWith(asked));
  if (meant.length === 0)
    throw new PerdureError('not_found', `There is no node ${asked}; perdure nodes --all has them.`);
  const owners = new Set(meant.map(({ node_id }) => node_id));
  return shards.filter(({ owner }) => owner !== null && owners.has(owner));
}

function print(shards: readonly ShardView[], natsAnswers: boolean): void {
  if (shards.length === 0) return;
  const unknown = natsAnswers ? '-' : '?';
  printTable(
    ['SHARD', 'OWNER', 'SINCE', 'EPOCH', 'CURSOR', 'LAG', 'CRASHES', 'HEALTH'],
    shards.map((shard) => [
      String(shard.shard),
      shard.owner_name ?? shard.owner?.slice(0, SHORT_ID) ?? '-',
      shard.owner === null || shard.owned_since === null ? '-' : age(shard.owned_since),
      String(shard.epoch),
      String(shard.cursor),
      shard.lag === null ? unknown : String(shard.lag),
      String(shard.crashes),
      shard.health,
    ]),
  );
}
