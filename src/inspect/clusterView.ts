import { LIMITS } from '../config.ts';
import type { NodeRow, ShardRow } from '../store/read.ts';
import type { ShardReaders } from './shardReaders.ts';

/** What a node is fit for, in one word. `dead`: its lease is over, or its session lock is gone. */
export type NodeState = 'ok' | 'draining' | 'no NATS' | 'dead';

/**
 * What is wrong with a shard, the worst first: `free`: nobody owns it. `orphaned`: its owner is dead. `no reader`: its
 * owner lives and does not read the log. `suspect`: its owners keep dying. `behind`: more of its messages wait than
 * a node takes at once.
 */
export type ShardHealth = 'free' | 'orphaned' | 'no reader' | 'suspect' | 'behind' | 'ok';

/** Owners that died one after the other; from this many on it is the shard that kills them. */
export const SUSPECT_CRASHES = 3;

export interface NodeView extends NodeRow {
  state: NodeState;
}

export interface ShardView extends ShardRow {
  /** Name of the owner; null when there is none, or nobody remembers it. */
  owner_name: string | null;
  /** Messages that wait for it or are not acknowledged; null when nobody reads it, or NATS was not asked. */
  lag: number | null;
  health: ShardHealth;
}

/** Judges nodes by their rows. Pure. */
export const viewNodes = (nodes: readonly NodeRow[]): NodeView[] =>
  nodes.map((node) => ({ ...node, state: nodeState(node) }));

function nodeState({ live, draining, nats_ok }: NodeRow): NodeState {
  if (!live) return 'dead';
  if (draining) return 'draining';
  return nats_ok ? 'ok' : 'no NATS';
}

/** Judges shards by their rows and, when NATS was asked, by their readers. Pure. */
export function viewShards(
  shards: readonly ShardRow[],
  nodes: readonly NodeRow[],
  readers?: ShardReaders,
): ShardView[] {
  const known = new Map(nodes.map((node) => [node.node_id, node]));
  return shards.map((shard) => {
    const owner = shard.owner === null ? undefined : known.get(shard.owner);
    const lag = readers === undefined ? null : lagOf(shard, readers);
    return {
      ...shard,
      owner_name: owner?.name ?? null,
      lag,
      health: shardHealth(shard, owner?.live ?? false, readers === undefined ? 'unknown' : lag),
    };
  });
}

/**
 * The same shards with what waits for them. Their health is judged without it: readers that were looked at before the record say
 * nothing of a shard that was opened in between.
 */
export const withLags = (shards: readonly ShardView[], readers: ShardReaders | undefined) =>
  readers === undefined ? [...shards] : shards.map((one) => ({ ...one, lag: lagOf(one, readers) }));

/** Those that are not well. */
export const illOf = (shards: readonly ShardView[]): Pick<ShardView, 'shard' | 'health'>[] =>
  shards.filter(({ health }) => health !== 'ok').map(({ shard, health }) => ({ shard, health }));

/** A reader of a later epoch than the record's was opened after the record was read. */
function lagOf({ shard, epoch }: ShardRow, readers: ShardReaders): number | null {
  const newest = readers.get(shard);
  return newest !== undefined && newest.epoch >= epoch ? newest.lag : null;
}

function shardHealth(
  { owner, crashes, suspect_seq }: ShardRow,
  ownerLives: boolean,
  lag: number | null | 'unknown',
): ShardHealth {
  if (owner === null) return 'free';
  if (!ownerLives) return 'orphaned';
  if (lag === null) return 'no reader';
  if (suspect_seq !== null || crashes >= SUSPECT_CRASHES) return 'suspect';
  return lag !== 'unknown' && lag > LIMITS.shardPendingMax ? 'behind' : 'ok';
}
