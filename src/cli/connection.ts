import type { Command } from 'commander';
import { namespace } from '../config.ts';
import { DATA_DIR, resolveUrls, type Urls } from '../dev/devFile.ts';

/** A server that does not answer within this is reported, ms: somebody waits at a terminal. */
export const REACH_MS = 5_000;

/** The flags `connectionOptions` adds. */
export interface ConnectionFlags {
  nats?: string;
  database?: string;
  namespace?: string;
  data?: string;
  codec?: string;
}

/** Adds the flags that say what to connect to; every command that connects has the same ones. */
export function connectionOptions(command: Command): Command {
  return command
    .option('--nats <url>', 'NATS; default PERDURE_NATS_URL')
    .option('--database <url>', 'Postgres; default PERDURE_DATABASE_URL')
    .option('--namespace <name>', 'default PERDURE_NAMESPACE, else perdure')
    .option(
      '--data <dir>',
      `connect to the perdure dev that runs in this directory; default ${DATA_DIR}`,
    );
}

/** What the flags, the environment and a running `perdure dev` say, in this order. */
export function connectionOf(flags: ConnectionFlags): Urls & { namespace: string } {
  const urls = resolveUrls({
    ...(flags.nats === undefined ? {} : { natsUrl: flags.nats }),
    ...(flags.database === undefined ? {} : { databaseUrl: flags.database }),
    namespace: flags.namespace,
    data: flags.data,
  });
  return { ...urls, namespace: namespace(urls.namespace).name };
}
