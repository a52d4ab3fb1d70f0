import type { Command } from 'commander';
import { PerdureError } from '../errors.ts';
import { diffOf } from '../inspect/diff.ts';
import { reasonText } from '../inspect/reasonText.ts';
import { contextOf } from '../store/inspect.ts';
import type { FailedAttemptRow, HistoryRow } from '../store/read.ts';
import { isWrapped } from '../textCodec.ts';
import { rowId, token, whole } from './arguments.ts';
import { changeText } from './changeText.ts';
import { codecOption } from './codecFile.ts';
import type { ConnectionFlags } from './connection.ts';
import { endpointOptions } from './endpoints.ts';
import { withReadStore } from './session.ts';
import { stateText } from './stateText.ts';
import { printJson, printTable, visible } from './table.ts';

interface Flags extends ConnectionFlags {
  fromSeq: number;
  limit: number;
  snapshots?: true;
  diff?: true;
  json?: true;
}

/** `perdure history TYPE ID`. */
export function register(program: Command): void {
  codecOption(endpointOptions(program.command('history'), 'database'))
    .description('List the transitions of an actor, the first one first.')
    .argument('<type>', 'actor type', token)
    .argument('<id>', 'actor, or a machine of its family', rowId)
    .option('--from-seq <seq>', 'start with this transition', whole(1, Number.MAX_SAFE_INTEGER), 1)
    .option('--limit <count>', 'at most so many', whole(1, 10_000), 50)
    .option('--snapshots', 'with --json, the snapshot after each transition too')
    .option('--diff', 'what each has changed in state and context')
    .option('--json', 'print one JSON document a line')
    .addHelpText(
      'after',
      `
Examples:
  $ perdure history order o-1
  $ perdure history order o-1 --from-seq 100 --json | jq .event
  $ perdure history order o-1 --diff`,
    )
    .action(history);
}

async function history(type: string, id: string, flags: Flags): Promise<void> {
  const { fromSeq, limit } = flags;
  const { rows, actor } = await withReadStore(flags, async (store) => {
    const found = await store.history(type, id, { fromSeq, limit });
    const row = await store.actor(type, id);
    if (found.length === 0 && !row)
      throw new PerdureError('not_found', `There is no ${type}/${id}.`);
    return { rows: found, actor: row };
  });
  const endOf = ({ seq }: HistoryRow) =>
    actor && actor.status !== 'active' && actor.seq === seq ? ` (${actor.status})` : '';
  if (flags.diff) return rows.forEach((found, at) => printDiff(found, rows[at - 1], flags));
  if (flags.json) return rows.forEach((found) => printJson(asJson(found, flags.snapshots)));
  if (rows.length === 0) return void process.stderr.write(`no transition from #${fromSeq} on\n`);
  printTable(
    ['SEQ', 'TIME', 'EVENT', 'FROM', 'TO', 'ORIGIN', 'NODE'],
    rows.flatMap((one) => [row(one, endOf(one)), ...one.failed_attempts.map(failedRow)]),
  );
  const last = rows.at(-1);
  if (last && rows.length === limit)
    process.stderr.write(`the first ${limit}; --from-seq ${last.seq + 1} goes on\n`);
}

function asJson({ snapshot, ...rest }: HistoryRow, withSnapshot: true | undefined): object {
  return withSnapshot ? { ...rest, snapshot: JSON.parse(snapshot) } : rest;
}

/** `ended`: how the actor has ended with it. */
const row = (found: HistoryRow, ended: string): string[] => [
  String(found.seq),
  found.at,
  found.event_type,
  found.from_state === null ? '-' : stateText(found.from_state),
  `${stateText(found.to_state)}${ended}`,
  found.origin,
  found.node_id.slice(0, 8),
];

/** Behind the transition that started the invoke. */
const failedRow = ({ invoke_id, attempt, at, ran_ms, node_id, error }: FailedAttemptRow) => [
  '',
  at,
  `${invoke_id}: attempt ${attempt} failed after ${ran_ms} ms`,
  '',
  cut(reasonText(error)),
  '',
  node_id.slice(0, 8),
];

const cut = (text: string): string => (text.length > 80 ? `${text.slice(0, 79)}…` : text);

const shown = (row: HistoryRow) => ({
  state: row.to_state,
  context: isWrapped(row.snapshot) ? row.snapshot : contextOf(row.snapshot),
});

/** The first one of a list that does not begin at the beginning has nothing to be compared with. */
function printDiff(found: HistoryRow, before: HistoryRow | undefined, flags: Flags): void {
  const { seq, at, event_type } = found;
  const isKnown = before !== undefined || seq === 1;
  const changes = isKnown ? diffOf(before ? shown(before) : {}, shown(found)) : undefined;
  if (flags.json) return printJson({ seq, at, event_type, changes: changes ?? null });
  const lines = changes?.map(changeText) ?? ['  (the one before is not listed)'];
  process.stdout.write(
    `#${seq}  ${at}  ${visible(event_type)}\n${lines.map((line) => `${line}\n`).join('')}`,
  );
}
