import { Profile, StringTable } from 'pprof-format';
import { describe, expect, test } from 'vitest';
import {
  addProfile,
  type CpuProfile,
  functionCosts,
  newRoot,
  originTimes,
} from '../../bench/cpuProfile.ts';
import { flameGraph } from '../../bench/flame.ts';
import { goCosts } from '../../bench/natsProfile.ts';
import { profileReport, statementTable } from '../../bench/profileReport.ts';
import { addStatements, type Statement } from '../../bench/statements.ts';

// What `npm run bench -- --profile` makes of what V8, Postgres and nats-server tell.

const ROOT = new URL('../../', import.meta.url).href;
const node = (id: number, functionName: string, url: string, children: number[] = []) => ({
  id,
  callFrame: { functionName, url, lineNumber: 9 },
  children,
});

/** A sample every 100 µs from 1,000 µs on. */
const sampled = (...samples: number[]): CpuProfile => ({
  nodes: [
    node(1, '(root)', '', [2, 3, 8, 9]),
    node(2, '(garbage collector)', ''),
    node(3, 'take<T>', `${ROOT}src/actors/taker.ts`, [4, 6]),
    node(4, 'macrostep', `${ROOT}node_modules/xstate/dist/raise-12345678.cjs.js`, [5]),
    node(5, 'macrostep', `${ROOT}node_modules/xstate/dist/raise-12345678.cjs.js`),
    node(6, 'constructor', `${ROOT}node_modules/@nats-io/nats-core/lib/parser.js`, [7]),
    node(7, 'writev', ''),
    node(8, '(idle)', ''),
    node(9, 'query', `${ROOT}node_modules/pg/lib/client.js`),
  ],
  startTime: 1_000,
  endTime: 1_000 + samples.length * 100,
  samples,
  timeDeltas: [0, ...samples.slice(1).map(() => 100)],
});

const seen = (profile: CpuProfile, window = {}) => {
  const root = newRoot();
  addProfile(root, profile, window);
  return root;
};

const PROFILE = sampled(2, 3, 4, 5, 5, 6, 7, 8, 8, 8, 9, 9);

describe('a profile of V8', () => {
  test('is time by whose code it was', () => {
    // The last sample has no next one, and no time.
    expect(Object.fromEntries(originTimes(seen(PROFILE)))).toEqual({
      gc: 100,
      ours: 100,
      xstate: 300,
      'nats client': 100,
      node: 100,
      idle: 300,
      pg: 100,
    });
  });

  test('is time by function; what calls itself has spent it once', () => {
    const costs = functionCosts(seen(PROFILE));
    expect(costs[0]).toEqual({
      name: 'macrostep',
      file: 'xstate/raise.cjs.js:10',
      origin: 'xstate',
      self: 300,
      total: 300,
    });
    expect(costs.find(({ name }) => name === 'take<T>')).toMatchObject({
      file: 'src/actors/taker.ts:10',
      self: 100,
      total: 600,
    });
    expect(costs.map(({ name }) => name)).not.toContain('(idle)');
  });

  test('counts from one time to another', () => {
    const root = seen(PROFILE, { from: 1_100, to: 1_250 });
    expect(Object.fromEntries(originTimes(root))).toMatchObject({ ours: 100, xstate: 50 });
    expect(root.total).toBe(150);
  });

  test('adds up with those of other rounds', () => {
    const root = seen(PROFILE);
    addProfile(root, PROFILE);
    expect(root.total).toBe(2_200);
    expect(functionCosts(root)).toHaveLength(functionCosts(seen(PROFILE)).length);
  });
});

describe('a flame graph', () => {
  const text = flameGraph(seen(PROFILE), 'no-op & <jobs>');
  const widthOf = (name: string) =>
    Number(new RegExp(`<title>${name}[^<]*</title><rect [^>]*width="([\\d.]+)"`).exec(text)?.[1]);

  test('is as wide as the time that was not idle; idling is beside it', () => {
    // Of 800 µs, on 1,100.
    expect(widthOf('take&lt;T&gt;')).toBe(825);
    expect(widthOf('\\(garbage collector\\)')).toBe(137.5);
    expect(text).toContain('(idle): 27 % of the time; not to scale');
  });

  test('tells name, place, whose it is and shares', () => {
    expect(text).toContain(
      '<title>take&lt;T&gt; src/actors/taker.ts:10 [ours]: 75 %, itself 13 %</title>',
    );
    expect(text).toContain('no-op &amp; &lt;jobs&gt;');
    expect(text).not.toMatch(/NaN|undefined|Infinity|<jobs>/);
  });

  test('leaves out what is too small to be seen, and stays small', () => {
    const rare = sampled(...Array.from({ length: 999 }, () => 3), 9, 9);
    expect(flameGraph(seen(rare), 'x')).not.toContain('query');
    const ids = Array.from({ length: 300 }, (_, i) => i + 2);
    const many = sampled(...ids, 2);
    many.nodes = [
      node(1, '(root)', '', ids),
      ...ids.map((id) => node(id, `f${id}${'o'.repeat(600)}`, `${ROOT}src/a.ts`)),
    ];
    expect(flameGraph(seen(many), 'x').length).toBeLessThan(150_000);
  });

  test('of nothing is a graph, too', () => {
    expect(flameGraph(newRoot(), 'x')).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
  });
});

const statement = (text: string, totalMs: number): Statement => ({
  ...{ text, calls: 2, totalMs, rows: 3, walBytes: 2_048, hit: 1_500, read: 1, dirtied: 0 },
});

test('statements of different namespaces add up, and say what they change', () => {
  const sums = new Map<string, Statement>();
  const text = (schema: string) => `WITH a AS (\n  INSERT INTO "${schema}".outbox SELECT 1 || '|')
    UPDATE ${schema}.shard SET cursor = 1`;
  addStatements(sums, [statement(text('perdure_noop1'), 30)], 'perdure_noop1');
  addStatements(sums, [statement(text('perdure_noop3'), 30)], 'perdure_noop3');
  addStatements(sums, [statement('SELECT 1', 20)], 'perdure_noop3');
  expect(sums.size).toBe(2);
  const [, , first = '', second = ''] = statementTable([...sums.values()]).split('\n');
  expect(first).toMatch(/^\| `WITH a AS \( INSERT INTO outbox SELECT 1 \\\|\\\| /);
  expect(first).toContain(
    '; insert outbox, update shard | 4 | 15 | 60 | 75.0 % | 6 | 4 | 3,000 / 2 / 0 |',
  );
  expect(second).toContain('`SELECT 1` | 2 | 10 | 20 | 25.0 % |');
});

/** Two samples: `b` in `a`, inlined; and `a` alone. */
function goProfile(): Profile {
  const strings = new StringTable();
  const text = (words: string) => strings.dedup(words);
  const profile = new Profile({
    stringTable: strings,
    sampleType: [
      { type: text('samples'), unit: text('count') },
      { type: text('cpu'), unit: text('nanoseconds') },
    ],
    function: [
      {
        id: 1,
        name: text('github.com/x/v2/server.(*client).a'),
        filename: text('/go/x/server/a.go'),
      },
      { id: 2, name: text('runtime.b'), filename: text('/go/runtime/b.go') },
    ],
    location: [
      { id: 1, line: [{ functionId: 2 }, { functionId: 1 }] },
      { id: 2, line: [{ functionId: 1 }] },
    ],
    sample: [
      { locationId: [1, 2], value: [1, 30_000] },
      { locationId: [2], value: [1, 10_000] },
    ],
  });
  return Profile.decode(profile.encode());
}

test('a profile of Go is time by function, inlined ones apart', () => {
  expect(goCosts([goProfile(), goProfile()])).toEqual([
    { name: 'runtime.b', file: 'runtime/b.go', self: 60, total: 60 },
    { name: 'server.(*client).a', file: 'server/a.go', self: 20, total: 80 },
  ]);
});

test('the page of a workload has the tables of all three, and what they are of', () => {
  const page = profileReport(
    'noop',
    {
      ...{ title: 'no-op jobs', rounds: 2, seconds: 1.5, done: 4_000 },
      cpu: { postgres: 1, workers: 3 },
      root: seen(PROFILE),
      statements: new Map([['SELECT 1', statement('SELECT 1', 20)]]),
      nats: [goProfile()],
    },
    {
      ...{ at: '2026-01-02T03:04:05.678Z', commit: 'abc', cpu: 'a CPU', cores: 2, memoryGiB: 8 },
      ...{ kernel: '6.1', versions: { node: '24.0.0' } },
    },
  );
  expect(page).toContain('4,000 in 1.5 seconds of 2 rounds, at 2026-01-02T03:04Z, commit abc.');
  expect(page).toContain('| workers | 3.00 | 0.75 | 75.0 % |');
  expect(page).toContain('| XState | 37.5 % |');
  expect(page).toContain('Idle 27.3 % of the time.');
  expect(page).toContain('| `macrostep` | xstate/raise.cjs.js:10 | 37.5 % | 37.5 % |');
  expect(page).toContain('| `server.(*client).a` | server/a.go | 25.0 % | 100.0 % |');
  expect(page).not.toMatch(/NaN|undefined/);
});
