import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Profile } from 'pprof-format';
import { namespace } from '../src/config.ts';
import { addProfile, type CpuProfile, type Frame, newRoot } from './cpuProfile.ts';
import { flameGraph } from './flame.ts';
import type { Setting } from './machine.ts';
import { NatsSampling } from './natsProfile.ts';
import { profileReport } from './profileReport.ts';
import type { Cpu, Stage } from './stage.ts';
import { addStatements, forgetStatements, type Statement, statementsOf } from './statements.ts';

/** What was seen while one workload ran, of all its rounds. */
export interface Seen {
  title: string;
  rounds: number;
  seconds: number;
  /** Jobs or events done in that time. */
  done: number;
  /** CPU-seconds by process. */
  cpu: Cpu;
  /** Of the node. */
  root: Frame;
  statements: Map<string, Statement>;
  nats: Profile[];
  /** Why there is none of nats-server. */
  noNats?: string;
}

/** While the clock of one measurement runs. */
interface Span {
  file: string;
  from: number;
  units: number;
  cpu: Cpu;
  nats: NatsSampling;
  end?: { at: number; done: number; cpu: Cpu; statements: Statement[]; schema: string };
}

const INTERVAL_US = 500;
/** The clock V8's samples are on, µs. */
const now = () => Number(process.hrtime.bigint() / 1_000n);

/**
 * Looks into the node, Postgres and NATS, but only while they are under the load a workload is about: starting up, which
 * takes longer than a short run, would be most of what is seen.
 */
export class Profiler {
  readonly #dir: string;
  readonly #seen = new Map<string, Seen>();
  #workers = 0;
  #file = '';
  #span: Span | undefined;

  /** @param dir for what the workers write */
  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Of the process of the next worker, which writes its profile when it ends. */
  nextWorker(): string[] {
    const name = `worker-${++this.#workers}.cpuprofile`;
    this.#file = join(this.#dir, name);
    const flags = { dir: this.#dir, name, interval: INTERVAL_US };
    return [
      '--cpu-prof',
      ...Object.entries(flags).map(([flag, value]) => `--cpu-prof-${flag}=${value}`),
    ];
  }

  /** The load begins, or the last worker that was started has taken it up. */
  async begin(stage: Stage): Promise<void> {
    await forgetStatements(urlOf(stage, 'postgres'), stage.place.name);
    const nats = new NatsSampling(urlOf(stage, 'nats'));
    this.#span = { file: this.#file, from: now(), units: stage.units(), cpu: stage.cpu(), nats };
  }

  /** The load is over. */
  async end(stage: Stage): Promise<void> {
    const span = this.#span;
    if (span === undefined) return;
    const [at, cpu, units] = [now(), stage.cpu(), stage.units() - span.units];
    void span.nats.end().catch(() => {});
    const { name } = stage.place;
    span.end = {
      at,
      cpu,
      done: units / stage.unitsEach,
      statements: await statementsOf(urlOf(stage, 'postgres'), name),
      schema: namespace(name).schema,
    };
  }

  /** After the worker has ended: adds what was seen to that of the rounds before. */
  async collect(name: string, title: string): Promise<void> {
    const { file, from, cpu, nats, end } = this.#span ?? {};
    this.#span = undefined;
    if (!file || !from || !cpu || !nats || !end) return;
    const seen = this.#seen.get(name) ?? nothing(title);
    this.#seen.set(name, seen);
    seen.rounds++;
    seen.seconds += (end.at - from) / 1e6;
    seen.done += end.done;
    for (const [who, seconds] of Object.entries(end.cpu))
      seen.cpu[who] = (seen.cpu[who] ?? 0) + seconds - (cpu[who] ?? 0);
    addStatements(seen.statements, end.statements, end.schema);
    addProfile(seen.root, JSON.parse(readFileSync(file, 'utf8')) as CpuProfile, {
      from,
      to: end.at,
    });
    // The last round's is kept as it is, for a browser's developer tools.
    copyFileSync(file, join(this.#dir, `${name}.cpuprofile`));
    try {
      seen.nats.push(...(await nats.end()));
    } catch (error) {
      seen.noNats = (error as Error).message;
    }
  }

  /** Writes a graph and a page for each workload, and says which. */
  write(dir: string, setting: Setting): string[] {
    mkdirSync(dir, { recursive: true });
    return [...this.#seen].flatMap(([name, seen]) => {
      const graph = flameGraph(seen.root, `${seen.title}: CPU time of the node`);
      writeFileSync(join(dir, `${name}.svg`), graph);
      writeFileSync(join(dir, `${name}.md`), profileReport(name, seen, setting));
      copyFileSync(join(this.#dir, `${name}.cpuprofile`), join(dir, `${name}.cpuprofile`));
      return ['svg', 'md', 'cpuprofile'].map((ending) => join(dir, `${name}.${ending}`));
    });
  }
}

const nothing = (title: string): Seen => ({
  title,
  rounds: 0,
  seconds: 0,
  done: 0,
  cpu: {},
  root: newRoot(),
  statements: new Map(),
  nats: [],
});

/** Where a server tells of itself. */
function urlOf(stage: Stage, begin: 'postgres' | 'nats'): string {
  const url = stage.server(begin)?.profileUrl;
  if (url === undefined) throw new Error(`${begin} was not started to be looked into`);
  return url;
}
