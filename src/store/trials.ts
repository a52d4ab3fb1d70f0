import { boolArray, int4Array, int8Array, textArray } from './arrays.ts';
import type { Lane } from './lane.ts';
import type { ShardEpoch } from './sharing.ts';
import { type ActorTrial, type MessageTrial, SUSPECT_AFTER } from './store.ts';

/** Behind the shards' rows, in the order in which a commit locks them. */
const LOCKED = `
  locked AS MATERIALIZED (
    SELECT s.shard, s.epoch FROM shard s
     WHERE s.owner = $1 AND s.shard = ANY (ARRAY(SELECT shard FROM w))
     ORDER BY s.shard FOR NO KEY UPDATE)`;

/** See `Store.tryMessages`. */
export async function tryMessages(
  lane: Lane,
  nodeId: string,
  trials: readonly MessageTrial[],
): Promise<void> {
  await lane.ask({
    name: 'try_messages',
    // Deaths are counted for one message: another one begins where suspicion begins.
    text: `
      WITH w AS MATERIALIZED (
        SELECT shard, epoch, nullif(seq, -1) AS seq FROM unnest($2::int4[], $3::int8[], $4::int8[]) AS w (shard, epoch, seq)),
      ${LOCKED}
      UPDATE shard s
         SET suspect_seq = w.seq,
             crashes = CASE WHEN w.seq IS NULL THEN 0
                            WHEN s.suspect_seq = w.seq THEN s.crashes
                            ELSE least(s.crashes, ${SUSPECT_AFTER}) END
        FROM w JOIN locked USING (shard, epoch)
       WHERE s.shard = w.shard`,
    values: [
      nodeId,
      int4Array(trials, ({ shard }) => shard),
      int8Array(trials, ({ epoch }) => epoch),
      int8Array(trials, ({ seq }) => seq ?? -1),
    ],
  });
}

/** See `Store.tryActors`. */
export async function tryActors(
  lane: Lane,
  nodeId: string,
  trials: readonly ActorTrial[],
): Promise<void> {
  await lane.ask({
    name: 'try_actors',
    text: `
      WITH w AS MATERIALIZED (
        SELECT * FROM unnest($2::int4[], $3::int8[], $4::text[], $5::text[], $6::bool[])
          AS w (shard, epoch, type, id, on_trial)),
      ${LOCKED}
      UPDATE actor a
         SET on_trial = w.on_trial,
             crashes = CASE WHEN w.on_trial THEN greatest(a.crashes, ${SUSPECT_AFTER}) ELSE a.crashes END
        FROM w JOIN locked USING (shard, epoch)
       WHERE a.type = w.type AND a.id = w.id`,
    values: [
      nodeId,
      int4Array(trials, ({ shard }) => shard),
      int8Array(trials, ({ epoch }) => epoch),
      textArray(trials, ({ type }) => type),
      textArray(trials, ({ id }) => id),
      boolArray(trials, ({ onTrial }) => onTrial),
    ],
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
