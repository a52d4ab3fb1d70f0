import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import type { Reporter, TestCase, TestModule, Vitest } from 'vitest/node';
import { WAYS } from './case.ts';

const SUITE = resolve(import.meta.dirname, '..');
const PAGE = resolve(SUITE, '../../docs/xstate.md');
const BEGIN = '<!-- conformance: written by `npm run conformance -- -u` -->';
const END = '<!-- /conformance -->';
const HEADING = ['Feature', 'Cases', ...WAYS];

/** How many cases of a feature came out right, in each of the ways. */
type Row = [feature: string, cases: number, ...right: number[]];

/**
 * Holds the table in docs/xstate.md against what the suite really did, or writes it. A run of some of the files, or of some
 * tests, says nothing.
 */
export default class TableReporter implements Reporter {
  #writes = false;

  onInit(vitest: Vitest): void {
    this.#writes = vitest.config.snapshotOptions.updateSnapshot === 'all';
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const ours = modules.filter(({ moduleId }) => dirname(moduleId) === SUITE);
    if (ours.length === 0 || !isWhole(ours)) return;
    const page = readFileSync(PAGE, 'utf8');
    const [before, rest] = page.split(BEGIN);
    const behind = rest?.split(END)[1];
    const table = tableOf(rowsOf(ours));
    const right = `${before}${BEGIN}\n\n${table}\n\n${END}${behind}`;
    if (before === undefined || behind === undefined)
      fail('has no place for the table of the suite');
    else if (right === page) return;
    else if (this.#writes) writeFileSync(PAGE, right);
    else fail('tells otherwise than the suite did: npm run conformance -- -u');
  }
}

function fail(problem: string): void {
  console.error(`docs/xstate.md ${problem}`);
  process.exitCode = 1;
}

function isWhole(modules: readonly TestModule[]): boolean {
  const ran = new Set(modules.map(({ moduleId }) => basename(moduleId)));
  const files = readdirSync(SUITE).filter((name) => name.endsWith('.test.ts'));
  const tests = modules.flatMap((module) => [...module.children.allTests()]);
  return (
    files.every((name) => ran.has(name)) && tests.every((test) => test.result().state !== 'skipped')
  );
}

function rowsOf(modules: readonly TestModule[]): Row[] {
  const rows = new Map<string, Row>();
  for (const test of modules.flatMap((module) => [...module.children.allTests()])) {
    const [feature, way] = placeOf(test);
    const column = WAYS.indexOf(way as (typeof WAYS)[number]);
    if (feature === undefined || column < 0) continue;
    const row = rows.get(feature) ?? [feature, 0, ...WAYS.map(() => 0)];
    rows.set(feature, row as Row);
    const at = column + 2;
    if (column === 0) row[1]++;
    if (test.result().state === 'passed') (row as number[])[at] = (row[at] as number) + 1;
  }
  return [...rows.values()].sort(([a], [b]) => a.localeCompare(b, 'en'));
}

/** A case's tests stand in a block of its own within the feature's. */
function placeOf(test: TestCase): [feature: string | undefined, way: string] {
  const inner = test.parent;
  const outer = inner.type === 'suite' ? inner.parent : undefined;
  return [outer?.type === 'suite' ? outer.name : undefined, test.name];
}

function tableOf(rows: readonly Row[]): string {
  const cells = [HEADING, ...rows.map((row) => row.map(String))];
  const widths = HEADING.map((_, at) => Math.max(...cells.map((row) => (row[at] ?? '').length)));
  const line = (row: readonly string[]) =>
    `| ${widths.map((width, at) => (at === 0 ? (row[at] ?? '').padEnd(width) : (row[at] ?? '').padStart(width))).join(' | ')} |`;
  const rule = widths.map((width, at) =>
    at === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  return [line(HEADING), line(rule), ...cells.slice(1).map(line)].join('\n');
}
