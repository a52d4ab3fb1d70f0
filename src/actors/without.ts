/** The same record, but for one entry; made anew, since a delete would make it slow to read. */
export function without<T>(record: Readonly<Record<string, T>>, key: string): Record<string, T> {
  const others: Record<string, T> = {};
  for (const other in record) if (other !== key) others[other] = record[other] as T;
  return others;
}

/** For what is only ever read. */
export const NOTHING: Readonly<Record<string, never>> = Object.freeze({});

/** As `without`, of what is only ever read: where nothing is left, that is one object for all. */
export function restOf<T>(record: Readonly<Record<string, T>>, key: string): Record<string, T> {
  for (const other in record) if (other !== key) return without(record, key);
  return NOTHING;
}
