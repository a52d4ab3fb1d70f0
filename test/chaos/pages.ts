import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ChaosReport } from './chaosRun.ts';
import type { Figure, Report } from './report.ts';

/** Reports as people read them, and as programs do. */

function table(heads: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const texts = [heads, ...rows].map((row) =>
    row.map((cell) => String(cell).replaceAll('|', '\\|')),
  );
  const widths = heads.map((_, n) => Math.max(...texts.map((row) => row[n]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, n) => cell.padEnd(widths[n] ?? 0)).join(' | ')} |`;
  const [head = [], ...body] = texts;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...body.map(line)].join('\n');
}

export function markdown({ setting, figures, verdicts }: Report): string {
  const pairs = Object.entries(setting);
  const told = verdicts.flatMap(({ name, violations }) =>
    violations.map((violation) => `- ${name}: ${violation.split('\n')[0]}`),
  );
  return [
    '# What faults cost',
    table(['Setting', ''], pairs),
    'The worst of all samples counts; a sample is one actor in one round unless the measure has one for each round.',
    table(
      ['Measure', 'What', 'Rounds', 'Samples', 'Median', 'p99', 'Worst', 'Bound', 'Aim', ''],
      figures.map((one) => [
        one.name,
        one.what,
        one.rounds,
        one.samples,
        ...[one.median, one.p99, one.worst].map((value) => `${value} ${one.unit}`),
        bound(one),
        one.aim,
        one.good ? 'ok' : 'WORSE',
      ]),
    ),
    'The same histories, judged: nothing lost, doubled or forked, no effect before its commit.',
    table(
      ['Measure', 'Transitions', 'Keys', 'Runs', 'Rounds begun unfair', 'Violations'],
      verdicts.map(({ name, transitions, keys, runs, unfair, violations }) => [
        ...[name, transitions, keys, runs, unfair, violations.length],
      ]),
    ),
    ...(told.length > 0 ? [told.join('\n')] : []),
  ]
    .join('\n\n')
    .concat('\n');
}

const bound = ({ bound: limit, unit }: Figure) => `${unit === 'jobs' ? '≥' : '≤'} ${limit} ${unit}`;

/** A chaos run: how to repeat it, what was done, what came of it. */
export function chaosMarkdown(again: string, report: ChaosReport): string {
  const { setting, faults, violations, table: facts } = report;
  const start = faults[0]?.fromMs ?? 0;
  const seconds = (ms: number) => ((ms - start) / 1_000).toFixed(1);
  return [
    `# ${violations.length === 0 ? 'Chaos, survived' : 'Chaos, not survived'}`,
    `\`${again}\``,
    table(['Setting', ''], Object.entries(setting)),
    table(['What', ''], Object.entries(facts)),
    ...(violations.length > 0 ? [violations.map((line) => `- ${line}`).join('\n')] : []),
    'Faults as they happened, in seconds since the first one.',
    table(
      ['From', 'Until', 'Fault', 'Node'],
      faults.map(({ kind, node = '', fromMs, untilMs }) => [
        ...[seconds(fromMs), seconds(untilMs), kind, node],
      ]),
    ),
  ]
    .join('\n\n')
    .concat('\n');
}

/** `out` is a path without ending. */
export function writePages(out: string, data: unknown, page: string): void {
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(`${out}.json`, `${JSON.stringify(data, null, 1)}\n`);
  writeFileSync(`${out}.md`, page);
}
