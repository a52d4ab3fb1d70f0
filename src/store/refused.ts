import type { ShardEpoch } from './sharing.ts';

/** The statement can never land: something in it is not as the tables need it. Whoever sends the same again is refused again. */
export class StoreRefused extends Error {
  override name = 'StoreRefused';
}

/** A shard that is opened again by its owner. */
export interface Reopened extends ShardEpoch {
  /** Its last commit was `StoreRefused`. */
  refused?: boolean;
}
