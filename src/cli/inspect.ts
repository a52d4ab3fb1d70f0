import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { readDevFile } from '../dev/devFile.ts';
import { startInspectServer } from '../inspect/server.ts';
import { whole } from './arguments.ts';
import { codecOption, loadCodec } from './codecFile.ts';
import { type ConnectionFlags, connectionOf, connectionOptions } from './connection.ts';
import { interrupted, untilAborted } from './interrupt.ts';
import { PORT_MAX } from './serve.ts';

interface Flags extends ConnectionFlags {
  port: number;
  host: string;
  allowHost?: string[];
  token: boolean;
  redact?: string[];
  json?: true;
}

/** `perdure inspect`. */
export function register(program: Command): void {
  codecOption(connectionOptions(program.command('inspect')))
    .description(
      'Serve the inspector: a page and an HTTP API to look at actors and to act on them.',
    )
    .option('--port <port>', '0: any free one', whole(0, PORT_MAX), 0)
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--allow-host <name...>', 'names it may be called by, besides those of this machine')
    .option('--no-token', 'ask nobody for a token; on this machine only')
    .option('--redact <type:path...>', 'what nobody is shown of context, events, input and output')
    .option('--json', 'print one JSON line when it listens')
    .addHelpText(
      'after',
      `
Examples:
  $ perdure inspect --port 4000
  $ perdure inspect --redact order:card.number order:customer '*:password'
  $ PERDURE_INSPECT_TOKEN=$(openssl rand -hex 32) perdure inspect --host 0.0.0.0 --allow-host perdure.example

PERDURE_INSPECT_TOKEN may do everything, PERDURE_INSPECT_READ_TOKEN may look. Without either a token is made up and
printed as part of the address, unless it is a perdure dev of this directory that is looked at. Others reach it through
a proxy that speaks TLS: tokens must not go over a network as they are.`,
    )
    .action(inspect);
}

async function inspect(flags: Flags): Promise<void> {
  const { natsUrl, databaseUrl, namespace } = connectionOf(flags);
  const asked = interrupted();
  const given = {
    act: process.env.PERDURE_INSPECT_TOKEN || undefined,
    read: process.env.PERDURE_INSPECT_READ_TOKEN || undefined,
  };
  const isDev = readDevFile(flags.data)?.databaseUrl === databaseUrl;
  const needsOne = flags.token && !given.act && !given.read && !isDev;
  const made = needsOne ? randomBytes(32).toString('base64url') : undefined;
  const server = await startInspectServer({
    natsUrl,
    databaseUrl,
    namespace,
    port: flags.port,
    host: flags.host,
    names: flags.allowHost,
    tokens: flags.token ? { ...given, ...(made && { act: made }) } : {},
    redact: flags.redact,
    codec: await loadCodec(flags),
    signal: asked,
  }).catch((thrown: unknown) => {
    // Nothing runs yet: who asked it to end while it waited for Postgres has what was asked for.
    if (!asked.aborted) throw thrown;
    return undefined;
  });
  if (!server) return;
  for (const rule of server.idleRules) process.stderr.write(`perdure: ${rule}\n`);
  const address = made === undefined ? server.url : `${server.url}/#token=${made}`;
  process.stdout.write(
    flags.json ? `${JSON.stringify({ url: server.url, address })}\n` : `inspector ${address}\n`,
  );
  await untilAborted(asked);
  await server.close();
}
