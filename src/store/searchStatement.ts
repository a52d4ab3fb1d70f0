import type { Statement } from './lane.ts';
import type { ActorSearch } from './search.ts';
import type { Address } from './store.ts';

/** Text as it stands in stored JSON: what does not have it need not be parsed. */
const written = (name: string) => JSON.stringify(name);

/** A stretch of actors in the order of the key, and how many of those that match are wanted. */
export interface Stretch {
  after: Address | undefined;
  /** Actors that are looked at, at most. */
  rows: number;
  limit: number;
}

/** What one stretch gave; with each row that was found, and once when none was. */
export interface StretchEnd {
  /** Actors that were looked at; 0 when as many were found as were wanted. */
  n: number;
  /** Key of the last one of these: type and id, with `KEY_MARK` between. */
  last: string | null;
}

/** Comes before whatever a type may have, so that such keys have the order of type and id. */
export const KEY_MARK = '\u0001';

/** Columns a search asks about besides the key. */
const COLUMNS = [
  'status',
  'version',
  'shard',
  'updated_at',
  'tags',
  'state',
  'quarantined_at',
  'paused_at',
] as const;

/** Collects the values of a statement. */
class Values {
  readonly all: unknown[] = [];

  put(value: unknown): string {
    return `$${this.all.push(value)}`;
  }
}

/** What an index leads to: only such rows are looked at. `of` is where the key is read from. */
function baseOf(search: ActorSearch, after: Address | undefined, of: string, values: Values) {
  const { type, status, quarantined, paused, children } = search;
  const found: string[] = [];
  if (type !== undefined) found.push(`${of}.type = ${values.put(type)}`);
  // A family's rows lie side by side: '/' is what comes after '.', and no id has either.
  if (typeof children === 'object')
    found.push(
      `${of}.id > ${values.put(`${children.of}.`)}`,
      `${of}.id < ${values.put(`${children.of}/`)}`,
    );
  if (of === 'a' && status === 'error') found.push('a.error IS NOT NULL');
  if (of === 'a' && quarantined) found.push('a.quarantined_at IS NOT NULL');
  if (of === 'a' && paused) found.push('a.paused_at IS NOT NULL');
  if (after)
    found.push(
      type === undefined
        ? `(${of}.type, ${of}.id) > (${values.put(after.type)}, ${values.put(after.id)})`
        : `${of}.id > ${values.put(after.id)}`,
    );
  return found;
}

/** What each row has to be looked at for, cheap things first: Postgres takes them from left to right. */
function tests(search: ActorSearch, values: Values): string[] {
  const { status, state, tag, version, node, text, idleMs } = search;
  const { quarantined, paused, children, fields } = search;
  const put = (value: unknown) => values.put(value);
  const found: string[] = [];
  if (children === undefined) found.push(`strpos(id, '.') = 0`);
  if (status !== undefined) found.push(`status = ${put(status)}`);
  if (quarantined) found.push('quarantined_at IS NOT NULL');
  if (paused) found.push('paused_at IS NOT NULL');
  if (version !== undefined) found.push(`version = ${put(version)}`);
  if (node !== undefined)
    found.push(`shard = ANY (ARRAY(SELECT shard FROM shard WHERE owner = ${put(node)}))`);
  if (idleMs !== undefined) found.push(`updated_at < now() - ${put(idleMs)} * interval '1 ms'`);
  if (text !== undefined) found.push(`strpos(id, ${put(text)}) > 0`);
  if (tag !== undefined)
    found.push(`strpos(tags, ${put(written(tag))}) > 0`, `tags::jsonb ? ${put(tag)}`);
  if (state !== undefined) {
    const path = state.split('.');
    const last = path.pop() as string;
    found.push(
      `strpos(state, ${put(written(last))}) > 0`,
      `coalesce((state::jsonb #> ${put(path)}::text[]) ? ${put(last)}, false)`,
    );
  }
  for (const [field, value] of Object.entries(fields ?? {}).slice(1))
    found.push(
      `EXISTS (SELECT FROM searchable f
                WHERE f.field = ${put(field)} AND f.value = ${put(value)} AND f.type = s.type AND f.id = s.id)`,
    );
  return found;
}

/** SQL of a stretch: `rows` with what is asked about, `keys` with nothing else. */
function stretchSql(search: ActorSearch, { after, rows }: Stretch, values: Values) {
  const [first] = Object.entries(search.fields ?? {});
  const of = first ? 'k' : 'a';
  const base = baseOf(search, after, of, values);
  if (first) base.push(`k.field = ${values.put(first[0])}`, `k.value = ${values.put(first[1])}`);
  const where = base.length > 0 ? `WHERE ${base.join(' AND ')}` : '';
  const hit = tests(search, values).join(' AND ') || 'true';
  const isKeyOnly = !COLUMNS.some((name) => new RegExp(`\\b${name}\\b`).test(hit));
  // One type is a constant: an order that names it would not be known for the one the index has.
  const order = search.type === undefined ? ['type', 'id'] : ['id'];
  const orderOf = (alias: string) => order.map((name) => `${alias}.${name}`).join(', ');
  const end = `${where} ORDER BY ${orderOf(of)} LIMIT ${values.put(rows)}`;
  const keys = `SELECT ${of}.type, ${of}.id FROM ${first ? 'searchable k' : 'actor a'} ${end}`;
  const rowsOf = (columns: readonly string[]) => {
    const selected = `SELECT ${columns.map((name) => `a.${name}`).join(', ')} FROM`;
    return first
      ? `${selected} (${keys}) k JOIN current_actor a ON a.type = k.type AND a.id = k.id ORDER BY ${orderOf('k')}`
      : `${selected} current_actor a ${end}`;
  };
  return { hit, order: orderOf('s'), isKeyOnly, keys, rowsOf };
}

/** How far it got, unless it stopped before the end. */
const reachSql = (keys: string, wanted: string, found: string) =>
  `reach AS MATERIALIZED (
     SELECT count(*) AS n, max(type || '${KEY_MARK}' || id) AS last FROM (${keys}) s WHERE ${found} < ${wanted})`;

/**
 * What is found in a stretch: rows with the columns, and `StretchEnd`. No condition of an outer query gets behind the LIMIT
 * of an inner one, and its rows come in the order of the index, so that the one that fills the page is the last that is
 * read. What only the key is asked about is read from the index alone.
 */
export function searchStatement(
  columns: readonly string[],
  search: ActorSearch,
  stretch: Stretch,
): Statement {
  const values = new Values();
  const { hit, order, isKeyOnly, keys, rowsOf } = stretchSql(search, stretch, values);
  const wanted = values.put(stretch.limit);
  const names = columns.join(', ');
  const found = (what: string, from: string) =>
    `SELECT ${what} FROM (${from}) s WHERE ${hit} ORDER BY ${order} LIMIT ${wanted}`;
  const hits = isKeyOnly
    ? `SELECT ${names} FROM current_actor WHERE (type, id) IN (${found('type, id', keys)})`
    : found(names, rowsOf([...new Set([...columns, ...COLUMNS])]));
  return {
    text: `WITH hits AS MATERIALIZED (${hits}),
           ${reachSql(keys, wanted, '(SELECT count(*) FROM hits)')}
           SELECT reach.n, reach.last, hits.* FROM reach LEFT JOIN hits ON true ORDER BY hits.type, hits.id`,
    values: values.all,
  };
}

/** How many are found in a stretch, `full` the key of the last of them, and `StretchEnd`. */
export function countStatement(search: ActorSearch, stretch: Stretch): Statement {
  const values = new Values();
  const { hit, order, isKeyOnly, keys, rowsOf } = stretchSql(search, stretch, values);
  const wanted = values.put(stretch.limit);
  const from = isKeyOnly ? keys : rowsOf(['type', 'id', ...COLUMNS]);
  return {
    text: `WITH hits AS MATERIALIZED (
             SELECT count(*) AS count, max(type || '${KEY_MARK}' || id) AS full
               FROM (SELECT type, id FROM (${from}) s WHERE ${hit} ORDER BY ${order} LIMIT ${wanted}) found),
           ${reachSql(keys, wanted, '(SELECT count FROM hits)')}
           SELECT hits.count, hits.full, reach.n, reach.last FROM hits, reach`,
    values: values.all,
  };
}

/** How many actors have each of these values, up to `max`. */
export function fieldsStatement(fields: readonly (readonly [string, string])[], max: number) {
  return {
    text: `SELECT (SELECT count(*) FROM (SELECT FROM searchable k WHERE k.field = f.field AND k.value = f.value LIMIT $3) found) AS count
             FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS f (field, value, at) ORDER BY f.at`,
    values: [fields.map(([field]) => field), fields.map(([, value]) => value), max],
  };
}
