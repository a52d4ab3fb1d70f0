import { AGES, medianAge } from './dwell.ts';
import { type ActorState, byText, iso, type Tables } from './memoryTables.ts';
import type { ActorSearch, MachineRow, PopulationRow, Reach, SearchPage } from './search.ts';
import { type Address, addressKey } from './store.ts';

/** What `SearchStore` finds, in the in-memory twin: it takes no time, so only `lookAt` bounds it. */
export function foundIn(
  tables: Tables,
  search: ActorSearch,
  now: number,
  { after, limit, lookAt = Number.POSITIVE_INFINITY }: SearchPage,
): { rows: ActorState[] } & Reach {
  const all = [...tables.actors.values()]
    .filter((row) => isLookedAt(tables, row, search))
    .filter((row) => !after || byAddress(row, after) > 0)
    .sort(byAddress);
  const rows: ActorState[] = [];
  for (const [at, row] of all.entries()) {
    if (at >= lookAt) return { rows, searched: at, next: addressOf(all[at - 1]) };
    if (matches(tables, row, search, now)) rows.push(row);
    if (rows.length === limit) return { rows, searched: limit, next: addressOf(row) };
  }
  return { rows, searched: all.length, next: null };
}

const addressOf = (row: Address | undefined): Address | null =>
  row ? { type: row.type, id: row.id } : null;

/** What an index would lead to. */
function isLookedAt(tables: Tables, row: ActorState, search: ActorSearch): boolean {
  const { type, status, quarantined, paused, children, fields } = search;
  const [first] = Object.entries(fields ?? {});
  return (
    (type === undefined || row.type === type) &&
    (first || status !== 'error' || row.error !== null) &&
    (first || !quarantined || row.quarantinedAt !== null) &&
    (first || !paused || row.pausedAt !== null) &&
    (typeof children !== 'object' || isListed(row.id, children)) &&
    (!first || hasField(tables, row, first))
  );
}

function matches(tables: Tables, row: ActorState, search: ActorSearch, now: number): boolean {
  const { status, state, tag, version, node, text, idleMs } = search;
  const { quarantined, paused, children, fields } = search;
  return (
    isListed(row.id, children) &&
    (!quarantined || row.quarantinedAt !== null) &&
    (!paused || row.pausedAt !== null) &&
    (status === undefined || row.status === status) &&
    (version === undefined || row.version === version) &&
    (node === undefined || tables.shards[row.shard]?.owner === node) &&
    (idleMs === undefined || row.updatedAt < now - idleMs) &&
    (text === undefined || row.id.includes(text)) &&
    (tag === undefined || (JSON.parse(row.tags) as string[]).includes(tag)) &&
    (state === undefined || isIn(JSON.parse(row.state), state)) &&
    Object.entries(fields ?? {}).every((field) => hasField(tables, row, field))
  );
}

const hasField = (tables: Tables, row: ActorState, [field, value]: [string, string]): boolean =>
  tables.searchable.get(addressKey(row))?.get(field) === value;

const byAddress = (a: Address, b: Address) => byText(a.type, b.type) || byText(a.id, b.id);

/** Whether the dotted path names an active state of the state value or a prefix of one. */
export function isIn(state: unknown, path: string): boolean {
  const parts = path.split('.');
  const last = parts.pop() as string;
  let value = state;
  for (const part of parts) {
    if (typeof value !== 'object' || value === null) return false;
    value = (value as Record<string, unknown>)[part];
  }
  if (typeof value === 'string') return value === last;
  return typeof value === 'object' && value !== null && Object.hasOwn(value, last);
}

export function isListed(id: string, children: ActorSearch['children']): boolean {
  if (children === 'all') return true;
  return children ? id.startsWith(`${children.of}.`) : !id.includes('.');
}

export function populationOf(
  rows: Iterable<ActorState>,
  now: number,
  type?: string,
): PopulationRow[] {
  const groups = new Map<string, { row: ActorState; at: number[] }>();
  for (const row of rows) {
    if (type !== undefined && row.type !== type) continue;
    const key = [row.type, row.version, row.path ?? '', row.status, row.state].join('\u0000');
    const group = groups.get(key) ?? { row, at: [] };
    group.at.push(row.updatedAt);
    groups.set(key, group);
  }
  return [...groups]
    .sort(([a], [b]) => byText(a, b))
    .map(([, { row, at }]) => ({
      type: row.type,
      version: row.version,
      status: row.status,
      state: JSON.parse(row.state),
      path: JSON.parse(row.path ?? '[]') as string[],
      count: at.length,
      oldest_at: iso(Math.min(...at)),
      median_at: iso(now - medianAge(agesOf(at, now))),
    }));
}

const agesOf = (at: readonly number[], now: number) => ({
  count: at.length,
  younger: AGES.map((age) => at.filter((one) => one >= now - age).length),
  newest: now - Math.max(...at),
  oldest: now - Math.min(...at),
});

export const machineRows = ({ machines }: Tables): MachineRow[] =>
  [...machines.values()]
    .sort(
      (a, b) =>
        byText(a.type, b.type) || b.recordedAt - a.recordedAt || byText(b.version, a.version),
    )
    .map(({ recordedAt, ...row }) => ({ ...row, recorded_at: iso(recordedAt) }));
