import { setTimeout as pause } from 'node:timers/promises';
import { fromPromise } from 'xstate';
import { fnv1a } from '../../../src/bus/subjects.ts';
import { invocation } from '../../../src/index.ts';
import { isCommitted, write } from '../../support/actorsJournal.ts';
import type { JournalLine } from '../../support/history.ts';
import { workResult } from './program.ts';

export interface WorkInput {
  n: number;
  /** How long an attempt takes, ms; null: for ever. */
  ms: number | null;
  /** The first attempts that fail. */
  failures: number;
  value: number;
  salt: number;
}

/** One key in so many asks Postgres whether its transition can be seen: asking costs more than the work. */
const ASKS_EVERY = 4;
/** A question that Postgres does not answer is given up, ms: the work must go on. */
const ASK_MS = 1_000;

type InvokeLine = Extract<JournalLine, { kind: 'invoke' }>;

/** Writes down when it ran, as which attempt and where, so that no `kill -9` hides a run. */
export const work = fromPromise<number, WorkInput>(async ({ input, self, signal }) => {
  const { idempotencyKey: key, attempt } = invocation(self);
  const at = Date.now();
  const node = process.env.PERDURE_TEST_NAME;
  const line = (phase: InvokeLine['phase'], more: Partial<InvokeLine> = {}) =>
    write({
      ...{ kind: 'invoke', key, phase, attempt, input, at: Date.now() },
      ...(node === undefined ? {} : { node }),
      ...more,
    } as InvokeLine);
  const committed =
    fnv1a(key) % ASKS_EVERY === 0
      ? await Promise.race([isCommitted(key), pause(ASK_MS, undefined, { ref: false })])
      : undefined;
  line('start', { at, ...(committed === undefined ? {} : { committed }) });
  try {
    // Longer than any run; a timer takes no more than 31 bits.
    await pause(input.ms ?? 2 ** 31 - 1, undefined, { signal });
  } catch (error) {
    line('abort');
    throw error;
  }
  if (attempt <= input.failures) throw new Error(`attempt ${attempt} of ${input.n}`);
  const result = workResult(input.value, input.salt);
  line('end', { result });
  return result;
});
