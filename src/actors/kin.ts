import { TOKEN } from '../bus/subjects.ts';
import type { Address } from '../store/store.ts';

/**
 * Names of a family's rows. A machine that another one invokes or spawns has a row of its own, in its parent's shard:
 * `<parent>.<child>-<seq>`, where `seq` is the parent's transition that started it. No token has a dot, so whom messages
 * from outside reach, the root, is what stands before the first one.
 */
export function childRow(parent: Address, childId: string, seq: number): Address {
  return { type: parent.type, id: `${parent.id}.${written(childId)}-${seq}` };
}

export const isChildRow = ({ id }: Address): boolean => id.includes('.');

/** The actor at the head of the family; the same object when it is the one asked about. */
export function rootOf(address: Address): Address {
  const dot = address.id.indexOf('.');
  return dot < 0 ? address : { type: address.type, id: address.id.slice(0, dot) };
}

/** Where a child's row hangs, and the id it has there; undefined for a root. */
export function parentOf({ type, id }: Address): { parent: Address; childId: string } | undefined {
  const dot = id.lastIndexOf('.');
  if (dot < 0) return undefined;
  const name = id.slice(dot + 1, id.lastIndexOf('-'));
  return { parent: { type, id: id.slice(0, dot) }, childId: read(name) };
}

/** Whether `to` is of the family of `of`. */
export const isKin = (to: Address, of: Address): boolean =>
  to.type === of.type && isPossible(to) && rootOf(to).id === rootOf(of).id;

/** Characters of a row's id, at most: a family may be some levels deep. It is part of keys in Postgres. */
export const ROW_ID_MAX = 1_024;

/** Whether an actor can have that address: one that is started by this name, or a machine of its family. */
export const isPossible = ({ type, id }: Address): boolean =>
  TOKEN.test(type) && (TOKEN.test(id) || (id.length <= ROW_ID_MAX && CHILD_ROW.test(id)));

const CHILD_ROW = /^[A-Za-z0-9_-]{1,128}(?:\.[A-Za-z0-9_:~-]*-\d+)+$/;

/** XState makes up ids like `0.order.paying`: their dots become colons, what else no token has its code. */
const written = (childId: string): string =>
  childId.replaceAll(/[^A-Za-z0-9_-]/g, (character) =>
    character === '.' ? ':' : `~${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

const read = (name: string): string =>
  name.replaceAll(/:|~([0-9a-f]{4})/g, (_, code?: string) =>
    code === undefined ? '.' : String.fromCharCode(Number.parseInt(code, 16)),
  );
