import type { Command } from 'commander';
import { assertRoot, rootId, token } from './arguments.ts';
import { type PublishFlags, publishing, publishOne, publishOptions } from './publishing.ts';

/** `perdure cancel TYPE ID`. */
export function register(program: Command): void {
  publishOptions(program.command('cancel'))
    .description('End an actor where it stands: status stopped, what it runs is aborted.')
    .argument('<type>', 'actor type', token)
    .argument('<id>', 'actor', rootId)
    .addHelpText(
      'after',
      `
Example:
  $ perdure cancel order o-1 --until committed`,
    )
    .action(async (type: string, id: string, flags: PublishFlags) => {
      assertRoot(type, id, 'cancelled from outside');
      await publishOne(flags, type, id, (client) => client.cancel(type, id, publishing(flags)));
    });
}
