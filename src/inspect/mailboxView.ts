import type { ActorDetail, ReadStore } from '../store/read.ts';
import type { Engine } from './engine.ts';

/** What waits for one actor. What the log has not handed over yet is known for its shard alone (`lag`). */
export interface MailboxView {
  /** All of it; null: nobody knows what waits in memory. */
  depth: number | null;
  /** In the memory of the node that owns it; null: there is none, or it did not say. */
  memory: number | null;
  /** Kept for a node that can open it. */
  parked: number;
  /** From other actors, committed and on its way. */
  outbox: number;
}

export async function viewMailbox(
  store: Pick<ReadStore, 'shards'>,
  mailbox: Engine['mailbox'],
  actor: Pick<ActorDetail, 'type' | 'id' | 'shard' | 'parked' | 'outbox'>,
): Promise<MailboxView> {
  const { type, id, outbox } = actor;
  const owner = (await store.shards()).find(({ shard }) => shard === actor.shard)?.owner;
  const memory = owner ? ((await mailbox(owner, type, id)) ?? null) : null;
  const parked = actor.parked?.messages ?? 0;
  return { depth: memory === null ? null : memory + parked + outbox, memory, parked, outbox };
}
