import type { LogReader } from '../bus/bus.ts';
import { backoff, sleep } from '../clock.ts';
import { asError } from '../errors.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';

/**
 * The shard's reader, behind its cursor. Running actors go on while NATS is away: the reader alone waits for it.
 * Undefined when the shard is closed or sealed before there is one.
 */
export async function openReader(ring: Ring, shard: Shard): Promise<LogReader | undefined> {
  const { clock, log } = ring;
  for (let attempt = 1; !shard.closed && !shard.sealed; attempt++)
    try {
      return await readLog(ring, shard);
    } catch (error) {
      const reason = asError(error).message;
      if (attempt % 10 === 1) log.warn({ ...shard.place, reason }, 'shard: no reader yet');
      await sleep(clock, 100 + backoff(clock, attempt, 100, 1_000));
    }
  return undefined;
}

async function readLog(ring: Ring, shard: Shard): Promise<LogReader> {
  await ring.source.check();
  return ring.bus.openReader({
    shard: shard.number,
    epoch: shard.epoch,
    startSeq: shard.cursor + 1,
    pendingMax: ring.limits.shardPendingMax,
    ackWaitMs: ring.limits.ackWaitMs,
    onMessage: (message) => {
      ring.tracing?.received(message, ring.clock.now());
      shard.post({ kind: 'message', message });
    },
    onSurprise: (reason) => shard.surprised(reason),
  });
}
