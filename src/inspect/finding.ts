/** One thing `perdure doctor` looked at. */
export interface Finding {
  /** `warn`: it works now, and may hurt; `fail`: it does not work, or promises are broken. */
  level: 'ok' | 'warn' | 'fail';
  /** What was looked at: `postgres fsync`. */
  check: string;
  /** What was found. */
  found: string;
  /** What to do about it; missing when there is nothing to do. */
  advice?: string;
}

export const ok = (check: string, found: string): Finding => ({ level: 'ok', check, found });

export const warn = (check: string, found: string, advice: string): Finding => ({
  level: 'warn',
  check,
  found,
  advice,
});

export const fail = (check: string, found: string, advice: string): Finding => ({
  level: 'fail',
  check,
  found,
  advice,
});
