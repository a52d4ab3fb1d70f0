import type { Command } from 'commander';
import { namespace, SHARDS } from '../config.ts';
import { migrate as migrateSchema } from '../store/migrate.ts';
import { type ConnectionFlags, REACH_MS } from './connection.ts';
import { endpointOf, endpointOptions } from './endpoints.ts';
import { withSession } from './session.ts';
import { printJson } from './table.ts';

/** `perdure migrate`: the schema of a namespace. */
export function register(program: Command): void {
  endpointOptions(program.command('migrate'), 'database')
    .description("Create the namespace's schema in Postgres, or bring it up to date.")
    .option('--wait', 'wait for a Postgres that does not answer yet')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  $ perdure migrate --database postgres://me@127.0.0.1:5432/app
  $ perdure migrate --namespace billing --wait      in a deploy, before the nodes

Any number may run at once; running it again changes nothing.`,
    )
    .action(migrate);
}

async function migrate(flags: ConnectionFlags & { wait?: true; json?: true }): Promise<void> {
  const { url, namespace: name } = endpointOf('database', flags);
  const space = namespace(name);
  const done = await withSession(
    { url, schema: space.schema, reachMs: flags.wait ? undefined : REACH_MS },
    (client) => migrateSchema({ client, namespace: space, shards: SHARDS }),
  );
  if (flags.json) return printJson({ namespace: name, schema: space.schema, ...done });
  process.stdout.write(
    done.applied.length === 0
      ? `schema ${space.schema} is at version ${done.version} already\n`
      : `schema ${space.schema}: applied ${done.applied.join(', ')}; now at version ${done.version}\n`,
  );
}
