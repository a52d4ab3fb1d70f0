import type { Chart, ChartState } from '../actors/chart.ts';
import { PerdureError } from '../errors.ts';
import type { ReadStore } from '../store/read.ts';
import type { ActorSearch, MachineRow } from '../store/search.ts';

/** A version that a node has recorded. */
type Recorded = Omit<MachineRow, 'definition'>;

type Known = Pick<ReadStore, 'machines' | 'machine' | 'searchActors' | 'nodes'>;

/** More names than this help nobody: in words, and as data. */
const NAMED_MAX = 20;
const ALLOWED_MAX = 200;

/** What a version's chart says of how its actors can be found. */
interface Marked {
  recordedAt: string;
  fields: readonly string[];
  /** Dotted paths of the states of its own machine, and of those below it. */
  states: readonly string[];
  statesBelow: readonly string[];
  /** Of states of all its machines. */
  tags: readonly string[];
}

/**
 * The words of a search: which types, versions, states, tags and nodes there are, and by which fields of their input actors can be found: of all versions
 * that are recorded, since older actors keep the fields they were started with. What was never recorded is not refused.
 */
export class Vocabulary {
  readonly #store: Known;
  /** A version's chart stays as it is until it is recorded anew. */
  readonly #known = new Map<string, Marked>();

  constructor(store: Known) {
    this.#store = store;
  }

  /**
   * The search as the store understands it: a node by its whole id, also when its name or how its id begins was given.
   * Whoever asks for something that is not there would be told that there are no such actors, and believe it. A
   * node's whole id is never refused: one that was stopped is forgotten, and whoever looked at its actors sees them leave.
   * @throws PerdureError `bad_options` with what there is
   */
  async understand(search: ActorSearch): Promise<ActorSearch> {
    await this.#assertFindable(search);
    const { node } = search;
    return node === undefined ? search : { ...search, node: await this.#nodeId(node) };
  }

  async #nodeId(given: string): Promise<string> {
    if (NODE_ID.test(given)) return given.toLowerCase();
    if (given === '') throw new PerdureError('bad_options', 'node is empty; leave it out for any.');
    const nodes = await this.#store.nodes();
    const begins = given.length >= BEGINNING_MIN ? given : undefined;
    const meant = nodes.filter(
      ({ node_id, name }) => name === given || (begins !== undefined && node_id.startsWith(begins)),
    );
    // Those that have gone by a name before own nothing any more.
    const live = meant.filter((node) => node.live);
    const [only, another] = live.length > 0 ? live : meant.slice(0, 1);
    if (only && !another) return only.node_id;
    if (another)
      throw new PerdureError(
        'bad_options',
        `There are several nodes ${given.slice(0, 64)}: ${listed(live.map(({ name, node_id }) => `${name} (${node_id})`))}.`,
        { allowed: live.map(({ node_id }) => node_id).slice(0, ALLOWED_MAX) },
      );
    const there = nodes.filter((node) => node.live);
    const names = [...new Set(there.map(({ name }) => name))].sort();
    throw refusal(`No node has the name or id ${given.slice(0, 128)}`, names);
  }

  async #assertFindable(search: ActorSearch): Promise<void> {
    const { type, version, state, tag, fields = {} } = search;
    const names = Object.keys(fields);
    const asked = [type, version, state, tag, ...names];
    if (asked.every((one) => one === undefined)) return;
    const all = await this.#store.machines();
    const rows = all.filter((row) => type === undefined || row.type === type);
    const strange =
      (type === undefined ? undefined : await this.#missing(type, all)) ??
      (await this.#strangeVersion(search, rows)) ??
      (await this.#strangeState(search, rows)) ??
      (await this.#strangeTag(search, rows));
    if (strange) throw strange;
    if (names.length === 0) return;
    const marked = await this.#gathered(rows, (one) => one.fields);
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
      { allowed: marked },
    );
  }

  /** What to say of a type that nobody has ever seen; undefined: it is there, or there is none at all yet. */
  async missing(type: string): Promise<PerdureError | undefined> {
    return this.#missing(type, await this.#store.machines());
  }

  async #missing(type: string, rows: readonly Recorded[]): Promise<PerdureError | undefined> {
    const types = [...new Set(rows.map((row) => row.type))].sort();
    if (types.length === 0 || types.includes(type)) return undefined;
    // Nodes of earlier releases record no machines, but they have actors.
    if (await this.#mayFind({ type, children: 'all' })) return undefined;
    return refusal(`There is no actor type ${type.slice(0, 128)}`, types);
  }

  /** Whether there may be an actor like that: of a version that was recorded anew, or never, one may be where no chart is. */
  async #mayFind(search: ActorSearch): Promise<boolean> {
    const { actors, next } = await this.#store.searchActors(search, { limit: 1 });
    return actors.length > 0 || next !== null;
  }

  async #strangeVersion(search: ActorSearch, rows: readonly Recorded[]) {
    const { type, version } = search;
    if (version === undefined) return undefined;
    const versions = [...new Set(rows.map((row) => row.version))].sort();
    if (versions.length === 0 || versions.includes(version)) return undefined;
    if (await this.#mayFind(alone(search, { version }))) return undefined;
    const who = type === undefined ? 'No type has' : `${type} has no`;
    return refusal(`${who} version ${version.slice(0, 128)}`, versions);
  }

  async #strangeState(search: ActorSearch, rows: readonly Recorded[]) {
    const { type, state, children } = search;
    if (state === undefined) return undefined;
    const own = await this.#gathered(rows, (marked) => marked.states);
    if (!own || own.includes(state)) return undefined;
    const below = (await this.#gathered(rows, (marked) => marked.statesBelow)) ?? [];
    const isBelow = below.includes(state);
    if ((children && isBelow) || (await this.#mayFind(alone(search, { state })))) return undefined;
    const who = type === undefined ? 'No actor has a' : `${type} has no`;
    const but = isBelow ? ' of its own; one of a machine below it is found with children' : '';
    const states = children ? [...new Set([...own, ...below])].sort() : own;
    return refusal(`${who} state ${state.slice(0, 128)}${but}`, states);
  }

  async #strangeTag(search: ActorSearch, rows: readonly Recorded[]) {
    const { type, tag } = search;
    if (tag === undefined) return undefined;
    const tags = await this.#gathered(rows, (marked) => marked.tags);
    if (!tags || tags.includes(tag) || (await this.#mayFind(alone(search, { tag }))))
      return undefined;
    return refusal(
      `No state${type === undefined ? '' : ` of ${type}`} has the tag ${tag.slice(0, 128)}`,
      tags,
    );
  }

  /** Of all versions, sorted. Undefined: none is recorded. */
  async #gathered(
    rows: readonly Recorded[],
    what: (marked: Marked) => readonly string[],
  ): Promise<string[] | undefined> {
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
    const [own = [], ...below] = machines.map(({ root }) => root.states);
    const marked = {
      recordedAt,
      fields: searchable,
      states: own.flatMap((state) => pathsOf(state)),
      statesBelow: below.flat().flatMap((state) => pathsOf(state)),
      tags: machines.flatMap(({ root }) => tagsOf(root)),
    };
    this.#known.set(key, marked);
    return marked;
  }
}

/** A state and those below it. */
const pathsOf = ({ key, states }: ChartState, above = ''): string[] => [
  `${above}${key}`,
  ...states.flatMap((state) => pathsOf(state, `${above}${key}.`)),
];

const tagsOf = ({ tags, states }: ChartState): string[] => [...tags, ...states.flatMap(tagsOf)];

/** Whatever else is asked of an actor. */
const alone = ({ type, children }: ActorSearch, like: ActorSearch): ActorSearch => ({
  ...like,
  ...(type !== undefined && { type }),
  ...(children !== undefined && { children }),
});

/** With less of an id somebody who means a name would get another node. */
const BEGINNING_MIN = 4;

/** As a node makes it up when it starts. */
const NODE_ID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i;

const refusal = (what: string, allowed: readonly string[]): PerdureError =>
  new PerdureError(
    'bad_options',
    `${what}; there ${allowed.length === 1 ? 'is' : 'are'} ${listed(allowed) || 'none'}.`,
    { allowed: allowed.slice(0, ALLOWED_MAX) },
  );

const listed = (names: readonly string[]): string =>
  names.length > NAMED_MAX
    ? `${names.slice(0, NAMED_MAX).join(', ')} and ${names.length - NAMED_MAX} more`
    : names.join(', ');
