import { type Command, Option } from 'commander';
import type { PublishOptions, Receipt } from '../client.ts';
import { seconds } from './arguments.ts';
import type { ConnectionFlags } from './connection.ts';
import { endpointOptions } from './endpoints.ts';
import { stateText } from './stateText.ts';
import { printJson } from './table.ts';

/** Flags of every command that puts a message into the log. */
export interface PublishFlags extends ConnectionFlags {
  until: 'accepted' | 'committed';
  messageId?: string;
  timeout?: number;
  json?: true;
}

export function publishOptions(command: Command): Command {
  return endpointOptions(command, 'nats')
    .addOption(
      new Option('--until <point>', 'accepted: it is in the log; committed: it has been done')
        .choices(['accepted', 'committed'])
        .default('accepted'),
    )
    .option('--message-id <id>', 'asking again with the same one changes nothing')
    .option('--timeout <seconds>', 'default 10', seconds)
    .option('--json', 'print one JSON document');
}

export function publishing(flags: PublishFlags): PublishOptions {
  return {
    until: flags.until,
    timeoutMs: flags.timeout ?? 10_000,
    ...(flags.messageId === undefined ? {} : { messageId: flags.messageId }),
  };
}

/** Says what became of a message. */
export function printReceipt(
  address: { type: string; id: string },
  receipt: Receipt,
  flags: PublishFlags,
): void {
  const { messageId, duplicate, seq, status, state } = receipt;
  if (flags.json) return printJson({ ...address, messageId, duplicate, seq, status, state });
  const name = `${address.type}/${address.id}`;
  const again = duplicate ? ' (asked before: nothing changed)' : '';
  const at = status === undefined ? '' : `: ${status}, ${stateText(state)}`;
  const number = seq === undefined ? '' : ` #${seq}`;
  process.stdout.write(`${flags.until} ${name}${number}${at}${again}\n`);
}
