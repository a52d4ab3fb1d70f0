import { ERRORS, PerdureError } from '../errors.ts';
import type { ReadStore } from '../store/read.ts';

/** Letters that are looked at for what reasons there are. */
const LOOKED_AT_MAX = 10_000;

/**
 * A code that is misspelt would be taken for one that no letter has.
 * @throws PerdureError `bad_options` with the codes that letters have
 */
export async function assertReason(
  store: Pick<ReadStore, 'deadLetters'>,
  reason: string | undefined,
): Promise<void> {
  if (reason === undefined || Object.hasOwn(ERRORS, reason)) return;
  const letters = await store.deadLetters({ limit: LOOKED_AT_MAX });
  const reasons = [...new Set(letters.map((letter) => letter.reason))].sort();
  if (reasons.includes(reason)) return;
  throw new PerdureError(
    'bad_options',
    `No dead letter has the reason ${reason.slice(0, 64)}; ${reasons.length === 0 ? 'there are none at all' : `there are letters with ${reasons.join(', ')}`}.`,
    { allowed: reasons },
  );
}
