import type { Chart } from '../actors/chart.ts';
import { machineAt } from '../actors/chart.ts';
import { PerdureError } from '../errors.ts';
import type { SearchStore } from '../store/search.ts';
import { type Layout, layOut } from './layout.ts';

/** Charts kept in memory, at most. */
const KEPT_MAX = 200;
/** Types whose newest machine is drawn before anybody asks: a tenth of a second of a core each. */
const AHEAD_MAX = 20;

interface Known {
  recordedAt: string;
  chart: Chart;
  layouts: Map<string, Promise<Layout>>;
}

/** The machines of every version, as nodes have recorded them, and their drawings: each is laid out once. */
export class Charts {
  readonly #store: SearchStore;
  readonly #known = new Map<string, Known>();

  constructor(store: SearchStore) {
    this.#store = store;
  }

  /** Undefined when no node has recorded it: nodes of earlier releases do not. */
  async find(type: string, version: string): Promise<Chart | undefined> {
    return (await this.#load(type, version))?.chart;
  }

  /** @throws PerdureError `not_found` */
  async chart(type: string, version: string): Promise<{ chart: Chart; recorded_at: string }> {
    const { chart, recordedAt } = await this.#loaded(type, version);
    return { chart, recorded_at: recordedAt };
  }

  /** The drawing of one of its machines. @throws PerdureError `not_found` */
  async layout(type: string, version: string, path: readonly string[]): Promise<Layout> {
    const known = await this.#loaded(type, version);
    const machine = machineAt(known.chart, path);
    if (!machine)
      throw new PerdureError(
        'not_found',
        `${type} version ${version} has no machine at ${path.join('/') || 'its root'}.`,
      );
    const key = path.join('/');
    const layout = known.layouts.get(key) ?? layOut(machine);
    known.layouts.set(key, layout);
    layout.catch(() => known.layouts.delete(key));
    return layout;
  }

  /** Starts to draw what will be asked for next; who asks for it hears when that fails. */
  expect(type: string, version: string, path: readonly string[] = []): Promise<void> {
    return this.layout(type, version, path).then(
      () => {},
      () => {},
    );
  }

  /**
   * Draws the newest version of each type, as far as that is not done, one after another. Never throws: it is nobody's
   * question yet.
   */
  async drawAhead(): Promise<void> {
    const rows = await this.#store.machines().catch(() => []);
    const newest = [...new Map(rows.toReversed().map((row) => [row.type, row])).values()];
    for (const { type, version, recorded_at } of newest.slice(0, AHEAD_MAX)) {
      const known = this.#known.get(`${type}@${version}`);
      if (known?.recordedAt !== recorded_at || !known.layouts.has(''))
        await this.expect(type, version);
    }
  }

  async #loaded(type: string, version: string): Promise<Known> {
    const known = await this.#load(type, version);
    if (known) return known;
    throw new PerdureError(
      'not_found',
      `No node has recorded the machine of ${type} version ${version}; nodes do when they start.`,
    );
  }

  async #load(type: string, version: string): Promise<Known | undefined> {
    const row = await this.#store.machine(type, version);
    if (!row) return undefined;
    const key = `${type}@${version}`;
    const known = this.#known.get(key);
    if (known?.recordedAt === row.recorded_at) return known;
    if (this.#known.size >= KEPT_MAX) this.#known.clear();
    const chart = JSON.parse(row.definition) as Chart;
    const fresh = { recordedAt: row.recorded_at, chart, layouts: new Map() };
    this.#known.set(key, fresh);
    return fresh;
  }
}
