import { type Command, Option } from 'commander';
import type { PerdureClient, PublishOptions, Receipt } from '../client.ts';
import { errorOf, type Failed, failureText, unhandled, whyLate } from './aftermath.ts';
import { seconds } from './arguments.ts';
import type { ConnectionFlags } from './connection.ts';
import { endpointOptions } from './endpoints.ts';
import { withClient } from './natsSession.ts';
import { stateText } from './stateText.ts';
import { printJson, visible } from './table.ts';

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
      new Option(
        '--until <point>',
        'accepted: it is in the log; committed: it has been done, and 1 is the exit code when the actor has failed',
      )
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

/** Does what puts one message into the log, and says what became of it; an actor that ended in an error is a failure. */
export async function publishOne(
  flags: PublishFlags,
  type: string,
  id: string | undefined,
  ask: (client: PerdureClient) => Promise<Receipt & { id?: string }>,
): Promise<void> {
  await withClient(flags, async (client) => {
    const receipt = await ask(client).catch(async (thrown) => {
      throw id === undefined ? thrown : await whyLate(thrown, flags, { type, id });
    });
    const address = { type, id: id ?? (receipt.id as string) };
    const error = await errorOf(client, address, receipt);
    printReceipt(address, receipt, flags, {
      error,
      ignored: await unhandled(flags, address, receipt),
    });
    if (error === undefined) return;
    process.exitCode = 1;
    if (!flags.json)
      process.stderr.write(
        `perdure: ${type}/${address.id} has failed: ${visible(failureText(error))}\n`,
      );
  });
}

/** Says what became of a message. */
export function printReceipt(
  address: { type: string; id: string },
  receipt: Receipt,
  flags: PublishFlags,
  { error, ignored }: { error?: Failed | undefined; ignored?: string | undefined } = {},
): void {
  const { messageId, duplicate, seq, status, state } = receipt;
  if (flags.json)
    return printJson({
      ...{ ...address, messageId, duplicate, seq, status, state, error },
      ...(ignored !== undefined && { handled: false }),
    });
  const name = `${address.type}/${address.id}`;
  const again = duplicate ? ' (asked before: nothing changed)' : '';
  const at = status === undefined ? '' : `: ${status}, ${stateText(state)}`;
  const number = seq === undefined ? '' : ` #${seq}`;
  const nothing = ignored === undefined ? '' : ` (${visible(ignored)})`;
  process.stdout.write(`${flags.until} ${name}${number}${at}${nothing}${again}\n`);
}
