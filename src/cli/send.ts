import type { Command } from 'commander';
import { PerdureError } from '../errors.ts';
import { assertRoot, jsonArgument, rootId, token } from './arguments.ts';
import { type PublishFlags, publishing, publishOne, publishOptions } from './publishing.ts';

interface Flags extends PublishFlags {
  with?: string;
}

/** `perdure send TYPE ID EVENT`. */
export function register(program: Command): void {
  publishOptions(program.command('send'))
    .description('Send an event to an actor.')
    .argument('<type>', 'actor type', token)
    .argument('<id>', 'actor', rootId)
    .argument('<event>', 'its type (PAY), JSON with a "type", @file, or - for standard input')
    .option('--with <json>', 'fields to add to the event')
    .addHelpText(
      'after',
      `
Examples:
  $ perdure send order o-1 PAY
  $ perdure send order o-1 PAY --with '{"amount": 30}' --until committed
  $ perdure send order o-1 '{"type": "PAY", "amount": 30}'

An event that nothing in the actor's state handles is recorded, and changes nothing: with --until committed it says so
where the database can be asked.`,
    )
    .action(send);
}

async function send(type: string, id: string, text: string, flags: Flags): Promise<void> {
  assertRoot(type, id, 'told from outside');
  const event = { ...eventOf(text), ...fieldsOf(flags.with) };
  await publishOne(flags, type, id, (client) => client.send(type, id, event, publishing(flags)));
}

/** Names of events rarely look like JSON; what starts like an object or names a source is taken for it. */
function eventOf(text: string): { type: string } {
  if (!/^\s*[{["@]|^-$/.test(text)) return { type: text };
  return objectOf('EVENT', text) as { type: string };
}

function fieldsOf(text: string | undefined): Record<string, unknown> {
  return text === undefined ? {} : objectOf('--with', text);
}

function objectOf(option: string, text: string): Record<string, unknown> {
  const value = jsonArgument(option, text);
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new PerdureError(
    'bad_options',
    `${option} must be a JSON object, such as '{"amount": 30}'.`,
  );
}
