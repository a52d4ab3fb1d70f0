import { isPaused, type Tables } from './memoryTables.ts';
import type { ParkedRow } from './read.ts';
import type { NodeInfo } from './sharing.ts';
import { addressKey } from './store.ts';

/** The view `parked` of the in-memory twin, in no order. */
export function parkedRows(tables: Tables, now: number): ParkedRow[] {
  const live = [...tables.nodes.values()].filter((node) => node.session && node.expiresAt > now);
  const openedBy = (type: string, version: string | null) =>
    live.filter(({ opens }) => !opens || opened(opens, type, version)).length;
  const rows = new Map<string, ParkedRow>();
  const rowOf = (type: string, version: string | null): ParkedRow => {
    const key = `${type}@${version ?? ''}`;
    const row = rows.get(key) ?? {
      type,
      version,
      actors: 0,
      waiting: 0,
      nodes: live.length,
      opened_by: openedBy(type, version),
      messages: 0,
      since: null,
    };
    rows.set(key, row);
    return row;
  };
  for (const actor of tables.actors.values()) {
    const { type, version, status, shard, busy, quarantinedAt } = actor;
    if (status !== 'active') continue;
    const row = rowOf(type, version);
    row.actors++;
    const owner = live.find(({ nodeId }) => nodeId === tables.shards[shard]?.owner);
    const waits = busy && quarantinedAt === null && !isPaused(tables, actor) && owner?.opens;
    if (waits && opened(waits, type, version)?.as !== version) row.waiting++;
  }
  for (const message of tables.parked.values()) {
    if (isPaused(tables, message)) continue;
    const row = rowOf(message.type, tables.actors.get(addressKey(message))?.version ?? null);
    const at = new Date(message.at).toISOString();
    row.messages++;
    row.since = row.since === null || at < row.since ? at : row.since;
  }
  return [...rows.values()].filter(
    (row) => row.opened_by < row.nodes || row.waiting > 0 || row.messages > 0,
  );
}

const opened = (opens: NonNullable<NodeInfo['opens']>, type: string, version: string | null) =>
  opens.find((open) => open.type === type && (version === null || open.version === version));
