import type { ActorSummary } from './read.ts';
import type { Address } from './store.ts';

/** Finding actors and counting them, for the inspector. */
export interface SearchStore {
  /** In the order of type and id, so that a page goes on behind the last one of the page before. */
  searchActors(search: ActorSearch, page: SearchPage): Promise<Found>;
  /** How many there are; stops counting at `limit`. */
  countActors(search: ActorSearch, page: SearchPage): Promise<Counted>;
  /** How many actors are where. Looks at every actor: ask seldom. */
  population(type?: string): Promise<PopulationRow[]>;
  /** The machine of one version as a node has recorded it. */
  machine(type: string, version: string): Promise<MachineRow | undefined>;
  /** Versions whose machines are recorded, the last recorded first. */
  machines(): Promise<Omit<MachineRow, 'definition'>[]>;
  /** Which machine of its type an actor runs: one `src` for each level below the root. */
  pathOf(type: string, id: string): Promise<string[]>;
}

/**
 * What one question may cost. No index leads to a state, a tag or a part of an id: such a search looks at actors one by
 * one, at as many as there is time for, and says how far it has got.
 */
export interface SearchPage {
  /** Behind this one: where the question before has stopped, its `next`. */
  after?: Address | null | undefined;
  /** Stops when it has found so many. */
  limit: number;
  /** Begins to look at no more actors after this, ms. Default `SEARCH_MS`. */
  withinMs?: number;
  /** Looks at no more than so many actors. Default: as many as there is time for. */
  lookAt?: number;
}

/** Default of `SearchPage.withinMs`: what is left of 200 ms after it is for the way there and back. */
export const SEARCH_MS = 80;

/** How far a search has got. */
export interface Reach {
  /** Actors it has looked at. */
  searched: number;
  /** Where to go on; null: there are no further actors to look at. */
  next: Address | null;
}

export interface Found extends Reach {
  actors: ActorSummary[];
}

export interface Counted extends Reach {
  count: number;
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
  paused?: boolean;
  /** Fields of the input that the type marks as searchable, and their values as text; all of them must be so. */
  fields?: Readonly<Record<string, string>>;
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
