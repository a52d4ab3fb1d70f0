import type { Command } from 'commander';
import { asError, PerdureError } from '../errors.ts';
import { assertReason } from '../inspect/letterReason.ts';
import { redrive } from '../inspect/redrive.ts';
import type { DeadLetterDetail, DeadLetterRow } from '../store/letters.ts';
import { LIST_MAX } from '../store/lists.ts';
import type { ReadStore } from '../store/read.ts';
import { age } from './age.ts';
import { whole } from './arguments.ts';
import { type ConnectionFlags, connectionOf, connectionOptions } from './connection.ts';
import { endpointOptions } from './endpoints.ts';
import { withBus } from './natsSession.ts';
import { withReadStore } from './session.ts';
import { printFields, printJson, printTable, visible } from './table.ts';

type JsonFlag = { json?: true };

interface ListFlags extends ConnectionFlags, JsonFlag {
  reason?: string;
  all?: true;
  after?: string;
  limit: number;
}

interface RedriveFlags extends ConnectionFlags, JsonFlag {
  all?: true;
  reason?: string;
  again?: true;
}

/** `perdure dead`. */
export function register(program: Command): void {
  const dead = program
    .command('dead')
    .description('Messages nobody could act on: list them, look at them, publish them again.');
  endpointOptions(dead.command('ls'), 'database')
    .description('List dead letters that wait, the newest first.')
    .option('--reason <code>', 'only these')
    .option('--all', 'also those redriven already')
    .option('--limit <count>', 'at most so many', whole(1, LIST_MAX), 50)
    .option('--after <id>', 'only those older than this one')
    .option('--json', 'print one JSON document a line')
    .addHelpText('after', '\nExample:\n  $ perdure dead ls --reason unknown_actor')
    .action(list);
  endpointOptions(dead.command('show'), 'database')
    .description('Show one with its headers and its body.')
    .argument('<id>', 'dead letter')
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample:\n  $ perdure dead show 17')
    .action(show);
  connectionOptions(dead.command('redrive'))
    .description('Publish dead letters again, the oldest first.')
    .argument('[ids...]', 'dead letters')
    .option('--all', 'every one that waits')
    .option('--reason <code>', 'with --all, only these')
    .option('--again', 'also those redriven already')
    .option('--json', 'print one JSON document a line')
    .addHelpText(
      'after',
      `
Examples:
  $ perdure dead redrive 17 18
  $ perdure dead redrive --all --reason unknown_actor

Remove the cause first: what still cannot be done becomes a dead letter again, under a new number.`,
    )
    .action(redriveAll);
}

async function list(flags: ListFlags): Promise<void> {
  const found = await withReadStore(flags, async (store) => {
    await assertReason(store, flags.reason);
    return store.deadLetters({
      ...(flags.reason === undefined ? {} : { reason: flags.reason }),
      ...(flags.all ? {} : { pending: true }),
      ...(flags.after === undefined ? {} : { after: flags.after }),
      limit: flags.limit + 1,
    });
  });
  const letters = found.slice(0, flags.limit);
  if (flags.json) return letters.forEach(printJson);
  if (letters.length === 0) return void process.stderr.write('no dead letters\n');
  printTable(['ID', 'AGE', 'REDRIVEN', 'REASON', 'SUBJECT', 'DETAIL'], letters.map(row));
  // Of a list that is as long as any may be, nobody knows whether there is more.
  const last = found.length > Math.min(flags.limit, LIST_MAX - 1) ? letters.at(-1) : undefined;
  if (last)
    process.stderr.write(
      `the newest ${flags.limit}; --after ${last.dead_letter_id} shows what is older\n`,
    );
}

const row = (letter: DeadLetterRow): string[] => [
  letter.dead_letter_id,
  age(letter.at),
  letter.redriven_at === null ? '-' : age(letter.redriven_at),
  letter.reason,
  letter.subject.length > 60 ? `${letter.subject.slice(0, 59)}…` : letter.subject,
  letter.detail,
];

async function show(id: string, flags: ConnectionFlags & JsonFlag): Promise<void> {
  const letter = await withReadStore(flags, async (store) => {
    const found = await store.deadLetter(id);
    if (found) return found;
    throw new PerdureError('not_found', `There is no dead letter ${id}; perdure dead ls has them.`);
  });
  const body = bodyOf(letter);
  if (flags.json) return printJson({ ...letter, body: body.text, body_encoding: body.encoding });
  printFields([
    ['dead letter', letter.dead_letter_id],
    ['reason', letter.reason],
    ['detail', visible(letter.detail)],
    ['subject', visible(letter.subject)],
    ['message id', visible(letter.message_id ?? '-')],
    ['at', `${letter.at} (${age(letter.at)} ago)`],
    ['redriven', letter.redriven_at ?? 'no'],
    ['headers', Object.entries(letter.headers).map(headerText).join('\n') || '-'],
    [
      `body (${letter.bytes} bytes${body.encoding === 'base64' ? ', base64' : ''})`,
      visible(body.text),
    ],
  ]);
}

const headerText = ([name, value]: [string, string]) => `${visible(name)}: ${visible(value)}`;

/** As text when it is text, whatever was published otherwise. */
function bodyOf({ body }: DeadLetterDetail): { text: string; encoding: 'utf8' | 'base64' } {
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(body), encoding: 'utf8' };
  } catch {
    return { text: Buffer.from(body).toString('base64'), encoding: 'base64' };
  }
}

async function redriveAll(ids: string[], flags: RedriveFlags): Promise<void> {
  if (ids.length === 0 ? !flags.all : flags.all || flags.reason !== undefined)
    throw new PerdureError('bad_options', 'Name dead letters, or say --all [--reason CODE].');
  // Both are needed: ask for both before anything is done.
  connectionOf(flags);
  await withReadStore(flags, (store) =>
    withBus(flags, async (bus, namespace) => {
      const chosen = ids.length > 0 ? ids : await waiting(store, flags);
      const refused = new Map<string, number>();
      // One after the other: what depended on the order once still does.
      for (const id of chosen) {
        const done = await redrive(store, bus, namespace, id, flags.again ?? false).catch(refusal);
        if ('error' in done) refused.set(done.error.code, (refused.get(done.error.code) ?? 0) + 1);
        report(id, done, flags);
      }
      if (refused.size > 0) process.exitCode = 1;
      if (flags.all) process.stderr.write(`${sumText(chosen.length, refused)}\n`);
    }),
  );
}

/** Who reads a thousand lines wants to know in the end. */
function sumText(chosen: number, refused: ReadonlyMap<string, number>): string {
  if (chosen === 0) return 'no dead letters';
  let failed = 0;
  for (const count of refused.values()) failed += count;
  const reasons = [...refused].map(([code, count]) => `${count} ${code}`).join(', ');
  return `${chosen - failed} redriven${failed > 0 ? `; ${failed} not: ${reasons}` : ''}`;
}

/** The oldest first. Those that come back while we work have higher numbers and are not taken again. */
async function waiting(store: ReadStore, flags: RedriveFlags): Promise<string[]> {
  await assertReason(store, flags.reason);
  const ids: string[] = [];
  for (;;) {
    const after = ids.at(-1);
    const letters = await store.deadLetters({
      ...(flags.reason === undefined ? {} : { reason: flags.reason }),
      ...(flags.again ? {} : { pending: true }),
      ...(after === undefined ? {} : { after }),
      oldestFirst: true,
      limit: LIST_MAX,
    });
    for (const { dead_letter_id } of letters) ids.push(dead_letter_id);
    if (letters.length < LIST_MAX) return ids;
  }
}

/** One that cannot be redriven does not keep the others; servers that are away do. */
function refusal(thrown: unknown): { error: { code: string; message: string } } {
  const error = asError(thrown);
  if (!(error instanceof PerdureError) || error.retryable) throw error;
  return { error: { code: error.code, message: error.message } };
}

function report(
  id: string,
  done: Awaited<ReturnType<typeof redrive>> | ReturnType<typeof refusal>,
  { json }: JsonFlag,
): void {
  if (json) return printJson('error' in done ? { dead_letter_id: id, ...done } : done);
  if ('error' in done)
    process.stderr.write(`perdure: ${done.error.code}: ${visible(done.error.message)}\n`);
  else process.stdout.write(`redriven ${id} as ${done.message_id}\n`);
}
