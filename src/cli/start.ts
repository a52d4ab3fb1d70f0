import type { Command } from 'commander';
import type { PerdureClient, Receipt } from '../client.ts';
import { TIMER_MAX_MS } from '../clock.ts';
import { PerdureError } from '../errors.ts';
import { jsonArgument, token } from './arguments.ts';
import { interrupted } from './interrupt.ts';
import { withClient } from './natsSession.ts';
import { type PublishFlags, publishing, publishOne, publishOptions } from './publishing.ts';
import { startMany, type Tally } from './startMany.ts';
import { printJson } from './table.ts';

interface Flags extends PublishFlags {
  id?: string;
  input?: string;
  from?: string;
  wait?: true;
}

/** `perdure start`. */
export function register(program: Command): void {
  publishOptions(program.command('start'))
    .description('Start an actor, or one for each line of a file.')
    .argument('[type]', 'actor type; with --from, for lines without one', token)
    .option('--id <id>', 'default: a fresh UUID', token)
    .option('--input <json>', 'its input: JSON, @file, or - for standard input')
    .option('--wait', 'wait until it has ended, and print its output')
    .option('--from <file>', 'lines {"type"?, "id", "input"?}; - for standard input')
    .addHelpText(
      'after',
      `
Examples:
  $ perdure start order --id o-1 --input '{"total": 30}'
  $ perdure start order --input @order.json --wait --timeout 60
  $ perdure start order --from orders.jsonl
  $ generate | perdure start --from - --json

--from may be run again: a line that was taken is not taken twice. What JetStream still remembers (2 minutes)
is counted as a duplicate; later repeats count as accepted and change nothing. Lines that cannot be done are
named, the others are done. --wait exits with 1 unless the actor ends with status done.`,
    )
    .action(start);
}

async function start(type: string | undefined, flags: Flags): Promise<void> {
  if (flags.from !== undefined) return startFrom(type, flags.from, flags);
  if (type === undefined)
    throw new PerdureError('bad_options', 'perdure start needs TYPE, or --from FILE.');
  const input = flags.input === undefined ? undefined : jsonArgument('--input', flags.input);
  const given = { ...(flags.id === undefined ? {} : { id: flags.id }), input };
  if (flags.wait) return withClient(flags, (client) => startAndWait(client, type, given, flags));
  await publishOne(flags, type, flags.id, (client) =>
    client.start(type, { ...given, ...publishing(flags) }),
  );
}

async function startAndWait(
  client: PerdureClient,
  type: string,
  given: { id?: string; input: unknown },
  flags: Flags,
): Promise<void> {
  const timeoutMs = flags.timeout ?? TIMER_MAX_MS;
  const since = performance.now();
  // What cannot be started would never end: hear of that first.
  const asked = { ...publishing(flags), until: 'committed' as const, timeoutMs };
  const started = await client.start(type, { ...given, ...asked });
  const left = Math.max(1, timeoutMs - (performance.now() - since));
  const outcome = await client.outcome(type, started.id, { timeoutMs: left });
  if (outcome.status !== 'done') process.exitCode = 1;
  printOutcome({ type, id: started.id }, started, outcome, flags);
}

function printOutcome(
  { type, id }: { type: string; id: string },
  { messageId, duplicate }: Receipt,
  outcome: Awaited<ReturnType<PerdureClient['outcome']>>,
  flags: Flags,
): void {
  if (flags.json) return printJson({ type, id, messageId, duplicate, ...outcome });
  process.stderr.write(`${type}/${id}: ${outcome.status}\n`);
  if (outcome.status === 'done') printJson(outcome.output ?? null);
  else if (outcome.status === 'error') process.stderr.write(`${JSON.stringify(outcome.error)}\n`);
}

async function startFrom(type: string | undefined, from: string, flags: Flags): Promise<void> {
  const refused = (['id', 'input', 'wait', 'messageId'] as const).find((flag) => flags[flag]);
  if (refused !== undefined)
    throw new PerdureError('bad_options', `--from does not go together with --${refused}.`);
  const signal = interrupted();
  const since = performance.now();
  const progress = new Progress(flags.json ? undefined : process.stderr);
  await withClient(flags, async (client) => {
    const { stopped, ...tally } = await startMany({
      client,
      from,
      type,
      publish: publishing(flags),
      signal,
      onFailed: (line, error) => {
        progress.clear();
        process.stderr.write(
          flags.json
            ? `${JSON.stringify({ line, error })}\n`
            : `line ${line}: ${error.code}: ${error.message}\n`,
        );
      },
      onProgress: (now) => progress.show(now),
    }).finally(() => progress.clear());
    const seconds = Math.round(performance.now() - since) / 1_000;
    const cutShort = signal.aborted || stopped !== undefined;
    if (flags.json) printJson({ ...tally, seconds, ...(cutShort ? { interrupted: true } : {}) });
    else process.stdout.write(`${words(tally)} in ${seconds.toFixed(1)} s\n`);
    if (cutShort && !flags.json)
      process.stderr.write(
        'interrupted; run the same again to go on: what was taken is not taken twice\n',
      );
    if (tally.failed > 0 || cutShort) process.exitCode = 1;
    if (stopped !== undefined && !signal.aborted) throw stopped;
  });
}

const words = ({ accepted, duplicates, failed }: Tally) =>
  `${accepted} accepted, ${duplicates} duplicates, ${failed} failed`;

/** One line that is written over, on a terminal only. */
class Progress {
  readonly #stream: NodeJS.WriteStream | undefined;
  readonly #since = performance.now();
  #shownAt = 0;

  constructor(stream: NodeJS.WriteStream | undefined) {
    this.#stream = stream?.isTTY ? stream : undefined;
  }

  show(tally: Tally): void {
    const now = performance.now();
    if (this.#stream === undefined || now - this.#shownAt < 100) return;
    this.#shownAt = now;
    const done = tally.accepted + tally.duplicates + tally.failed;
    const rate = Math.round(done / ((now - this.#since) / 1_000));
    this.#stream.write(`\r\u001b[K${words(tally)} (${rate}/s)`);
  }

  clear(): void {
    if (this.#shownAt > 0) this.#stream?.write('\r\u001b[K');
  }
}
