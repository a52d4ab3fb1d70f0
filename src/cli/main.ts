#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { asError, PerdureError } from '../errors.ts';
import { VERSION } from '../version.ts';

/** What a command file exports. */
interface CommandFile {
  register(program: Command): void;
}

/**
 * Every command: its line in `perdure --help` and its file. A file is loaded only when its command is asked
 * for, so that help comes at once.
 */
const COMMANDS: Record<string, [summary: string, load: () => Promise<CommandFile>]> = {
  dev: ['run Postgres, nats-server and nodes on this machine', () => import('./dev.ts')],
  serve: ['run nodes with the actor types of a file', () => import('./serve.ts')],
  check: ['check machines, and what becomes of live actors', () => import('./check.ts')],
  migrate: ['create or upgrade the schema in Postgres', () => import('./migrate.ts')],
  start: ['start an actor, or one for each line of a file', () => import('./start.ts')],
  send: ['send an event to an actor', () => import('./send.ts')],
  cancel: ['end an actor where it stands', () => import('./cancel.ts')],
  pause: ['have nothing be done for an actor', () => import('./pause.ts')],
  resume: ['let a paused actor go on', () => import('./resume.ts')],
  ls: ['list actors', () => import('./ls.ts')],
  show: ['show everything recorded of an actor', () => import('./show.ts')],
  history: ['list the transitions of an actor', () => import('./history.ts')],
  export: ['write the history of an actor to a file', () => import('./export.ts')],
  replay: ['try a written history on the machines of a file', () => import('./replay.ts')],
  graph: ['print the machine of an actor type', () => import('./graph.ts')],
  top: ['watch everything at once, live', () => import('./top.ts')],
  watch: ['print transitions as they are committed', () => import('./watch.ts')],
  dead: ['list, show and redrive dead letters', () => import('./dead.ts')],
  quarantine: ['list and release actors that kept killing nodes', () => import('./quarantine.ts')],
  inspect: ['serve the page and the HTTP API', () => import('./inspect.ts')],
  nodes: ['list the nodes', () => import('./nodes.ts')],
  shards: ['list the shards: owner, lag, health', () => import('./shards.ts')],
  doctor: ['check Postgres, NATS and the nodes', () => import('./doctor.ts')],
};

const EXAMPLES = `
Examples:
  $ perdure dev actors.ts                        everything on this machine, nothing to install first
  $ perdure serve actors.ts                      one node; PERDURE_NATS_URL and PERDURE_DATABASE_URL say where
  $ perdure start order --id o-1 --input '{"total": 30}'
  $ perdure send order o-1 PAY
  $ perdure show order o-1                       state, context, timers, what runs
  $ perdure help dev                             more about one command

Exit codes: 0 done, 1 failed, 2 asked in a wrong way.`;

/** Parses `argv` (without node and script), runs the command and returns the exit code. */
async function main(argv: readonly string[]): Promise<number> {
  try {
    const program = await build(argv);
    await program.parseAsync(argv, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0;
    return report(thrown, argv);
  }
}

async function build(argv: readonly string[]): Promise<Command> {
  const program = new Command('perdure')
    .description('Durable, clustered XState actors on NATS JetStream and Postgres.')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .addHelpText('after', EXAMPLES)
    .showSuggestionAfterError()
    .exitOverride()
    // `report` prints errors, all in one form.
    .configureOutput({ outputError: () => {} });
  const words = argv.filter((word) => !word.startsWith('-'));
  const asked = words[0] === 'help' ? words[1] : words[0];
  for (const [name, [summary, load]] of Object.entries(COMMANDS)) {
    if (name === asked) (await load()).register(program);
    else program.command(name).description(summary);
  }
  return program;
}

/** Prints an error as `perdure: <code>: <message>`, or as one JSON object; returns the exit code. */
function report(thrown: unknown, argv: readonly string[]): number {
  const { code, message, exitCode } = describe(thrown);
  // Asking for nothing at all has printed the help already.
  if (message === '') return exitCode;
  const help = `perdure help ${argv.find((word) => word in COMMANDS) ?? ''}`.trim();
  process.stderr.write(
    argv.includes('--json')
      ? `${JSON.stringify({ error: { code, message } })}\n`
      : `perdure: ${code}: ${message}\n${code === 'usage' ? `See ${help}.\n` : ''}`,
  );
  return exitCode;
}

function describe(thrown: unknown): { code: string; message: string; exitCode: number } {
  if (thrown instanceof CommanderError)
    return {
      code: 'usage',
      message: thrown.code === 'commander.help' ? '' : thrown.message.replace(/^error: /, ''),
      exitCode: 2,
    };
  if (thrown instanceof PerdureError)
    return {
      code: thrown.code,
      message: thrown.message,
      exitCode: thrown.code === 'bad_options' ? 2 : 1,
    };
  const error = asError(thrown);
  // Several failed connection attempts come as one error without words.
  const inner = error instanceof AggregateError ? asError(error.errors[0]).message : '';
  // Without a code of the system or of Postgres it is a bug, and whoever looks for it needs the place.
  const place = 'code' in error ? undefined : error.stack;
  return {
    code: 'unexpected',
    message: place ?? (error.message || inner || error.name),
    exitCode: 1,
  };
}

// `perdure ls | head` ends the pipe; that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const exitCode = await main(process.argv.slice(2));
// A command that failed may have left a connection open; one that ended well closed what it opened.
if (exitCode !== 0) process.exit(exitCode);
leaveSoon();

/** A server that takes connections and says nothing can keep one open that nobody waits for any more. */
function leaveSoon(): void {
  setTimeout(
    () => (process.stdout.writableLength > 0 ? leaveSoon() : process.exit()),
    1_000,
  ).unref();
}
