import { sleep } from '../clock.ts';
import type { ParkedPosition } from '../store/elsewhere.ts';
import { ParkedMessage } from './parkedMessage.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';

/**
 * Puts what is parked through the mailbox of a shard that was just opened, in order, a turn's worth at a time. Resolves
 * when all of it has been taken, or the shard takes nothing any more.
 */
export async function unpark(ring: Ring, shard: Shard): Promise<void> {
  const { store, limits, clock, log } = ring;
  const { parking, number } = shard;
  const before = parking.messages;
  let after: ParkedPosition | undefined;
  do {
    const rows = await store.parkedMessages(number, after, limits.shardIntakeMax);
    after = rows.at(-1);
    if (isOver(shard)) return;
    const messages = rows
      .map((row) => new ParkedMessage(row))
      .filter(({ key }) => !parking.isBehind(key, true));
    parking.posted(messages.length);
    for (const message of messages) shard.post({ kind: 'message', message });
    while (parking.isTaking && !isOver(shard)) await sleep(clock, LOOK_EVERY_MS);
  } while (after && !isOver(shard));
  log.info(
    { shard: number, done: before - parking.messages, left: parking.messages },
    'shard: parked messages taken',
  );
}

/** Whoever opens it next finds what is left. */
const isOver = ({ closed, sealed }: Shard): boolean => closed || sealed;

const LOOK_EVERY_MS = 5;
