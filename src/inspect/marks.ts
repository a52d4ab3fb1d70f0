import type { Chart, ChartState } from '../actors/chart.ts';
import { PerdureError } from '../errors.ts';
import type { ActorSearch, SearchStore } from '../store/search.ts';

type Machines = Pick<SearchStore, 'machines' | 'machine' | 'searchActors'>;

/** More names than this help nobody. */
const NAMED_MAX = 20;

/** What a version's chart says of how its actors can be found. */
interface Marked {
  recordedAt: string;
  fields: readonly string[];
  /** Dotted paths of the states of all its machines. */
  states: readonly string[];
}

/**
 * Which types, versions and states there are, and by which fields of their input actors can be found: of all versions
 * that are recorded, since older actors keep the fields they were started with. What was never recorded is not refused.
 */
export class Marks {
  readonly #store: Machines;
  /** A version's chart stays as it is until it is recorded anew. */
  readonly #known = new Map<string, Marked>();

  constructor(store: Machines) {
    this.#store = store;
  }

  /**
   * Whoever asks for a type, a version, a state or by a field that is not there would be told that there are no such actors, and
   * believe it. Not for a node: one that has been stopped is gone, and whoever looked at its actors sees them leave.
   * @throws PerdureError `bad_options` with what there is
   */
  async assertFindable(search: ActorSearch): Promise<void> {
    const { type, fields = {} } = search;
    const missing = type === undefined ? undefined : await this.missing(type);
    if (missing) throw new PerdureError('bad_options', missing);
    const strange = (await this.#strangeVersion(search)) ?? (await this.#strangeState(search));
    if (strange) throw new PerdureError('bad_options', strange);
    const names = Object.keys(fields);
    if (names.length === 0) return;
    const marked = await this.#fieldsOf(type);
    // Of a type that no node has recorded nobody knows.
    if (!marked) return;
    const wrong = names.filter((name) => !marked.includes(name));
    if (wrong.length === 0) return;
    const refused = wrong.map((name) => name.slice(0, 64)).join(', ');
    const who = type === undefined ? 'No type marks any' : `${type} marks no`;
    const some =
      type === undefined ? `Types mark ${listed(marked)}` : `${type} marks ${listed(marked)}`;
    throw new PerdureError(
      'bad_options',
      marked.length === 0
        ? `${who} field of the input as searchable: nobody is found by ${refused}.`
        : `${some} as searchable; not ${refused}.`,
    );
  }

  /** What to say of a type that nobody has ever seen; undefined: it is there, or there is none at all yet. */
  async missing(type: string): Promise<string | undefined> {
    const types = [...new Set((await this.#store.machines()).map((row) => row.type))].sort();
    if (types.length === 0 || types.includes(type)) return undefined;
    // Nodes of earlier releases record no machines, but they have actors.
    if (await this.#mayFind(type, {})) return undefined;
    return `There is no actor type ${type.slice(0, 128)}; there ${listing(types)}.`;
  }

  /** Whether there may be an actor like that, whatever else is asked of it. */
  async #mayFind(type: string | undefined, like: ActorSearch): Promise<boolean> {
    const search = { ...like, ...(type !== undefined && { type }), children: 'all' as const };
    const { actors, next } = await this.#store.searchActors(search, { limit: 1 });
    return actors.length > 0 || next !== null;
  }

  async #strangeVersion({ type, version }: ActorSearch): Promise<string | undefined> {
    if (version === undefined) return undefined;
    const rows = await this.#rowsOf(type);
    const versions = [...new Set(rows.map((row) => row.version))].sort();
    if (versions.length === 0 || versions.includes(version)) return undefined;
    if (await this.#mayFind(type, { version })) return undefined;
    return `${type === undefined ? 'No type has' : `${type} has no`} version ${version.slice(0, 128)}; there ${listing(versions)}.`;
  }

  async #strangeState({ type, state }: ActorSearch): Promise<string | undefined> {
    if (state === undefined) return undefined;
    const states = await this.#gathered(type, (marked) => marked.states);
    if (!states || states.includes(state)) return undefined;
    // Of a version that was recorded anew, or never, an actor may be where no chart is.
    if (await this.#mayFind(type, { state })) return undefined;
    return `${type === undefined ? 'No machine has' : `${type} has no`} state ${state.slice(0, 128)}; there ${listing(states)}.`;
  }

  async #rowsOf(type: string | undefined) {
    const rows = await this.#store.machines();
    return rows.filter((row) => type === undefined || row.type === type);
  }

  #fieldsOf(type: string | undefined): Promise<string[] | undefined> {
    return this.#gathered(type, (marked) => marked.fields);
  }

  /** Of all versions, sorted. Undefined: none is recorded. */
  async #gathered(
    type: string | undefined,
    what: (marked: Marked) => readonly string[],
  ): Promise<string[] | undefined> {
    const rows = await this.#rowsOf(type);
    if (rows.length === 0) return undefined;
    const found = new Set<string>();
    for (const { type: of, version, recorded_at } of rows)
      for (const one of what(await this.#marked(of, version, recorded_at))) found.add(one);
    return [...found].sort();
  }

  async #marked(type: string, version: string, recordedAt: string): Promise<Marked> {
    const key = `${type}@${version}`;
    const known = this.#known.get(key);
    if (known?.recordedAt === recordedAt) return known;
    const row = await this.#store.machine(type, version);
    const { searchable = [], machines = [] } = row
      ? (JSON.parse(row.definition) as Partial<Chart>)
      : {};
    const states = machines.flatMap(({ root }) => root.states.flatMap((state) => pathsOf(state)));
    const marked = { recordedAt, fields: searchable, states };
    this.#known.set(key, marked);
    return marked;
  }
}

/** A state and those below it. */
const pathsOf = ({ key, states }: ChartState, above = ''): string[] => [
  `${above}${key}`,
  ...states.flatMap((state) => pathsOf(state, `${above}${key}.`)),
];

const listing = (names: readonly string[]): string =>
  `${names.length === 1 ? 'is' : 'are'} ${listed(names) || 'none'}`;

const listed = (names: readonly string[]): string =>
  names.length > NAMED_MAX
    ? `${names.slice(0, NAMED_MAX).join(', ')} and ${names.length - NAMED_MAX} more`
    : names.join(', ');
