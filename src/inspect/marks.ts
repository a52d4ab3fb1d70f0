import type { Chart } from '../actors/chart.ts';
import { PerdureError } from '../errors.ts';
import type { ActorSearch, SearchStore } from '../store/search.ts';

type Machines = Pick<SearchStore, 'machines' | 'machine' | 'searchActors'>;

/** More names than this help nobody. */
const NAMED_MAX = 20;

/**
 * Which types there are, and by which fields of their input their actors can be found: of all versions that are
 * recorded, since older actors keep the fields they were started with. What was never recorded is not refused.
 */
export class Marks {
  readonly #store: Machines;
  /** A version's fields stay as they are until it is recorded anew. */
  readonly #known = new Map<string, { recordedAt: string; fields: readonly string[] }>();

  constructor(store: Machines) {
    this.#store = store;
  }

  /**
   * Whoever asks for a type or by a field that is not there would be told that there are no such actors, and believe it.
   * @throws PerdureError `bad_options` with what there is
   */
  async assertFindable({ type, fields = {} }: ActorSearch): Promise<void> {
    const missing = type === undefined ? undefined : await this.missing(type);
    if (missing) throw new PerdureError('bad_options', missing);
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
    const { actors } = await this.#store.searchActors({ type, children: 'all' }, { limit: 1 });
    if (actors.length > 0) return undefined;
    return `There is no actor type ${type.slice(0, 128)}; there ${types.length === 1 ? 'is' : 'are'} ${listed(types)}.`;
  }

  /** Undefined: no version is recorded. */
  async #fieldsOf(type: string | undefined): Promise<string[] | undefined> {
    const rows = (await this.#store.machines()).filter(
      (row) => type === undefined || row.type === type,
    );
    if (rows.length === 0) return undefined;
    const found = new Set<string>();
    for (const { type: of, version, recorded_at } of rows)
      for (const field of await this.#marked(of, version, recorded_at)) found.add(field);
    return [...found].sort();
  }

  async #marked(type: string, version: string, recordedAt: string): Promise<readonly string[]> {
    const key = `${type}@${version}`;
    const known = this.#known.get(key);
    if (known?.recordedAt === recordedAt) return known.fields;
    const row = await this.#store.machine(type, version);
    const { searchable = [] } = row ? (JSON.parse(row.definition) as Partial<Chart>) : {};
    this.#known.set(key, { recordedAt, fields: searchable });
    return searchable;
  }
}

const listed = (names: readonly string[]): string =>
  names.length > NAMED_MAX
    ? `${names.slice(0, NAMED_MAX).join(', ')} and ${names.length - NAMED_MAX} more`
    : names.join(', ');
