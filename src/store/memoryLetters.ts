import { PerdureError } from '../errors.ts';
import type { DeadLetterDetail, DeadLetterRow, LetterFilter, ReasonCount } from './letters.ts';
import { LIST_MAX, listLimit, numberIn } from './lists.ts';
import { byText, type DeadLetterState, iso, isoOrNull, type Tables } from './memoryTables.ts';

/** `LetterStore` in memory. */
export function lettersIn(tables: Tables, filter: LetterFilter): DeadLetterRow[] {
  const direction = filter.oldestFirst ? 1 : -1;
  const after = numberIn(filter.after);
  return waiting(tables, filter.pending)
    .filter((row) => filter.reason === undefined || row.reason === filter.reason)
    .filter((row) => after === null || direction * (row.id - after) > 0)
    .sort((a, b) => direction * (a.id - b.id))
    .slice(0, listLimit(filter.limit))
    .map(rowOf);
}

export function reasonsIn(
  tables: Tables,
  { pending }: Pick<LetterFilter, 'pending'>,
): ReasonCount[] {
  const counts = new Map<string, number>();
  const newest = waiting(tables, pending).sort((a, b) => b.id - a.id);
  for (const { reason } of newest.slice(0, LIST_MAX))
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts]
    .map(([reason, count]) => ({ reason, count }))
    .sort((a, b) => b.count - a.count || byText(a.reason, b.reason));
}

export function letterIn(tables: Tables, deadLetterId: string): DeadLetterDetail | undefined {
  const row = find(tables, deadLetterId);
  if (!row) return undefined;
  return {
    ...rowOf(row),
    headers: JSON.parse(row.headers) as Record<string, string>,
    body: row.body.slice(),
  };
}

/** @throws PerdureError `not_found` */
export function markRedriven(tables: Tables, deadLetterId: string, at: number): void {
  const row = find(tables, deadLetterId);
  if (!row) throw new PerdureError('not_found', `There is no dead letter ${deadLetterId}.`);
  row.redrivenAt = at;
}

const waiting = ({ deadLetters }: Tables, pending: boolean | undefined): DeadLetterState[] =>
  [...deadLetters.values()].filter(
    (row) => pending === undefined || (row.redrivenAt === null) === pending,
  );

const find = ({ deadLetters }: Tables, deadLetterId: string): DeadLetterState | undefined =>
  [...deadLetters.values()].find((row) => String(row.id) === deadLetterId);

const rowOf = (row: DeadLetterState): DeadLetterRow => ({
  dead_letter_id: String(row.id),
  reason: row.reason,
  detail: row.detail,
  subject: row.subject,
  message_id: row.messageId,
  bytes: row.body.byteLength,
  at: iso(row.at),
  redriven_at: isoOrNull(row.redrivenAt),
});
