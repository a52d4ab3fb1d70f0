import { JetStreamApi } from '../bus/api.ts';
import type { Connection } from '../bus/connection.ts';
import { systemClock } from '../clock.ts';
import { type Namespace, SHARDS } from '../config.ts';
import type { Logger } from '../log.ts';

/** The newest reader of each shard that has one. */
export type ShardReaders = ReadonlyMap<number, { epoch: number; lag: number }>;

interface Reader {
  name: string;
  num_pending: number;
  num_ack_pending: number;
}

/** Asks JetStream who reads the log. @throws PerdureError `bus_unavailable`, `timeout` */
export async function readShardReaders(
  connection: Connection,
  namespace: Namespace,
  log: Logger,
): Promise<ShardReaders> {
  const api = new JetStreamApi(connection, {
    natsUrl: '',
    namespace,
    shards: SHARDS,
    clock: systemClock,
    log,
    ensureStreams: false,
  });
  return newestReaders(await api.readers());
}

/** Consumers are named `s<shard>-e<epoch>-<random>`; others are not ours. Pure. */
export function newestReaders(consumers: readonly Reader[]): ShardReaders {
  const newest = new Map<number, { epoch: number; lag: number }>();
  for (const { name, num_pending, num_ack_pending } of consumers) {
    const [, shard, epoch] = /^s(\d+)-e(\d+)-/.exec(name)?.map(Number) ?? [];
    if (shard === undefined || epoch === undefined) continue;
    if (epoch < (newest.get(shard)?.epoch ?? 0)) continue;
    newest.set(shard, { epoch, lag: num_pending + num_ack_pending });
  }
  return newest;
}
