import { open, rename, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { asError, PerdureError } from '../errors.ts';
import { type EndLine, type HistoryLine, historyLines } from '../inspect/historyFile.ts';
import { type Redactions, redactingReadStore, redactionsOf } from '../inspect/redaction.ts';
import { rowId, token } from './arguments.ts';
import { codecOption } from './codecFile.ts';
import type { ConnectionFlags } from './connection.ts';
import { endpointOptions } from './endpoints.ts';
import { withReadStore } from './session.ts';

interface Flags extends ConnectionFlags {
  out?: string;
  alone?: true;
  redact?: string[];
}

/** `perdure export TYPE ID`. */
export function register(program: Command): void {
  codecOption(endpointOptions(program.command('export'), 'database'))
    .description(
      'Write the whole history of an actor, with the machines of its family, as a file for perdure replay.',
    )
    .argument('<type>', 'actor type', token)
    .argument('<id>', 'actor, or a machine of its family', rowId)
    .option('--out <file>', 'there instead of standard output')
    .option('--alone', 'without the machines below it')
    .option(
      '--redact <type:path...>',
      'what nobody is shown of context, events, input and output, as for perdure inspect; such a file cannot be replayed',
    )
    .addHelpText(
      'after',
      `
The file is JSON Lines, see docs/history-file.md. Without --codec, what was recorded through a codec stays as it is
recorded: perdure replay --codec FILE opens it.

Examples:
  $ perdure export order o-1 --out o-1.jsonl
  $ perdure replay o-1.jsonl --actors actors.ts
  $ perdure export order o-1 | jq -c 'select(.kind == "transition") | .event'
  $ perdure export order o-1 --redact order:card.number '*:password' --out for-others.jsonl`,
    )
    .action(exportHistory);
}

async function exportHistory(type: string, id: string, flags: Flags): Promise<void> {
  const rules = rulesFor(type, redactionsOf(flags.redact ?? []));
  const options = { alone: flags.alone === true, redacted: rules.size > 0 };
  await withReadStore(flags, async (store) => {
    const lines = historyLines(redactingReadStore(store, rules), type, id, options);
    let end: EndLine | undefined;
    const text = Readable.from(texts(lines, (line) => (end = line)));
    if (flags.out === undefined) return pipeline(text, process.stdout, { end: false });
    await writeFile(text, flags.out);
    process.stderr.write(`${end?.transitions} transitions in ${flags.out}\n`);
  });
}

/** Rules for other types hide nothing of this one. */
const rulesFor = (type: string, rules: Redactions): Redactions =>
  new Map([...rules].filter(([name]) => name === type || name === '*'));

/** The file is there once it is whole. @throws PerdureError `bad_options` when it cannot be written there */
async function writeFile(lines: Readable, path: string): Promise<void> {
  const part = `${path}.part`;
  const file = await open(part, 'w', 0o600).catch((error: unknown) => {
    throw new PerdureError('bad_options', `--out ${path}: ${asError(error).message}.`);
  });
  try {
    await pipeline(lines, file.createWriteStream());
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

async function* texts(lines: AsyncIterable<HistoryLine>, onEnd: (end: EndLine) => void) {
  for await (const line of lines) {
    if (line.kind === 'end') onEnd(line);
    yield `${JSON.stringify(line)}\n`;
  }
}
