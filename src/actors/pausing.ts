import type { ErrorCode } from '../errors.ts';
import { type Address, addressKey, type StoredActor } from '../store/store.ts';
import { endAttempt } from './attempts.ts';
import type { Batch } from './batch.ts';
import { isChildRow, rootOf } from './kin.ts';
import { Resident } from './resident.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';

/**
 * Actors that are paused (docs/adr/0014).
 *
 *  W1  From the commit that pauses an actor to the opening of its shard after the commit that resumes it, nothing is
 *      applied to its family but what ends it, and nothing is started for it.
 *  W2  What comes for it from the log is parked. What runs for it is aborted, and what that still says is dropped: it runs
 *      again, as after a takeover.
 *  W3  It goes on by the one way in which anything is picked up: its shard is opened again.
 */

const keyOf = (actor: Resident | StoredActor): string =>
  actor instanceof Resident ? actor.rootKey : addressKey(rootOf(actor));

/** Whether the actor is paused, by the last word of the log. */
export const isPaused = (shard: Shard, actor: Resident | StoredActor): boolean =>
  shard.parking.told(keyOf(actor)) ??
  (actor instanceof Resident ? actor.head.paused === true : actor.paused);

/** Whether what comes for the actor has to wait: also of one that was resumed, until its shard has been opened again. */
export const holdsBack = (shard: Shard, actor: Resident | StoredActor): boolean =>
  shard.parking.told(keyOf(actor)) !== undefined ||
  (actor instanceof Resident ? actor.isPaused : actor.paused);

/** Why it cannot be paused, or resumed. */
export function pauseRefusal(
  shard: Shard,
  address: Address,
  actor: Resident | StoredActor,
  paused: boolean,
): [reason: ErrorCode, detail: string] | undefined {
  const name = addressKey(address);
  if (isChildRow(address)) {
    const root = addressKey(rootOf(address));
    return [
      'not_a_root',
      `${name} is part of a family; pause or resume ${root}, and all of it is.`,
    ];
  }
  if (isPaused(shard, actor) !== paused) return undefined;
  return paused
    ? ['already_paused', `${name} is paused already.`]
    : ['not_paused', `${name} is not paused.`];
}

/** Pauses or resumes a root. One that is not in memory, since this node cannot open it or need not, keeps the row it has. */
export function setPaused(
  ring: Ring,
  shard: Shard,
  batch: Batch,
  actor: Resident | StoredActor,
  paused: boolean,
): void {
  const { parking } = shard;
  const key = keyOf(actor);
  const isHere = actor instanceof Resident;
  if (isHere) {
    actor.paused = paused;
    batch.row(actor);
  } else batch.pause(actor, paused);
  parking.pause(key, paused, isHere);
  if (!paused) batch.afterwards.push(() => ring.resumed(shard.number));
  else if (isHere) batch.afterwards.push(() => endAll(ring, actor));
}

/** A paused actor has ended: what waits for it becomes what it becomes for any that has ended, and its last actions are redone. */
export function letGo(ring: Ring, shard: Shard, batch: Batch, resident: Resident): void {
  const { parking } = shard;
  const { rootKey } = resident;
  if (!parking.isBehind(rootKey, false) && !resident.missed) return;
  parking.pause(rootKey, false, false);
  batch.afterwards.push(() => ring.resumed(shard.number));
}

function endAll(ring: Ring, root: Resident): void {
  if (!root.paused) return;
  for (const member of root.members())
    for (const invokeId of [...member.invocations.keys()]) endAttempt(ring, member, invokeId, true);
}
