import type { Recovered, StoredActor } from '../store/store.ts';
import { keepAttempt, startAttempt } from './attempts.ts';
import { idempotencyKey } from './effects.ts';
import type { Invocation } from './invocation.ts';
import { runActions } from './perform.ts';
import { stepAgain } from './replay.ts';
import type { Resident } from './resident.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';

/**
 * What a newly opened shard picks up (design §4, step 4): invokes in flight run again under the same key, actions
 * that were not acknowledged are redone, overdue timers fire, unapplied outbox rows are published.
 */
export async function resume(
  ring: Ring,
  shard: Shard,
  recovered: Recovered,
  kept: Map<string, Invocation>,
): Promise<void> {
  const ours = (row: { shard: number }) => row.shard === shard.number;
  for (const row of recovered.actors.filter(ours)) {
    const resident = shard.rehydrate(row);
    if (!resident) continue;
    shard.adopt(resident);
    if (row.actedSeq < row.seq) await redoActions(ring, shard, resident, row);
    if (shard.closed) return;
    for (const [invokeId, seq] of Object.entries(resident.live?.started ?? {}))
      resumeInvoke(ring, shard, resident, invokeId, seq, recovered.at, kept);
  }
  for (const invocation of kept.values()) invocation.abort();
  for (const timer of recovered.timers.filter(ours)) ring.timers.add(timer);
  ring.outbox.relay(recovered.outbox.filter(ours));
}

function resumeInvoke(
  ring: Ring,
  shard: Shard,
  resident: Resident,
  invokeId: string,
  seq: number,
  databaseTime: number,
  kept: Map<string, Invocation>,
): void {
  const key = idempotencyKey(resident.address, invokeId, seq);
  const running = kept.get(key);
  if (running) {
    kept.delete(key);
    keepAttempt(ring, shard, resident, invokeId, seq, running);
    return;
  }
  const retry = resident.retries[invokeId];
  const delayMs = retry ? Math.max(0, retry.nextAt - databaseTime) : 0;
  ring.load.invokesResumed++;
  startAttempt(ring, shard, resident, invokeId, retry?.attempt ?? 1, delayMs);
}

/** The history tells what each transition had to do: the same snapshot and event give the same actions (P1). */
async function redoActions(
  ring: Ring,
  shard: Shard,
  resident: Resident,
  row: StoredActor,
): Promise<void> {
  const rows = await ring.store.transitions(resident.address, Math.max(1, row.actedSeq), REDO_MAX);
  const bySeq = new Map(rows.map((transition) => [transition.seq, transition]));
  const pending = rows.filter(({ seq, actions }) => seq > row.actedSeq && actions > 0);
  for (const { seq } of pending) resident.unacted.push(seq);
  for (const transition of pending) {
    const previous = bySeq.get(transition.seq - 1);
    const { type, scope } = resident;
    const step = stepAgain(type, scope, transition, previous?.snapshot, ring.limits);
    const actions = step.effects.filter((effect) => effect.kind === 'action');
    runActions(ring, shard, resident, transition.seq, actions);
  }
}

const REDO_MAX = 10_000;
