import { int4Array, int8Array, textArray } from './arrays.ts';
import type { ParkedActor, ParkedPosition, ShardNeeds, StoredParked } from './elsewhere.ts';
import type { Lane } from './lane.ts';

interface ParkedRow {
  shard: number;
  epoch: number;
  type: string;
  id: string;
  log_id: string;
  log_seq: number;
  subject: string;
  headers: string;
  message_id: string | null;
  body: Buffer;
}

/** See `Store.parkedMessages`. */
export async function parkedMessages(
  lane: Lane,
  shard: number,
  after: ParkedPosition | undefined,
  limit: number,
): Promise<StoredParked[]> {
  const rows = await lane.ask<ParkedRow>({
    name: 'parked_messages',
    text: `SELECT shard, epoch, type, id, log_id, log_seq, subject, headers, message_id, body
             FROM parked_message
            WHERE shard = $1 AND (epoch, log_seq) > ($2, $3)
            ORDER BY epoch, log_seq LIMIT $4`,
    values: [shard, after?.epoch ?? 0, after?.logSeq ?? 0, limit],
  });
  return rows.map(({ log_id, log_seq, message_id, body, ...rest }) => ({
    ...rest,
    logId: log_id,
    logSeq: log_seq,
    messageId: message_id,
    body: new Uint8Array(body),
  }));
}

/** For whom messages of these shards are parked. */
export function parkedActors(lane: Lane, shards: readonly number[]): Promise<ParkedActor[]> {
  return lane.ask<ParkedActor>({
    name: 'parked_actors',
    text: `SELECT p.shard, p.type, p.id, a.version, a.paused_at IS NOT NULL AS paused, count(*)::int4 AS messages,
                  (extract(epoch FROM min(p.parked_at)) * 1000)::int8 AS since
             FROM parked_message p LEFT JOIN actor a ON a.type = p.type AND a.id = p.id
            WHERE p.shard = ANY ($1::int4[])
            GROUP BY p.shard, p.type, p.id, a.version, a.paused_at
            ORDER BY p.type, p.id`,
    values: [int4Array(shards, (shard) => shard)],
  });
}

/** See `Store.need`. */
export async function need(
  lane: Lane,
  nodeId: string,
  needs: readonly ShardNeeds[],
): Promise<void> {
  await lane.ask({
    name: 'need',
    text: `
      WITH mine AS MATERIALIZED (
        SELECT s.shard, w.needs FROM unnest($2::int4[], $3::int8[], $4::text[]) AS w (shard, epoch, needs)
          JOIN shard s ON s.shard = w.shard
         WHERE s.owner = $1 AND s.epoch = w.epoch
         ORDER BY s.shard FOR NO KEY UPDATE OF s)
      UPDATE shard s SET needs = mine.needs, needs_at = now() FROM mine WHERE s.shard = mine.shard`,
    values: [
      nodeId,
      int4Array(needs, ({ shard }) => shard),
      int8Array(needs, ({ epoch }) => epoch),
      textArray(needs, (row) => JSON.stringify(row.needs)),
    ],
  });
}
