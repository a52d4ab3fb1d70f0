const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/**
 * Ages by which actors of one place are counted, ms. A true median has all of them sorted, which takes three times as long
 * as counting them; these are fine enough to say for how long half of them have been there.
 */
export const AGES: readonly number[] = [
  ...[10_000, 30_000, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 8 * HOUR],
  ...[DAY, 2 * DAY, 4 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY],
];

/** `younger`: how many are at most as old as each of `AGES`. The ages of the newest and of the oldest are known, ms. */
export interface Ages {
  count: number;
  younger: readonly number[];
  newest: number;
  oldest: number;
}

/** How old about half of them are at least, ms; between two ages they are taken to be spread evenly. Pure. */
export function medianAge({ count, younger, newest, oldest }: Ages): number {
  const half = (count + 1) / 2;
  let below = 0;
  let from = newest;
  for (const [at, age] of [...AGES, Number.POSITIVE_INFINITY].entries()) {
    const upTo = younger[at] ?? count;
    const to = Math.min(age, oldest);
    if (upTo >= half) {
      const share = (half - below) / (upTo - below + 1);
      return Math.round(Math.max(newest, from) + share * Math.max(0, to - Math.max(newest, from)));
    }
    below = upTo;
    from = age;
  }
  return oldest;
}
