import type { Command } from 'commander';
import { assertRoot, rootId, token } from './arguments.ts';
import { type PublishFlags, publishing, publishOne, publishOptions } from './publishing.ts';

/** `perdure pause TYPE ID`. */
export function register(program: Command): void {
  telling(program, 'pause')
    .description(
      'Have nothing be done for an actor: what comes for it waits, what it runs is aborted.',
    )
    .addHelpText(
      'after',
      `
Examples:
  $ perdure pause order o-1 --until committed
  $ perdure ls --paused

Messages wait in Postgres, in order, and timers for their turn. perdure resume lets it go on; perdure cancel ends it.`,
    );
}

/** `perdure resume TYPE ID`. */
export function registerResume(program: Command): void {
  telling(program, 'resume')
    .description('Let a paused actor go on: with what has waited for it, and what it ran again.')
    .addHelpText(
      'after',
      `
Example:
  $ perdure resume order o-1 --until committed`,
    );
}

function telling(program: Command, act: 'pause' | 'resume'): Command {
  return publishOptions(program.command(act))
    .argument('<type>', 'actor type', token)
    .argument('<id>', 'actor', rootId)
    .action(async (type: string, id: string, flags: PublishFlags) => {
      assertRoot(type, id, `${act}d`);
      await publishOne(flags, type, id, (client) => client[act](type, id, publishing(flags)));
    });
}
