import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { TIMER_MAX_MS } from '../clock.ts';
import { namespace } from '../config.ts';
import { killDaemons } from '../dev/daemon.ts';
import { type Dev, startDev } from '../dev/dev.ts';
import { DATA_DIR } from '../dev/devFile.ts';
import { PerdureError } from '../errors.ts';
import { whole } from './arguments.ts';
import { codecOption, loadCodec, passCodecOn } from './codecFile.ts';
import { untilAborted } from './interrupt.ts';
import { stopRequest } from './stopRequest.ts';

interface Flags {
  data: string;
  codec?: string;
  nodes: number;
  namespace?: string;
  portNats?: number;
  portPostgres?: number;
  keep?: true;
  json?: true;
}

/** `perdure dev FILE`: everything on this machine. */
export function register(program: Command): void {
  codecOption(program.command('dev'))
    .description(
      'Run Postgres, nats-server, nodes with the actor types of FILE, and the inspector.',
    )
    .argument('[file]', 'TypeScript or JavaScript; may be left out with --nodes 0')
    .option('--data <dir>', 'where everything is kept', DATA_DIR)
    .option('--nodes <count>', 'node processes', whole(0, 64), 1)
    .option('--namespace <name>', 'default PERDURE_NAMESPACE, else perdure')
    .option('--port-nats <port>', 'default: the last one when it is free', whole(1, 65_535))
    .option('--port-postgres <port>', 'default: the last one when it is free', whole(1, 65_535))
    .option('--keep', 'leave Postgres and nats-server running at the end')
    .option('--json', 'print one JSON line when everything is ready')
    .addHelpText(
      'after',
      `
Example:
  $ perdure dev actors.ts --nodes 3          node 1 to node 3; perdure nodes shows them

In the same directory the other commands find it by themselves. What dies is started again.
Ctrl-C stops everything, nodes first; the second one kills.`,
    )
    .action(dev);
}

async function dev(file: string | undefined, flags: Flags): Promise<void> {
  if (file === undefined && flags.nodes > 0)
    throw new PerdureError(
      'bad_options',
      'perdure dev needs the file with the actor types, or --nodes 0.',
    );
  if (file !== undefined && !existsSync(file))
    throw new PerdureError('bad_options', `There is no file ${file}.`);
  const log = (line: string) => process.stderr.write(`perdure dev: ${line}\n`);
  const asked = stopRequest(() => {
    killDaemons();
    process.exit(1);
  });
  asked.addEventListener('abort', () => log('stopping'), { once: true });
  // The processes we start do not hold this one; this does.
  const hold = setInterval(() => {}, TIMER_MAX_MS);
  try {
    await runUntilAsked(file, flags, log, asked);
  } catch (error) {
    // Asked to stop before everything ran: it is stopped, which is what was asked.
    if (!asked.aborted || error !== asked.reason) throw error;
  } finally {
    clearInterval(hold);
  }
  log('stopped');
}

async function runUntilAsked(
  file: string | undefined,
  flags: Flags,
  log: (line: string) => void,
  asked: AbortSignal,
): Promise<void> {
  const since = performance.now();
  const codec = await loadCodec(flags);
  passCodecOn(flags);
  const running = await startDev({
    file,
    data: flags.data,
    nodes: flags.nodes,
    namespace: namespace(flags.namespace ?? (process.env.PERDURE_NAMESPACE || undefined)).name,
    portNats: flags.portNats,
    portPostgres: flags.portPostgres,
    keep: flags.keep ?? false,
    codec,
    log,
    signal: asked,
  });
  process.stdout.write(flags.json ? jsonLine(running) : summary(running, file, flags, since));
  await untilAborted(asked);
  await running.stop();
  // Nothing of ours is left; a channel to whoever started us, or a slow reader of the inspector, must not hold us.
  process.exit(0);
}

function jsonLine({ info }: Dev): string {
  const { natsUrl, databaseUrl, inspectUrl, pids } = info;
  return `${JSON.stringify({ natsUrl, databaseUrl, inspectUrl, pids })}\n`;
}

function summary({ info }: Dev, file: string | undefined, flags: Flags, since: number): string {
  const seconds = ((performance.now() - since) / 1000).toFixed(1);
  const nodes =
    info.pids.nodes.length === 0
      ? 'none'
      : `${info.pids.nodes.length} with ${file} (pid ${info.pids.nodes.join(', ')})`;
  return `
Ready in ${seconds} s.

  inspector  ${info.inspectUrl}
  NATS       ${info.natsUrl}
  Postgres   ${info.databaseUrl}
  nodes      ${nodes}
  data       ${flags.data}

Ctrl-C stops everything. In another terminal: perdure ls, perdure nodes, perdure shards

`;
}
