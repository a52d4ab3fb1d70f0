import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { type LogCall, readSources } from '../support/logCalls.ts';

// docs/telemetry.md and the dashboard, held against what the code tells. Metrics: metrics.test.ts.

const ROOT = join(import.meta.dirname, '../..');
const page = readFileSync(join(ROOT, 'docs/telemetry.md'), 'utf8');
let told: ReturnType<typeof readSources>;
beforeAll(() => {
  told = readSources();
}, 60_000);

const names = (cell = '') => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name as string);
const bySomeOrder = (list: Iterable<string>) => [...new Set(list)].sort();

/** Rows below the heading, as cells. */
function table(heading: string): string[][] {
  const [, after = ''] = page.split(new RegExp(`^\\| ${heading} .*\\n\\|[ -|]*\\n`, 'm'));
  const rows = after.split('\n');
  const end = rows.findIndex((row) => !row.startsWith('|'));
  return rows.slice(0, end).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** What a table says or should say: a line for each name. */
function lines(logs: readonly Pick<LogCall, 'message' | 'levels' | 'fields'>[]): string[] {
  const all = bySomeOrder(logs.map(({ message }) => message));
  return all.map((message) => {
    const calls = logs.filter((call) => call.message === message);
    const of = (what: 'levels' | 'fields') => bySomeOrder(calls.flatMap((call) => call[what]));
    return `${message}: ${of('levels')}: ${of('fields')}`;
  });
}

describe('docs/telemetry.md', () => {
  test('has a row for every line the code can log, with its levels and fields, and no others', () => {
    const rows = table('Line').map(([message, levels = '', fields]) => ({
      message: names(message)[0] ?? '',
      levels: levels.split(', '),
      fields: names(fields),
    }));
    expect(lines(rows)).toEqual(lines(told.logs));
    expect(rows.length).toBeGreaterThan(50);
    expect(rows.length, 'a line has two rows').toBe(bySomeOrder(rows.map((r) => r.message)).length);
  });

  test('has a row for every span, with its attributes, and for every event of one', () => {
    const rows = table('Span').map(([name, attributes]) => [
      names(name)[0],
      bySomeOrder(names(attributes)),
    ]);
    expect(rows.sort()).toEqual(
      told.spans.map(({ name, attributes }) => [name, bySomeOrder(attributes)]).sort(),
    );
    expect(rows.length).toBeGreaterThan(2);
    const events = table('Event of a span').map(([name]) => names(name)[0]);
    expect(events.sort()).toEqual(bySomeOrder(told.spanEvents));
  });

  test('says what each row means', () => {
    for (const heading of ['Line', 'Span', 'Event of a span'])
      for (const row of table(heading)) expect(row.at(-1), row[0]).toMatch(/\.$/);
  });
});

test('a line about an actor says which, in which shard and epoch, and at which transition', () => {
  const about = told.logs.filter(({ fields }) => fields.includes('actor'));
  expect(about.length).toBeGreaterThan(8);
  // Who relays knows no epoch; a message that waits has no transition yet.
  const without: Record<string, string> = {
    'outbox: not published yet': 'epoch',
    'message: parked': 'seq',
  };
  for (const { message, fields } of about)
    for (const field of ['shard', 'epoch', 'seq'])
      if (without[message] !== field) expect(fields, message).toContain(field);
});

describe('docs/grafana/perdure.json', () => {
  interface Panel {
    id: number;
    type: string;
    title?: string;
    description?: string;
    datasource?: { uid: string };
    fieldConfig?: { defaults: { unit?: string } };
    targets?: { expr: string; refId: string }[];
    gridPos: { x: number; y: number; w: number; h: number };
  }
  const board = JSON.parse(readFileSync(join(ROOT, 'docs/grafana/perdure.json'), 'utf8')) as {
    panels: Panel[];
    templating: { list: { name: string; type: string; query: string }[] };
  };
  const panels = board.panels.filter(({ type }) => type !== 'row');
  const asked = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  const metrics = new Map(
    [...page.matchAll(/^\| `(perdure_\w+)`\s*\|([^|]*)\|/gm)].map(([, name = '', labels]) => [
      name,
      names(labels),
    ]),
  );
  // Every node has these by prom-client, whose names they are.
  const ofProcess = new Set([
    'process_resident_memory_bytes',
    'process_cpu_seconds_total',
    'nodejs_heap_size_used_bytes',
    'nodejs_eventloop_lag_p99_seconds',
  ]);

  test('asks for metrics and labels that there are', () => {
    expect(panels.length).toBeGreaterThan(15);
    for (const expr of asked)
      for (const [, name = ''] of expr.matchAll(/\b((?:perdure|process|nodejs)_\w+)/g)) {
        const metric = name.replace(/_(?:bucket|sum|count)$/, '');
        if (!ofProcess.has(name)) expect([...metrics.keys()], expr).toContain(metric);
        const grouped = [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, by = '']) =>
          by.split(/,\s*/),
        );
        const known = [...(metrics.get(metric) ?? []), 'instance', 'job', 'le'];
        for (const label of grouped) expect(known, expr).toContain(label);
      }
  });

  test('shows every metric that docs/telemetry.md has', () => {
    const all = asked.join('\n');
    expect(
      [...metrics.keys()].filter((name) => !new RegExp(`\\b${name}(?:_|\\b)`).test(all)),
    ).toEqual([]);
  });

  test('has a title, a unit and a query on every panel, from the data source that is chosen', () => {
    for (const { title, targets, fieldConfig, datasource, description } of panels) {
      expect(title).toMatch(/\w/);
      expect(description, title).toMatch(/\.$/);
      expect(fieldConfig?.defaults.unit, title).toMatch(/^\w+$/);
      expect(targets?.length, title).toBeGreaterThan(0);
      for (const { expr } of targets ?? []) expect(expr, title).toContain('job=~"$job"');
      expect(datasource?.uid, title).toMatch(/^\$\{datasource\}$/);
    }
    const variables = board.templating.list.map(({ name, type, query }) => [name, type, query]);
    expect(variables).toContainEqual(['datasource', 'datasource', 'prometheus']);
    expect(new Set(board.panels.map(({ id }) => id)).size).toBe(board.panels.length);
  });

  test('has no panels on top of each other', () => {
    const cells = board.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, n) => `${x + (n % w)},${y + Math.floor(n / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    for (const { gridPos } of board.panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
  });
});
