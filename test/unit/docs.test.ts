import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Client } from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse, stringify } from '../../src/actors/codec.ts';
import { shardOf } from '../../src/bus/subjects.ts';
import { streamConfigs } from '../../src/bus/topology.ts';
import { LIMITS, namespace, SHARDS } from '../../src/config.ts';
import { ERRORS } from '../../src/errors.ts';
import { migrate } from '../../src/store/migrate.ts';
import { freshDatabase } from '../support/services.ts';

// What the pages say about the code, held against the code.

const ROOT = resolve(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

const PAGES = [
  'README.md',
  'CHANGELOG.md',
  'examples/README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name.replaceAll('\\', '/')}`),
].sort();

/** Rows of the table that has this heading row, cell by cell. */
function table(page: string, headings: readonly string[]): string[][] {
  const lines = page.split('\n');
  const cells = (line: string) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
  const at = lines.findIndex((line) => cells(line).join('|') === headings.join('|'));
  if (at < 0) throw new Error(`There is no table with ${headings.join(', ')}.`);
  const rows = lines.slice(at + 2);
  const end = rows.findIndex((line) => !line.startsWith('|'));
  return rows.slice(0, end < 0 ? undefined : end).map(cells);
}

/** The fenced blocks of one language. */
const blocks = (page: string, language: string): string[] =>
  [...page.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)]
    .filter(([, found]) => found === language)
    .map(([, , text]) => text as string);

const plain = (cell: string | undefined) => (cell ?? '').replaceAll('`', '');

test('errors.md has a row for every error, in order and with the same words', () => {
  const rows = table(read('docs/errors.md'), ['Code', 'Again?', 'What happens next', 'What to do']);
  expect(rows.map(([code, again, next]) => [plain(code), again, next])).toEqual(
    Object.entries(ERRORS).map(([code, { retryable, next }]) => [
      code,
      retryable ? 'yes' : 'no',
      next,
    ]),
  );
  for (const [code, , , cure] of rows) expect(cure, code).toMatch(/\.$/);
});

test('operations.md has every limit with its default', () => {
  const rows = table(read('docs/operations.md'), ['Limit', 'Default', 'Full means']);
  expect(Object.fromEntries(rows.map(([name, value]) => [plain(name), Number(value)]))).toEqual(
    LIMITS,
  );
});

describe('protocol.md', () => {
  const page = read('docs/protocol.md');

  test('computes shards as we do', () => {
    const rows = table(page, ['Actor', 'Shard']);
    expect(rows.length).toBeGreaterThan(2);
    for (const [actor, shard] of rows) {
      const [type = '', id = ''] = plain(actor).split('/');
      expect(shardOf(type, id, SHARDS), actor).toBe(Number(shard));
    }
  });

  test('shows the streams as they are made', () => {
    const shown = blocks(page, 'json')
      .filter((text) => text.includes('"subjects"'))
      .map((text) => JSON.parse(text) as { name: string });
    expect(shown).toEqual(streamConfigs(namespace(), { shards: SHARDS }));
    const files = ['jobs', 'outcomes'].map((name) => JSON.parse(read(`docs/streams/${name}.json`)));
    expect(files).toEqual(streamConfigs(namespace(), { shards: SHARDS, replicas: 3 }));
  });

  test('writes values as the codec does', () => {
    const rows = table(page, ['Value', 'JSON']);
    expect(rows.length).toBeGreaterThan(4);
    for (const [value, json] of rows) {
      const made = new Function(`return ${plain(value)}`)() as unknown;
      // A stack is allowed and says nothing to others.
      if (made instanceof Error) Reflect.deleteProperty(made, 'stack');
      expect(JSON.parse(stringify(made, 'value', 8)), value).toEqual(JSON.parse(plain(json)));
      expect(parse(plain(json))).toEqual(made);
    }
  });

  test('every line of its JSON is JSON', () => {
    const lines = blocks(page, 'json').flatMap((text) => text.trim().split(/\n(?=\{)/));
    expect(lines.length).toBeGreaterThan(8);
    for (const line of lines) expect(() => JSON.parse(line), line).not.toThrow();
  });
});

describe('operations.md', () => {
  const page = read('docs/operations.md');
  let database: Awaited<ReturnType<typeof freshDatabase>>;
  let client: Client;

  beforeAll(async () => {
    database = await freshDatabase();
    const space = namespace();
    await migrate({
      databaseUrl: database.url,
      namespace: space,
      shards: SHARDS,
      log: pino({ level: 'silent' }),
    });
    client = new Client({ connectionString: database.url });
    await client.connect();
    await client.query(`SET search_path = ${space.schema}`);
  });

  afterAll(async () => {
    await client?.end();
    await database?.drop();
  });

  test('names the columns of every view', async () => {
    const { rows } = await client.query<{ view: string; columns: string }>(
      `SELECT table_name AS view, string_agg(column_name, ' ' ORDER BY ordinal_position) AS columns
         FROM information_schema.columns JOIN information_schema.views USING (table_schema, table_name)
        WHERE table_schema = current_schema() AND table_name <> 'current_actor' GROUP BY 1`,
    );
    const shown = table(page, ['View', 'Columns']).map((row) => row.map(plain));
    expect(Object.fromEntries(shown)).toEqual(
      Object.fromEntries(rows.map(({ view, columns }) => [view, columns])),
    );
  });

  const examples = blocks(page, 'sql');
  test('has examples', () => expect(examples.length).toBeGreaterThan(7));
  test.each(examples)('%s', async (sql) => {
    await client.query('BEGIN');
    try {
      await client.query(sql);
    } finally {
      await client.query('ROLLBACK');
    }
  });
});

test('dependencies.md tells sizes of files within ten lines', () => {
  const told = [...read('docs/dependencies.md').matchAll(/`(src\/[\w/]+\.ts)`, (\d+) lines/g)];
  expect(told.length).toBeGreaterThan(3);
  for (const [, file = '', lines] of told)
    expect(Math.abs(read(file).split('\n').length - Number(lines)), file).toBeLessThanOrEqual(10);
});

/** Files of ours that a page names, as `src/…` or `test/…`, or links to; those that are not there. */
function missingFiles(path: string, page: string, exists: (file: string) => boolean): string[] {
  const text = page.replace(/^```[\s\S]*?^```$/gm, '');
  const named = [...text.matchAll(/`((?:src|test|docs|bench|examples)\/[\w./-]+\.\w+)`/g)];
  const linked = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)];
  return [
    ...named.map(([, file = '']) => file),
    ...linked.map(([, file = '']) => join(dirname(path), file)),
  ].filter((file) => !exists(file));
}

/** Links within the pages to headings that are not there. */
function missingHeadings(path: string, page: string, load: (file: string) => string): string[] {
  const slug = (heading: string) =>
    heading
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .trim()
      .replaceAll(' ', '-');
  return [...page.matchAll(/\]\(([^):]*\.md)?#([^)]+)\)/g)]
    .filter(([, file, anchor]) => {
      const target = file === undefined ? page : load(join(dirname(path), file));
      return ![...target.matchAll(/^#+ (.+)$/gm)].some(([, text]) => slug(text ?? '') === anchor);
    })
    .map(([link]) => link);
}

describe('every file and heading a page names is there', () => {
  const exists = (file: string) => existsSync(join(ROOT, file));

  test.each(PAGES)('%s', (path) => {
    expect(missingFiles(path, read(path), exists)).toEqual([]);
    expect(missingHeadings(path, read(path), read)).toEqual([]);
  });

  test('one that is not is found', () => {
    const page = 'See `src/gone.ts`, [this](gone.md#x) and [that](#nowhere).\n\n# Here\n';
    expect(missingFiles('docs/a.md', page, () => false)).toEqual(['src/gone.ts', 'docs/gone.md']);
    expect(missingHeadings('docs/a.md', page, () => '')).toHaveLength(2);
    expect(missingHeadings('docs/a.md', '# Here I am\n[x](#here-i-am)', () => '')).toEqual([]);
  });
});

test('the decisions are numbered and listed', () => {
  const pages = readdirSync(join(ROOT, 'docs/adr')).filter((name) => name !== 'README.md');
  const index = read('docs/adr/README.md');
  pages.sort().forEach((name, at) => {
    const number = String(at + 1).padStart(4, '0');
    expect(name).toMatch(new RegExp(`^${number}-[a-z0-9-]+\\.md$`));
    expect(index).toContain(`[${number}](${name})`);
    expect(read(`docs/adr/${name}`)).toMatch(new RegExp(`^# ${number} `));
  });
});
