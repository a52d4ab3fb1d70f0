import { PerdureError } from '../errors.ts';
import {
  type Address,
  addressKey,
  type Recovered,
  type StoredActor,
  type StoredTimer,
  SUSPECT_AFTER,
} from '../store/store.ts';
import { keepAttempt, startAttempt } from './attempts.ts';
import { type Act, idempotencyKey, isAct } from './effects.ts';
import { abortAll } from './handOver.ts';
import type { Invocation } from './invocation.ts';
import { isChildRow, rootOf } from './kin.ts';
import { childRowsOf, type Rows } from './kinRows.ts';
import { runActs } from './perform.ts';
import { stepAgain } from './replay.ts';
import type { Resident } from './resident.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';
import { tryActor, tryMigration } from './trials.ts';

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
  const rows = recovered.actors.filter(ours);
  const kin = await loadKin(ring, rows);
  if (shard.closed) return;
  for (const row of rows) {
    const suspect = row.crashes >= SUSPECT_AFTER;
    const moves = ring.registry.version(row.type, row.version) === undefined;
    if (suspect && moves && ring.others.areNotNeededFor(row.type, row.version)) {
      tryMigration(ring, shard, row);
      continue;
    }
    const resident = bring(shard, row, kin);
    if (!resident || resident.head.quarantined) continue;
    // Migrated: what it waits for begins once that is committed.
    if (resident.live?.seq !== row.seq) continue;
    const due = recovered.timers.filter(
      ({ type, id, fireAt }) => type === row.type && id === row.id && fireAt <= recovered.at,
    );
    const start = () => resumeActor(ring, shard, resident, row, recovered.at, kept, due);
    if (!suspect || runsHere(resident, kept)) await start();
    else tryActor(ring, shard, resident, row, start);
    if (shard.closed) return;
  }
  abortAll(kept);
  kept.clear();
  for (const timer of recovered.timers.filter(ours)) ring.timers.add(timer);
  ring.outbox.resume(recovered.outbox.filter(ours));
  shard.offer();
}

/** Whole families of the rows that are part of one. */
async function loadKin({ loader }: Ring, rows: readonly StoredActor[]): Promise<Rows> {
  const roots = new Map<string, Address>();
  for (const row of rows)
    if (isChildRow(row) || childRowsOf(row).length > 0) {
      const root = rootOf(row);
      roots.set(addressKey(root), { type: root.type, id: root.id });
    }
  return roots.size === 0 ? new Map() : loader.load([...roots.values()]);
}

/** The actor in memory, with its family. A child machine that its parent has no more stands alone: it has actions to do. */
function bring(shard: Shard, row: StoredActor, kin: Rows): Resident | undefined {
  const key = addressKey(row);
  const { residents } = shard;
  const known = residents.get(key);
  if (known) return known;
  const root = kin.get(addressKey(rootOf(row)));
  if (isChildRow(row) && root && (root.status === 'active' || root.busy))
    adoptAll(shard, residents.get(addressKey(root)) ?? shard.rehydrate(root, kin));
  if (!residents.has(key) && (!isChildRow(row) || row.status !== 'active'))
    adoptAll(shard, shard.rehydrate(row, kin));
  return residents.get(key);
}

function adoptAll(shard: Shard, brought: Resident | undefined): void {
  for (const member of brought?.members() ?? []) shard.adopt(member);
}

/** What a migrated actor has kept of its old life, by invoke id. */
export function resumeKept(
  ring: Ring,
  shard: Shard,
  resident: Resident,
  kept: readonly [invokeId: string, seq: number][],
): void {
  const now = ring.timers.databaseTime();
  for (const [invokeId, seq] of kept)
    if (resident.live?.started[invokeId] === seq && !resident.invocations.has(invokeId))
      resumeInvoke(ring, shard, resident, invokeId, seq, now, new Map());
}

/** What a quarantine held back: what runs for the actor, and its timers, which came due unheard. */
export async function resumeReleased(
  ring: Ring,
  shard: Shard,
  resident: Resident,
  row: StoredActor,
): Promise<void> {
  const { at, timers } = await ring.store.nearTimers([shard.number], ring.limits.timerHorizonMs);
  await resumeActor(ring, shard, resident, row, at, new Map());
  if (!shard.closed) for (const timer of timers) ring.timers.add(timer);
}

/** Starts what runs for an actor, as its row says. */
async function resumeActor(
  ring: Ring,
  shard: Shard,
  resident: Resident,
  row: StoredActor,
  databaseTime: number,
  kept: Map<string, Invocation>,
  due: readonly StoredTimer[] = [],
): Promise<void> {
  const undone = row.actedSeq < row.seq ? await toRedo(ring, shard, resident, row) : [];
  if (shard.closed || resident.isPaused) return;
  const start = () => {
    // What a newer step wants begins when that is committed.
    for (const [invokeId, seq] of Object.entries(resident.live?.started ?? {}))
      if (seq <= row.seq && !resident.invocations.has(invokeId))
        resumeInvoke(ring, shard, resident, invokeId, seq, databaseTime, kept);
  };
  const begin = () => {
    // As in the life before: what the actor has sent to itself goes ahead of what its children say as they begin.
    for (const { type, id, timerId, armedSeq, event } of due)
      shard.post({ kind: 'timer', address: { type, id }, timerId, armedSeq, event });
    start();
  };
  if (undone[0]?.seq === 1) start();
  for (const { seq, acts } of undone)
    runActs(ring, shard, resident, seq, acts, (tell) => {
      begin();
      for (const act of acts) if (act.kind === 'tell') tell(act);
    });
  begin();
}

function runsHere({ address, live }: Resident, kept: ReadonlyMap<string, Invocation>): boolean {
  return Object.entries(live?.started ?? {}).some(([invokeId, seq]) =>
    kept.has(idempotencyKey(address, invokeId, seq)),
  );
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
  const retry = resident.retries[invokeId];
  const attempt = retry?.attempt ?? 1;
  const running = kept.get(key);
  // One that is recorded to have failed has another one behind it.
  if (running?.attempt === attempt) {
    kept.delete(key);
    keepAttempt(ring, shard, resident, invokeId, seq, running);
    return;
  }
  const delayMs = retry ? Math.max(0, retry.nextAt - databaseTime) : 0;
  ring.load.invokesResumed++;
  startAttempt(ring, shard, resident, invokeId, attempt, delayMs, resident.trace, true);
}

/** Actions of a history this node cannot open are left to one that can: they stay unacknowledged. */
async function toRedo(ring: Ring, shard: Shard, resident: Resident, row: StoredActor) {
  try {
    return await unacknowledged(ring, resident, row);
  } catch (error) {
    if (!(error instanceof PerdureError) || error.code !== 'codec_failed') throw error;
    if (resident.unacted.length === 0) resident.owes(row.actedSeq + 1);
    ring.log.error(
      { actor: resident.key, ...shard.place, seq: row.seq, error: error.message },
      'actor: actions cannot be redone here',
    );
    return [];
  }
}

/** The history tells what each transition had to do: the same snapshot and event give the same actions (P1). */
async function unacknowledged(
  ring: Ring,
  resident: Resident,
  row: StoredActor,
): Promise<{ seq: number; acts: Act[] }[]> {
  const rows = await ring.store.transitions(resident.address, Math.max(1, row.actedSeq), REDO_MAX);
  const bySeq = new Map(rows.map((transition) => [transition.seq, transition]));
  const pending = rows.filter(({ seq, actions }) => seq > row.actedSeq && actions > 0);
  for (const { seq } of pending) resident.owes(seq);
  return pending.map((transition) => {
    const previous = bySeq.get(transition.seq - 1);
    const { type, scope } = resident;
    const step = stepAgain(type, scope, transition, previous?.snapshot, ring.limits);
    return { seq: transition.seq, acts: step.effects.filter(isAct) };
  });
}

const REDO_MAX = 10_000;
