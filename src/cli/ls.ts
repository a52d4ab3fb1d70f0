import { type Command, Option } from 'commander';
import { PerdureError } from '../errors.ts';
import { Vocabulary } from '../inspect/vocabulary.ts';
import type { ActorSummary } from '../store/read.ts';
import { age } from './age.ts';
import { fieldAndValue, token, whole } from './arguments.ts';
import { codecOption } from './codecFile.ts';
import type { ConnectionFlags } from './connection.ts';
import { endpointOptions } from './endpoints.ts';
import { searchOn } from './searchOn.ts';
import { withReadStore } from './session.ts';
import { stateText } from './stateText.ts';
import { printJson, printTable } from './table.ts';

interface Flags extends ConnectionFlags {
  type?: string;
  status?: string;
  state?: string;
  where?: [string, string][];
  node?: string;
  parked?: true;
  paused?: true;
  children?: true;
  limit: number;
  json?: true;
}

/** `perdure ls`. */
export function register(program: Command): void {
  codecOption(endpointOptions(program.command('ls'), 'database'))
    .description(
      'List actors, the last changed first; with --state, --where or --node by type and id.',
    )
    .argument('[type]', 'only this actor type', token)
    .option('--type <type>', 'the same', token)
    .addOption(
      new Option('--status <status>', 'only these').choices(['active', 'done', 'error', 'stopped']),
    )
    .option('--state <path>', 'only in this state or below it: paying, open.waiting')
    .option(
      '--where <field=value>',
      'only with this value in a field of the input that the type marks as searchable; may be repeated',
      fieldAndValue,
    )
    .option('--node <node>', 'only what this node owns: its name, its id, or how that begins')
    .option(
      '--parked',
      'count instead what nodes cannot open: by type and version of active actors',
    )
    .option('--paused', 'only those that are paused')
    .option('--children', 'also machines that other machines have invoked or spawned')
    .option('--limit <count>', 'at most so many', whole(1, 10_000), 50)
    .option('--json', 'print one JSON document a line')
    .addHelpText(
      'after',
      `
Examples:
  $ perdure ls
  $ perdure ls order --state open.waiting
  $ perdure ls order --where customerId=42 --where region=eu
  $ perdure ls --status error --json | jq -r .id
  $ perdure ls --parked                          actors of versions that nodes do not know`,
    )
    .action(ls);
}

async function ls(type: string | undefined, flags: Flags): Promise<void> {
  const only = type ?? flags.type;
  if (flags.parked) return lsParked(only, flags);
  const search = {
    ...(only === undefined ? {} : { type: only }),
    ...(flags.status === undefined ? {} : { status: flags.status }),
    ...(flags.state === undefined ? {} : { state: flags.state }),
    ...(flags.node === undefined ? {} : { node: flags.node }),
    ...(flags.paused ? { paused: true } : {}),
    ...(flags.where === undefined ? {} : { fields: Object.fromEntries(flags.where) }),
    ...(flags.children ? { children: 'all' as const } : {}),
  };
  const isSearch = [flags.state, flags.where, flags.node].some((one) => one !== undefined);
  const { actors, stopped } = await withReadStore(flags, async (store) => {
    const understood = await new Vocabulary(store).understand(search);
    return isSearch
      ? searchOn(store, understood, flags.limit)
      : { actors: await store.listActors({ ...search, limit: flags.limit }), stopped: null };
  });
  if (flags.json) actors.forEach(printJson);
  else if (actors.length > 0)
    printTable(['TYPE', 'ID', 'STATUS', 'STATE', 'SEQ', 'AGE', 'CHANGED'], actors.map(row));
  if (stopped !== null) {
    process.stderr.write(`stopped after ${stopped} actors; there may be more\n`);
    process.exitCode = 130;
  } else if (flags.json) return;
  else if (actors.length === 0) process.stderr.write('no actors\n');
  else if (actors.length === flags.limit)
    process.stderr.write(`the first ${flags.limit}; --limit shows more\n`);
}

/** What a node that does not know a version has left alone. */
async function lsParked(only: string | undefined, flags: Flags): Promise<void> {
  const filters = [flags.status, flags.state, flags.where, flags.node];
  const filtered = filters.some((one) => one !== undefined);
  if (filtered || flags.paused)
    throw new PerdureError(
      'bad_options',
      '--parked is about versions: leave --status, --state, --where, --node and --paused out.',
    );
  const rows = await withReadStore(flags, async (store) => {
    const found = await store.parked(only === undefined ? {} : { type: only });
    // A type that is misspelt would be taken for one of which nothing is parked.
    if (found.length === 0 && only !== undefined)
      await new Vocabulary(store).understand({ type: only });
    return found;
  });
  if (flags.json) return rows.forEach(printJson);
  if (rows.length === 0) return void process.stderr.write('nothing is parked\n');
  printTable(
    ['TYPE', 'VERSION', 'ACTORS', 'OPENED BY', 'WAITING', 'MESSAGES', 'SINCE'],
    rows.map(({ type, version, actors, opened_by, nodes, waiting, messages, since }) => [
      type,
      version ?? '-',
      String(actors),
      `${opened_by} of ${nodes} nodes`,
      String(waiting),
      String(messages),
      since === null ? '-' : `${age(since)} ago`,
    ]),
  );
}

const row = (actor: ActorSummary): string[] => [
  actor.type,
  actor.id,
  actor.paused_at === null ? actor.status : 'paused',
  stateText(actor.state),
  String(actor.seq),
  age(actor.created_at),
  age(actor.updated_at),
];
