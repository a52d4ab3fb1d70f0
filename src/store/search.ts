import type { ActorSummary } from './read.ts';
import type { Address } from './store.ts';

/** Finding actors and counting them, for the inspector. */
export interface SearchStore {
  /** In the order of type and id, so that a page goes on behind the last one of the page before. */
  searchActors(search: ActorSearch, page: SearchPage): Promise<ActorSummary[]>;
  /** How many there are; stops counting at `max`. */
  countActors(search: ActorSearch, max: number): Promise<number>;
  /** How many actors are where. Looks at every actor: ask seldom. */
  population(type?: string): Promise<PopulationRow[]>;
  /** The machine of one version as a node has recorded it. */
  machine(type: string, version: string): Promise<MachineRow | undefined>;
  /** Versions whose machines are recorded, the last recorded first. */
  machines(): Promise<Omit<MachineRow, 'definition'>[]>;
  /** Which machine of its type an actor runs: one `src` for each level below the root. */
  pathOf(type: string, id: string): Promise<string[]>;
}

export interface SearchPage {
  after?: Address;
  limit: number;
  /** Many match, as far as is known: then the first few are found soonest in the order of the key. */
  dense?: boolean;
}

export interface ActorSearch {
  type?: string;
  status?: string;
  /** A state value or a prefix of its dotted path: `paying`, `open.waiting`. */
  state?: string;
  tag?: string;
  version?: string;
  /** Node that owns the shard: its id. */
  node?: string;
  /** Somewhere in the id. */
  text?: string;
  /** No transition for so long, ms. */
  idleMs?: number;
  quarantined?: boolean;
  /** Also machines that other machines have invoked or spawned, or those of one root. */
  children?: 'all' | { of: string };
}

export interface PopulationRow {
  type: string;
  version: string;
  status: string;
  /** XState state value. */
  state: unknown;
  /** Of a machine below the root: how it is found. */
  path: string[];
  count: number;
  /** When the one that has not moved for the longest time did. */
  oldest_at: string;
  /** Since about when half of them have not moved. */
  median_at: string;
}

export interface MachineRow {
  type: string;
  version: string;
  recorded_at: string;
  /** JSON text (`actors/chart`). */
  definition: string;
}
