/** One difference between two values. This file runs in browsers, too, and imports nothing. */
export interface Change {
  /** `items[2].price`; empty for the whole. */
  path: string;
  kind: 'added' | 'removed' | 'changed';
  before?: unknown;
  after?: unknown;
}

const CHANGES_MAX = 500;

/** What has to be changed in one JSON value to make the other one of it, in the order of the second. */
export function diffOf(before: unknown, after: unknown): Change[] {
  const found: Change[] = [];
  compare('', before, after, found);
  return found.slice(0, CHANGES_MAX);
}

function compare(path: string, before: unknown, after: unknown, found: Change[]): void {
  if (found.length >= CHANGES_MAX || Object.is(before, after)) return;
  if (before === undefined) return void found.push({ path, kind: 'added', after });
  if (after === undefined) return void found.push({ path, kind: 'removed', before });
  if (isList(before) && isList(after))
    for (let at = 0; at < Math.max(before.length, after.length); at++)
      compare(`${path}[${at}]`, before[at], after[at], found);
  else if (isRecord(before) && isRecord(after))
    for (const key of new Set([...Object.keys(after), ...Object.keys(before)]))
      compare(below(path, key), own(before, key), own(after, key), found);
  else found.push({ path, kind: 'changed', before, after });
}

const isList = Array.isArray as (value: unknown) => value is unknown[];

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const own = (record: Record<string, unknown>, key: string): unknown =>
  Object.hasOwn(record, key) ? record[key] : undefined;

function below(path: string, key: string): string {
  if (!/^[\w$-]+$/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path === '' ? key : `${path}.${key}`;
}
