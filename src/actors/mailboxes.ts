import { shardOf, subjects } from '../bus/subjects.ts';
import type { Address } from '../store/store.ts';
import { rootOf } from './kin.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';

/**
 * Answers `mailboxes.<node id>`: how much waits in this node's memory for one actor; null when its shard is not open here.
 * Returns the way to stop.
 */
export function answerMailboxes(
  ring: Ring,
  shards: ReadonlyMap<number, Shard>,
  all: number,
): () => void {
  return ring.bus.answer(subjects.mailbox(ring.namespace, ring.nodeId), async (_subject, body) => {
    const address = addressIn(body);
    const root = address && rootOf(address);
    const shard = root && shards.get(shardOf(root.type, root.id, all));
    return JSON.stringify({ waiting: shard?.waitingFor(address as Address) ?? null });
  });
}

function addressIn(body: Uint8Array): Address | undefined {
  try {
    const { type, id } = JSON.parse(Buffer.from(body).toString()) as Partial<Address>;
    return typeof type === 'string' && typeof id === 'string' ? { type, id } : undefined;
  } catch {
    return undefined;
  }
}
