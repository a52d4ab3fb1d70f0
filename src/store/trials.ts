import type { Lane } from './lane.ts';
import { type Address, type ShardEpoch, SUSPECT_AFTER } from './store.ts';

/** See `Store.tryMessage`. */
export async function tryMessage(
  lane: Lane,
  nodeId: string,
  { shard, epoch }: ShardEpoch,
  seq: number | null,
): Promise<void> {
  await lane.ask({
    name: 'try_message',
    // Deaths are counted for one message: another one begins where suspicion begins.
    text: `
      UPDATE shard
         SET suspect_seq = $4::int8,
             crashes = CASE WHEN $4::int8 IS NULL THEN 0
                            WHEN suspect_seq = $4::int8 THEN crashes
                            ELSE least(crashes, ${SUSPECT_AFTER}) END
       WHERE shard = $2 AND owner = $1 AND epoch = $3`,
    values: [nodeId, shard, epoch, seq],
  });
}

/** See `Store.tryActor`. */
export async function tryActor(
  lane: Lane,
  nodeId: string,
  { shard, epoch }: ShardEpoch,
  { type, id }: Address,
  onTrial: boolean,
): Promise<void> {
  await lane.ask({
    name: 'try_actor',
    text: `
      UPDATE actor a
         SET on_trial = $6, crashes = CASE WHEN $6 THEN greatest(a.crashes, ${SUSPECT_AFTER}) ELSE a.crashes END
        FROM shard s
       WHERE a.type = $4 AND a.id = $5 AND s.shard = $2 AND s.owner = $1 AND s.epoch = $3`,
    values: [nodeId, shard, epoch, type, id, onTrial],
  });
}

/** See `Store.forgive`. */
export async function forgive(
  lane: Lane,
  nodeId: string,
  { shard, epoch }: ShardEpoch,
): Promise<void> {
  await lane.ask({
    name: 'forgive',
    text: `
      WITH forgiven AS (
        UPDATE shard SET suspect_seq = NULL, crashes = 0
         WHERE shard = $2 AND owner = $1 AND epoch = $3
        RETURNING shard)
      UPDATE actor a SET crashes = 0 FROM forgiven
       WHERE a.shard = forgiven.shard AND a.busy AND a.crashes > 0
         AND NOT a.on_trial AND a.quarantined_at IS NULL`,
    values: [nodeId, shard, epoch],
  });
}
