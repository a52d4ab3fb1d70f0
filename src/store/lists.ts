import { PerdureError } from '../errors.ts';

const LIST_DEFAULT = 50;
export const LIST_MAX = 10_000;

/** Rows a list may have: the default when nothing is asked for, never more than the most. */
export const listLimit = (asked: number | undefined): number =>
  Math.min(Math.max(Math.floor(asked ?? LIST_DEFAULT), 0), LIST_MAX);

/** Ids of dead letters are numbers written as text; anything else names nothing. */
export const isNumber = (id: string) => /^\d{1,15}$/.test(id);

/** Where a list of dead letters goes on. @throws PerdureError `bad_options` */
export function numberIn(after: string | undefined): number | null {
  if (after === undefined) return null;
  if (isNumber(after)) return Number(after);
  throw new PerdureError('bad_options', `${after.slice(0, 64)} is no number of a dead letter.`);
}
