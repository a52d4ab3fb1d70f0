import type { Command } from 'commander';
import { rootOf } from '../actors/kin.ts';
import { RELEASE } from '../actors/step.ts';
import { PerdureError } from '../errors.ts';
import type { QuarantinedRow } from '../store/read.ts';
import { age } from './age.ts';
import { rowId, seconds, token, whole } from './arguments.ts';
import type { ConnectionFlags } from './connection.ts';
import { endpointOptions } from './endpoints.ts';
import { withClient } from './natsSession.ts';
import { type PublishFlags, printReceipt, publishing } from './publishing.ts';
import { withReadStore } from './session.ts';
import { stateText } from './stateText.ts';
import { printJson, printTable } from './table.ts';

interface ListFlags extends ConnectionFlags {
  limit: number;
  json?: true;
}

/** `perdure quarantine`. */
export function register(program: Command): void {
  const quarantine = program
    .command('quarantine')
    .description('Actors that kept killing nodes: list them, let them go on.');
  endpointOptions(quarantine.command('ls'), 'database')
    .description('List quarantined actors, the last ones first.')
    .option('--limit <count>', 'at most so many', whole(1, 10_000), 50)
    .option('--json', 'print one JSON document a line')
    .addHelpText('after', '\nExample:\n  $ perdure quarantine ls --json | jq -r .id')
    .action(list);
  endpointOptions(quarantine.command('release'), 'nats')
    .description('Let an actor go on where it stood.')
    .argument('<type>', 'actor type', token)
    .argument('<id>', 'actor, or a machine of its family', rowId)
    .option('--timeout <seconds>', 'default 10', seconds)
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `
Example:
  $ perdure quarantine release order o-1

Remove the cause first: what kills nodes again is quarantined again. What came for the actor meanwhile are dead
letters: perdure dead redrive --all --reason actor_quarantined`,
    )
    .action(release);
}

async function list(flags: ListFlags): Promise<void> {
  const actors = await withReadStore(flags, (store) => store.quarantined({ limit: flags.limit }));
  if (flags.json) return actors.forEach(printJson);
  if (actors.length === 0) return void process.stderr.write('no actors in quarantine\n');
  printTable(['TYPE', 'ID', 'STATE', 'SEQ', 'SHARD', 'CRASHES', 'SINCE'], actors.map(row));
  if (actors.length === flags.limit)
    process.stderr.write(`the first ${flags.limit}; --limit shows more\n`);
}

const row = (actor: QuarantinedRow): string[] => [
  actor.type,
  actor.id,
  stateText(actor.state),
  String(actor.seq),
  String(actor.shard),
  String(actor.crashes),
  age(actor.quarantined_at),
];

async function release(
  type: string,
  id: string,
  given: Omit<PublishFlags, 'until'>,
): Promise<void> {
  const flags: PublishFlags = { ...given, until: 'committed' };
  const receipt = await withClient(flags, (client) =>
    client.send(type, rootOf({ type, id }).id, { type: RELEASE }, publishing(flags)),
  );
  // A node of before answers without it.
  if (receipt.released === false) {
    const now = `${receipt.status}, ${stateText(receipt.state)}`;
    throw new PerdureError(
      'not_found',
      `${type}/${id} is not in quarantine (${now}); perdure quarantine ls shows those that are.`,
    );
  }
  printReceipt({ type, id }, receipt, flags);
}
