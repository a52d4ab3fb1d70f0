import { FAILED_ATTEMPTS_MAX, type FailedAttemptWrite } from './elsewhere.ts';
import type { Tables } from './memoryTables.ts';
import { addressKey, type StoredTransition } from './store.ts';

/** Whoever reads sees an actor whose row was left as it is where its newest transition is. */
export function recordTransition(tables: Tables, row: StoredTransition): void {
  const key = addressKey(row);
  const rows = tables.transitions.get(key) ?? [];
  const last = rows.at(-1)?.seq ?? 0;
  rows.push(row);
  if (row.seq < last) rows.sort((a, b) => a.seq - b.seq);
  tables.transitions.set(key, rows);
  const actor = tables.actors.get(key);
  if (actor?.busy && actor.seq < row.seq) {
    const { seq, epoch, toState: state, at: updatedAt } = row;
    if (actor.actedSeq === actor.seq) actor.actedSeq = seq;
    Object.assign(actor, { seq, epoch, state, updatedAt });
  }
  if (row.eventId === null) return;
  const ids = tables.eventIds.get(key) ?? new Set();
  tables.eventIds.set(key, ids.add(row.eventId));
}

export function recordAttempt(
  { failedAttempts }: Tables,
  row: FailedAttemptWrite,
  nodeId: string,
  at: number,
): void {
  const known = failedAttempts.get(addressKey(row)) ?? [];
  const same = known.find((one) => isSameSlot(one, row));
  if (same && same.attempt >= row.attempt) return;
  const others = known.filter((one) => one !== same);
  failedAttempts.set(addressKey(row), [...others, { ...row, nodeId, at }]);
}

const slotOf = ({ attempt }: FailedAttemptWrite) => Math.min(attempt, FAILED_ATTEMPTS_MAX);
const isSameSlot = (a: FailedAttemptWrite, b: FailedAttemptWrite): boolean =>
  a.startedSeq === b.startedSeq && a.invokeId === b.invokeId && slotOf(a) === slotOf(b);
