import type { Command } from 'commander';
import { namespace } from '../config.ts';
import { DATA_DIR, readDevFile } from '../dev/devFile.ts';
import { PerdureError } from '../errors.ts';
import type { ConnectionFlags } from './connection.ts';

const SERVERS = {
  nats: { option: '--nats', variable: 'PERDURE_NATS_URL', title: 'NATS' },
  database: { option: '--database', variable: 'PERDURE_DATABASE_URL', title: 'Postgres' },
} as const;

type Server = keyof typeof SERVERS;

/** Flags of a command that needs one server only. */
export function endpointOptions(command: Command, server: Server): Command {
  const { option, variable, title } = SERVERS[server];
  return command
    .option(`${option} <url>`, `${title}; default ${variable}`)
    .option('--namespace <name>', 'default PERDURE_NAMESPACE, else perdure')
    .option(
      '--data <dir>',
      `connect to the perdure dev that runs in this directory; default ${DATA_DIR}`,
    );
}

/**
 * The URL of one server and the namespace, found as `connectionOf` finds both: a dev run counts only when
 * neither URL is given otherwise.
 * @throws PerdureError `bad_options`
 */
export function endpointOf(
  server: Server,
  flags: ConnectionFlags,
): { url: string; namespace: string } {
  const found = endpointIfAny(server, flags);
  if (found.url !== undefined) return { ...found, url: found.url };
  const { option, variable } = SERVERS[server];
  throw new PerdureError(
    'bad_options',
    `Nothing says where to connect: set ${variable} (or ${option}), or run perdure dev here (none runs in ${flags.data ?? DATA_DIR}).`,
  );
}

/** The same, for who can go on without. */
export function endpointIfAny(
  server: Server,
  flags: ConnectionFlags,
): { url: string | undefined; namespace: string } {
  const given = {
    nats: flags.nats ?? nonEmpty(process.env.PERDURE_NATS_URL),
    database: flags.database ?? nonEmpty(process.env.PERDURE_DATABASE_URL),
  };
  const named = flags.namespace ?? nonEmpty(process.env.PERDURE_NAMESPACE);
  if (given.nats !== undefined || given.database !== undefined)
    return { url: given[server], namespace: namespace(named).name };
  const dev = readDevFile(flags.data);
  const url = server === 'nats' ? dev?.natsUrl : dev?.databaseUrl;
  return { url, namespace: namespace(named ?? dev?.namespace).name };
}

const nonEmpty = (value: string | undefined) => (value === '' ? undefined : value);
