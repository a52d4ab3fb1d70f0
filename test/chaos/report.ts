import { join } from 'node:path';
import type { Measure, Row } from './measures.ts';
import { NODE_MEASURES } from './measuresNodes.ts';
import { outageMeasures, STORE_MEASURES } from './measuresStores.ts';
import { markdown, writePages } from './pages.ts';
import { type Servers, startServers } from './servers.ts';
import { type Setting, settingOf } from './setting.ts';
import { Stage } from './stage.ts';

export interface ReportOptions {
  rounds: number;
  /** Measures by name; default: all. */
  only?: string[];
  /** Everything on three nats-servers, not only what needs them. */
  cluster: boolean;
  outages: boolean;
  outageMs: number;
  /** Path without ending of the pages to write. */
  out?: string;
  dir: string;
  signal: AbortSignal;
  say: (line: string) => void;
}

/** A line of the table. */
export interface Figure {
  name: string;
  what: string;
  unit: Row['unit'];
  rounds: number;
  samples: number;
  median: number;
  p99: number;
  worst: number;
  bound: number;
  aim: string;
  good: boolean;
}

/** What the rounds of one measure have left behind, judged. */
export interface Verdict {
  name: string;
  transitions: number;
  /** Idempotency keys that ran, and how often anything ran: more than once only where a fault hit. */
  keys: number;
  runs: number;
  /** Rounds that began although the shares had not become fair in time. */
  unfair: number;
  violations: string[];
}

export interface Report {
  setting: Setting;
  figures: Figure[];
  verdicts: Verdict[];
}

/** Measures, prints, writes. Resolves with whether everything is within its bound and nothing was lost or doubled. */
export async function runReport(options: ReportOptions): Promise<boolean> {
  const { say, signal } = options;
  const measures = chosen(options);
  const figures: Figure[] = [];
  const verdicts: Verdict[] = [];
  let setting: Setting | undefined;
  for (const cluster of [false, true]) {
    const group = measures.filter((one) => (options.cluster || one.cluster) === cluster);
    if (group.length === 0) continue;
    const count = cluster ? 3 : 1;
    const servers = await startServers(join(options.dir, `servers${count}`), count);
    try {
      setting ??= await settingOf(servers);
      for (const one of group) {
        signal.throwIfAborted();
        say(`${one.name}: ${count === 3 ? 'three nats-servers' : 'one nats-server'}`);
        const result = await rounds(one, servers, options).catch((error: Error) => ({
          // What was not measured is not within its bound.
          figures: Object.entries(one.rows).map(([key, row]) =>
            figure(`${one.name}.${key}`, row, 0, []),
          ),
          verdict: failed(one.name, signal.aborted ? 'stopped' : (error.stack ?? error.message)),
        }));
        signal.throwIfAborted();
        figures.push(...result.figures);
        verdicts.push(result.verdict);
        for (const violation of result.verdict.violations) say(`VIOLATION ${violation}`);
      }
    } finally {
      await servers.stop();
    }
  }
  if (!setting) throw new Error('nothing was measured');
  const report: Report = { setting, figures, verdicts };
  say(`\n${markdown(report)}`);
  if (options.out !== undefined) writePages(options.out, report, markdown(report));
  return figures.every(({ good }) => good) && verdicts.every((one) => one.violations.length === 0);
}

function chosen({ only, outages, outageMs }: ReportOptions): Measure[] {
  const all = [...NODE_MEASURES, ...STORE_MEASURES, ...outageMeasures(outageMs)];
  const unknown = only?.find((name) => !all.some((one) => one.name === name));
  if (unknown !== undefined)
    throw new Error(
      `There is no measure ${unknown}. There are: ${all.map(({ name }) => name).join(', ')}`,
    );
  return all.filter(({ name }) =>
    only ? only.includes(name) : outages || !name.startsWith('outage-'),
  );
}

async function rounds(
  one: Measure,
  servers: Servers,
  options: ReportOptions,
): Promise<{ figures: Figure[]; verdict: Verdict }> {
  const { say, signal } = options;
  // An outage takes minutes, and is one long round.
  const count = one.name.startsWith('outage-') ? 1 : options.rounds;
  const stage = await Stage.open({
    ...one.stage,
    servers,
    name: `report_${one.name.replaceAll('-', '_')}`,
    dir: options.dir,
  });
  const samples = new Map<string, number[]>(Object.keys(one.rows).map((key) => [key, []]));
  let unfair = 0;
  try {
    for (let round = 0; round < count; round++) {
      if (!(await stage.settle())) unfair++;
      signal.throwIfAborted();
      const found = await one.round(stage, round);
      for (const [key, values] of Object.entries(found)) samples.get(key)?.push(...values);
      const words = Object.entries(found).map(([key, values]) => `${key} ${worstOf(values)}`);
      say(`  round ${round + 1} of ${count}: ${words.join(', ')}`);
    }
    await stage.settle();
    const { violations, transitions, keys, runs } = await stage.finish();
    const figures = Object.entries(one.rows).map(([key, row]) =>
      figure(`${one.name}.${key}`, row, count, samples.get(key) ?? []),
    );
    return { figures, verdict: { name: one.name, transitions, keys, runs, unfair, violations } };
  } finally {
    await stage.close();
  }
}

const failed = (name: string, why: string): Verdict => ({
  ...{ name, transitions: 0, keys: 0, runs: 0, unfair: 0 },
  violations: [`${name} was not measured to its end: ${why}`],
});

const worstOf = (values: readonly number[]) => Math.round(Math.max(...values));

function figure(name: string, row: Row, rounds: number, values: readonly number[]): Figure {
  // Of jobs that must be accepted few are worse than many.
  const few = row.unit === 'jobs';
  const sorted = [...values].sort((a, b) => (few ? b - a : a - b));
  const at = (share: number) =>
    Math.round(
      sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN,
    );
  const worst = at(1);
  return {
    ...{ name, what: row.title, unit: row.unit, rounds, samples: values.length },
    ...{ median: at(0.5), p99: at(0.99), worst },
    ...{ bound: row.bound, aim: row.aim ?? '' },
    good: few ? worst >= row.bound : worst <= row.bound,
  };
}
