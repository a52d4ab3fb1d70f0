import type { Command } from 'commander';
import type { FeedEntry } from '../client.ts';
import { systemClock } from '../clock.ts';
import { assertRoot, rootId, token } from './arguments.ts';
import type { ConnectionFlags } from './connection.ts';
import { endpointOptions } from './endpoints.ts';
import { interrupted, untilAborted } from './interrupt.ts';
import { withClient } from './natsSession.ts';
import { stateText } from './stateText.ts';
import { printJson, visible } from './table.ts';

/** `perdure watch`. */
export function register(program: Command): void {
  endpointOptions(program.command('watch'), 'nats')
    .description('Print transitions as they are committed, until Ctrl-C.')
    .argument('[type]', 'only this actor type', token)
    .argument('[id]', 'only this actor and the machines of its family', rootId)
    .option('--json', 'print one JSON document a line')
    .addHelpText(
      'after',
      `
Examples:
  $ perdure watch
  $ perdure watch order o-1
  $ perdure watch order --json | jq 'select(.status == "error")'

What happens while the connection is away is not shown; perdure history has it.`,
    )
    .action(watch);
}

async function watch(
  type = '*',
  id = '*',
  flags: ConnectionFlags & { json?: true },
): Promise<void> {
  const record = `perdure show ${type} ${id} and perdure history ${type} ${id} tell of it alone`;
  assertRoot(type, id, `watched, which shows its whole family; ${record}`);
  const asked = interrupted();
  await withClient(flags, async (client) => {
    let heard = false;
    const stop = await client.watch(type, id, (entry) => {
      heard = true;
      if (flags.json) printJson(entry);
      else process.stdout.write(`${line(entry)}\n`);
    });
    process.stderr.write(`watching ${type}/${id}; Ctrl-C ends it\n`);
    // A name that is misspelt is as silent as one where nothing happens.
    const forgetHint = systemClock.after(QUIET_MS, () => {
      if (!heard) process.stderr.write(`${quietText(type, id)}\n`);
    });
    await untilAborted(asked);
    forgetHint();
    stop();
  });
}

/** So long without a word before it is said where to look instead, ms. */
const QUIET_MS = 5_000;

function quietText(type: string, id: string): string {
  if (type === '*') return 'nothing has happened yet; perdure top shows nodes and what waits';
  const known =
    id === '*'
      ? `perdure ls ${type} lists its actors`
      : `perdure show ${type} ${id} tells how it is`;
  return `nothing has happened there yet; ${known}, or says that there is none`;
}

function line({ type, id, seq, event, from, to, status, at }: FeedEntry): string {
  const time = at === null ? '-'.padEnd(24) : new Date(at).toISOString();
  const before = from === null ? '-' : stateText(from);
  const ended = status === 'active' ? '' : ` (${status})`;
  return visible(`${time}  ${type}/${id} #${seq}  ${event}  ${before} → ${stateText(to)}${ended}`);
}
