import type { AnyMachineSnapshot, EventObject } from 'xstate';
import { type Address, addressKey, type StoredActor } from '../store/store.ts';
import type { Child } from './children.ts';
import type { ActorType } from './define.ts';
import { machinesIn, rehydrate } from './envelope.ts';
import { setSnapshot } from './inside.ts';
import { childRow } from './kin.ts';
import { Resident } from './resident.ts';
import { createStepScope } from './scope.ts';
import { childType } from './standIns.ts';

/** Rows that were loaded, by `type/id`. */
export type Rows = ReadonlyMap<string, StoredActor>;

/** Rows of a row's machine children, as far as its snapshot still has them. */
export function childRowsOf(
  { type, id, snapshot }: StoredActor,
  machines: Readonly<Record<string, number>> = machinesIn(snapshot),
): Address[] {
  return Object.entries(machines).map(([childId, seq]) => childRow({ type, id }, childId, seq));
}

/** A row and those of all machines below it. */
export function familyOf(row: StoredActor | undefined, rows: Rows): StoredActor[] {
  if (!row) return [];
  const below = childRowsOf(row).flatMap((address) =>
    familyOf(rows.get(addressKey(address)), rows),
  );
  return [row, ...below];
}

/** What a row shows of an actor. */
export type RowText = Pick<StoredActor, 'type' | 'id' | 'seq' | 'snapshot'>;

/** The snapshot of a row as XState knows it, with those of its machine children as far as `find` knows their rows. */
export function snapshotOf(
  type: ActorType,
  row: RowText,
  find: (address: Address) => RowText | undefined,
): AnyMachineSnapshot {
  const { id, seq } = row;
  const address = { type: row.type, id };
  const scope = createStepScope(address);
  const { snapshot, machines } = rehydrate(type, scope, seq, row.snapshot);
  for (const [childId, startedBy] of Object.entries(machines)) {
    const ref = snapshot.children[childId] as (Child & { src: string }) | undefined;
    const child = ref && childType(type, ref.src);
    const below = child && find(childRow(address, childId, startedBy));
    if (below) setSnapshot(ref, snapshotOf(child, below, find));
  }
  return snapshot;
}

/** The type of a machine below the root's; undefined when the root's machine does not lead there any more. */
export function typeAt(root: ActorType, path: readonly string[]): ActorType | undefined {
  let type: ActorType | undefined = root;
  for (const src of path) type = type && childType(type, src);
  return type;
}

/**
 * Brings the machine children of an actor into memory, and theirs. Of those that have ended only the snapshot is needed, unless
 * something is left to do for them.
 * @throws Error when a machine cannot take its stored snapshot, or a row is missing
 */
export function rehydrateChildren(
  parent: Resident,
  rows: Rows,
  deliver: (resident: Resident, event: EventObject) => void,
): void {
  const { live } = parent;
  if (!live) return;
  for (const [childId, seq] of Object.entries(live.machines)) {
    const address = childRow(parent.address, childId, seq);
    const row = rows.get(addressKey(address));
    const ref = live.snapshot.children[childId] as (Child & { src: string }) | undefined;
    const type = ref && childType(parent.type, ref.src);
    if (!row || !ref || !type)
      throw new Error(`the row of its child ${addressKey(address)} cannot be opened`);
    if (row.status === 'error') {
      setSnapshot(ref, { status: 'error', error: JSON.parse(row.error ?? 'null') });
      continue;
    }
    const child = Resident.rehydrated(row, type, deliver, parent);
    if (child.live) setSnapshot(ref, child.live.snapshot);
    if (row.status !== 'active') continue;
    child.joins(parent, childId, ref);
    rehydrateChildren(child, rows, deliver);
  }
}

/** When a member is in quarantine, so is the whole family: none of it can be told anything without the others. */
export function quarantineAll(head: Resident, row: StoredActor, rows: Rows): void {
  const members = [...head.members()];
  const held = members.find(({ quarantined }) => quarantined)?.quarantined;
  if (!held) return;
  for (const member of members)
    member.quarantined ??= {
      ...(rows.get(member.key) ?? row),
      quarantined: true,
      crashes: held.crashes,
    };
}
