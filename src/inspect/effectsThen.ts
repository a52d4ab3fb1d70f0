import type { Envelope } from '../actors/envelope.ts';
import { doneType, errorType } from '../actors/results.ts';
import type { FailedAttemptRow, HistoryRow } from '../store/read.ts';
import { isWrapped } from '../textCodec.ts';

/** An invoke, as of one moment of its actor's past: from a transition until the next. */
export interface EffectView {
  id: string;
  /** The transition that started it. */
  started_seq: number;
  started_at: string;
  /** `done` and `failed`: the transition is what it came to; `left`: the transition has ended it. */
  how: 'running' | 'done' | 'failed' | 'left';
  /** From its start until the transition, ms: attempts, and the waits between them. */
  ms: number;
  /** Which attempt it had come to. */
  attempt: number;
  /** Attempts that had failed, the first one first. */
  failed_attempts: FailedAttemptRow[];
}

/** The moment of `row`: with what stands before and behind it in the history, where there is something. */
export interface Moment {
  before: HistoryRow | undefined;
  row: HistoryRow;
  next: HistoryRow | undefined;
}

/** What ran then, and what has just ended. `startOf` reads the transition that started an invoke; undefined: it is not there. */
export async function effectsThen(
  { before, row, next }: Moment,
  startOf: (seq: number) => Promise<HistoryRow | undefined>,
): Promise<EffectView[]> {
  const [earlier, now] = [before ? startedIn(before.snapshot) : {}, startedIn(row.snapshot)];
  const ended = Object.entries(earlier).filter(([id, seq]) => now[id] !== seq);
  const views: EffectView[] = [];
  for (const [id, seq, isOver] of [
    ...ended.map(([id, seq]) => [id, seq, true] as const),
    ...Object.entries(now).map(([id, seq]) => [id, seq, false] as const),
  ]) {
    const start = [before, row].find((one) => one?.seq === seq) ?? (await startOf(seq));
    if (!start) continue;
    const failed = start.failed_attempts.filter(
      (one) => one.invoke_id === id && (next === undefined || one.at <= next.at),
    );
    views.push({
      id,
      started_seq: seq,
      started_at: start.at,
      how: isOver ? howEnded(id, row) : 'running',
      ms: Math.max(0, Date.parse(row.at) - Date.parse(start.at)),
      attempt: (failed.at(-1)?.attempt ?? 0) + 1,
      failed_attempts: failed,
    });
  }
  return views;
}

function howEnded(id: string, { event_type, origin }: HistoryRow): EffectView['how'] {
  if (origin !== 'invoke') return 'left';
  if (event_type === doneType(id)) return 'done';
  return event_type === errorType(id) ? 'failed' : 'left';
}

/** Invokes that run by a snapshot, and the transition that started each; none where a codec's key is missing. */
export function startedIn(snapshot: string): Readonly<Record<string, number>> {
  if (isWrapped(snapshot)) return {};
  return (JSON.parse(snapshot) as Partial<Envelope>).started ?? {};
}
