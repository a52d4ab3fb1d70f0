const LIST_DEFAULT = 50;
export const LIST_MAX = 10_000;

/** Rows a list may have: the default when nothing is asked for, never more than the most. */
export const listLimit = (asked: number | undefined): number =>
  Math.min(Math.max(Math.floor(asked ?? LIST_DEFAULT), 0), LIST_MAX);
