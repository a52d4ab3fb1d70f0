import { ERRORS, PerdureError } from '../errors.ts';
import type { LetterStore } from '../store/letters.ts';

/**
 * A code that is misspelt would be taken for one that no letter has.
 * @throws PerdureError `bad_options` with the codes that letters have
 */
export async function assertReason(
  store: Pick<LetterStore, 'deadLetterReasons'>,
  reason: string | undefined,
): Promise<void> {
  if (reason === undefined || Object.hasOwn(ERRORS, reason)) return;
  const reasons = (await store.deadLetterReasons({})).map((one) => one.reason).sort();
  if (reasons.includes(reason)) return;
  throw new PerdureError(
    'bad_options',
    `No dead letter has the reason ${reason.slice(0, 64)}; ${reasons.length === 0 ? 'there are none at all' : `there are letters with ${reasons.join(', ')}`}.`,
    { allowed: reasons },
  );
}
