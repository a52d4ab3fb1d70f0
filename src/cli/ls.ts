import { type Command, Option } from 'commander';
import type { ActorSummary } from '../store/read.ts';
import { age } from './age.ts';
import { token, whole } from './arguments.ts';
import type { ConnectionFlags } from './connection.ts';
import { endpointOptions } from './endpoints.ts';
import { withReadStore } from './session.ts';
import { stateText } from './stateText.ts';
import { printJson, printTable } from './table.ts';

interface Flags extends ConnectionFlags {
  type?: string;
  status?: string;
  state?: string;
  limit: number;
  json?: true;
}

/** `perdure ls`. */
export function register(program: Command): void {
  endpointOptions(program.command('ls'), 'database')
    .description('List actors, the last changed first.')
    .argument('[type]', 'only this actor type', token)
    .option('--type <type>', 'the same', token)
    .addOption(
      new Option('--status <status>', 'only these').choices(['active', 'done', 'error', 'stopped']),
    )
    .option('--state <path>', 'only in this state or below it: paying, open.waiting')
    .option('--limit <count>', 'at most so many', whole(1, 10_000), 50)
    .option('--json', 'print one JSON document a line')
    .addHelpText(
      'after',
      `
Examples:
  $ perdure ls
  $ perdure ls order --state open.waiting
  $ perdure ls --status error --json | jq -r .id`,
    )
    .action(ls);
}

async function ls(type: string | undefined, flags: Flags): Promise<void> {
  const only = type ?? flags.type;
  const actors = await withReadStore(flags, (store) =>
    store.listActors({
      ...(only === undefined ? {} : { type: only }),
      ...(flags.status === undefined ? {} : { status: flags.status }),
      ...(flags.state === undefined ? {} : { state: flags.state }),
      limit: flags.limit,
    }),
  );
  if (flags.json) return actors.forEach(printJson);
  if (actors.length === 0) return void process.stderr.write('no actors\n');
  printTable(['TYPE', 'ID', 'STATUS', 'STATE', 'SEQ', 'AGE', 'CHANGED'], actors.map(row));
  if (actors.length === flags.limit)
    process.stderr.write(`the first ${flags.limit}; --limit shows more\n`);
}

const row = (actor: ActorSummary): string[] => [
  actor.type,
  actor.id,
  actor.status,
  stateText(actor.state),
  String(actor.seq),
  age(actor.created_at),
  age(actor.updated_at),
];
