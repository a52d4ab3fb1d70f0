import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join, posix, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';

// The shape of the code, as far as a program can see it (who may know whom, how long, by which name). Every check is a
// function over plain text, and is fed something bad below: a check that cannot fail proves nothing.

const ROOT = resolve(import.meta.dirname, '../..');

interface Source {
  /** Path below src, with slashes. */
  path: string;
  text: string;
}

interface Import {
  /** A path below src (`bus/bus.ts`), a package (`@nats-io/jetstream`) or a Node module (`node:fs`). */
  target: string;
  typeOnly: boolean;
}

const SOURCES: Source[] = readdirSync(join(ROOT, 'src'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
  .map((entry) => join(entry.parentPath, entry.name))
  .map((file) => ({
    path: relative(join(ROOT, 'src'), file).replaceAll('\\', '/'),
    text: readFileSync(file, 'utf8'),
  }))
  .sort((a, b) => (a.path < b.path ? -1 : 1));

const PACKAGE = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  bin: Record<string, string>;
  exports: Record<string, string | Record<string, string>>;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  peerDependencies: Record<string, string>;
};

/** The text with its comments gone; lines keep their numbers. Good enough for code a formatter has been over. */
function withoutComments(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ' '))
    .replace(/(^|[\s;{}(,])\/\/[^\n]*/g, '$1');
}

const STATEMENT =
  /^\s*(?:import|export)\s+(type\s+)?(?:([^'";]*?)\s+from\s+)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;

function importsOf({ path, text }: Source): Import[] {
  return [...withoutComments(text).matchAll(STATEMENT)].map(([, type, names, from, dynamic]) => {
    const named = /^\{([^}]*)\}$/.exec((names ?? '').trim())?.[1];
    const onlyTypes = named
      ?.split(',')
      .filter((name) => name.trim() !== '')
      .every((name) => name.trim().startsWith('type '));
    const specifier = from ?? dynamic ?? '';
    const target = specifier.startsWith('.')
      ? posix.normalize(posix.join(posix.dirname(path), specifier))
      : specifier.startsWith('node:')
        ? specifier
        : specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
    return { target, typeOnly: type !== undefined || onlyTypes === true };
  });
}

const layerOf = (path: string) => (path.includes('/') ? (path.split('/')[0] as string) : '');
const isOwn = (target: string) => target.endsWith('.ts');

/** What a layer may import of ours: other layers, or single files of them. Anything may import its own layer. */
const LAYERS: Record<string, { files?: string[]; layers?: string[] }> = {
  bus: { files: ['clock.ts', 'config.ts', 'errors.ts', 'log.ts'] },
  store: { files: ['clock.ts', 'config.ts', 'errors.ts', 'log.ts', 'textCodec.ts'] },
  actors: {
    files: [
      ...['clock.ts', 'config.ts', 'errors.ts', 'log.ts', 'textCodec.ts'],
      // The contracts, and nothing that is behind them.
      ...[
        'bus/bus.ts',
        'bus/subjects.ts',
        'store/store.ts',
        'store/elsewhere.ts',
        'store/sharing.ts',
        'store/userTransaction.ts',
        'store/refused.ts',
      ],
    ],
  },
  // Those who put the parts together, or look at them from outside.
  cli: { layers: ['', 'actors', 'bus', 'store', 'dev', 'inspect'] },
  // `perdure dev` starts the command line's `serve` in processes of its own, and speaks its messages.
  dev: { files: ['cli/serve.ts'], layers: ['', 'store', 'inspect'] },
  inspect: { layers: ['', 'actors', 'bus', 'store'] },
  // The engine on the twins in memory: a composition root of its own.
  testing: { layers: ['', 'actors', 'bus', 'store'] },
};

/** Files at the top of src: what everybody may know knows nobody; the composition roots know everybody. */
const TOP: Record<string, string[]> = {
  'clock.ts': [],
  'errors.ts': [],
  'log.ts': [],
  'version.ts': [],
  'config.ts': ['errors.ts'],
  'textCodec.ts': ['errors.ts'],
};

const SERVERS: Record<string, { layer: string; alsoTypesIn?: string[]; also?: string[] }> = {
  // Findings about a stream are written in the client's words for one.
  '@nats-io/jetstream': { layer: 'bus', alsoTypesIn: ['inspect'] },
  '@nats-io/transport-node': { layer: 'bus' },
  // The development server is asked whether it is up before any schema is there.
  pg: { layer: 'store', also: ['dev/postgres.ts'] },
};

const PACKAGES_BY_LAYER: Record<string, string[]> = {
  bus: ['@nats-io/jetstream', '@nats-io/transport-node'],
  store: ['pg'],
  actors: ['xstate'],
};

function directionProblems(source: Source): string[] {
  const layer = layerOf(source.path);
  const problems: string[] = [];
  for (const { target, typeOnly } of importsOf(source)) {
    const complain = (why: string) => problems.push(`${source.path} imports ${target}: ${why}`);
    if (target.startsWith('node:')) continue;
    if (!isOwn(target)) {
      const server = SERVERS[target];
      const allowed =
        server === undefined ||
        server.layer === layer ||
        server.also?.includes(source.path) ||
        (typeOnly && server.alsoTypesIn?.includes(layer));
      if (!allowed) complain(`only ${server?.layer}/ speaks to that server`);
      const known = PACKAGES_BY_LAYER[layer];
      if (known && !known.includes(target)) complain(`${layer}/ knows ${known.join(' and ')} only`);
      continue;
    }
    const to = layerOf(target);
    if (layer === '') {
      const known = TOP[source.path];
      if (known && !known.includes(target)) complain('everybody knows it, so it knows nobody');
      continue;
    }
    if (to === layer) continue;
    const may = LAYERS[layer];
    if (!may) complain(`${layer}/ has no place in the layers`);
    else if (!may.files?.includes(target) && !may.layers?.includes(to))
      complain(`${layer}/ may not know ${to === '' ? target : `${to}/`}`);
  }
  return problems;
}

/** Time, chance and the scheduler: `Clock` is the only door, or a simulation would not be one. */
const DOORS: [pattern: RegExp, name: string][] = [
  [/\bDate\.now\b/, 'Date.now'],
  [/\bnew Date\(\s*\)/, 'new Date()'],
  [/\bMath\.random\b/, 'Math.random'],
  [/\bset(?:Timeout|Interval|Immediate)\b/, 'a timer'],
  [/\bqueueMicrotask\b/, 'queueMicrotask'],
  [/\bperformance\.\w/, 'performance'],
  [/\bprocess\.\w/, 'process'],
  [/\bcrypto\.\w/, 'crypto'],
  [/\bAbortSignal\.timeout\b/, 'AbortSignal.timeout'],
];

function clockProblems({ path, text }: Source): string[] {
  if (layerOf(path) !== 'actors') return [];
  const code = withoutComments(text);
  const problems = DOORS.filter(([pattern]) => pattern.test(code)).map(
    ([, name]) => `${path} uses ${name}: take a Clock`,
  );
  for (const { target } of importsOf({ path, text }))
    if (/^node:(?:timers|perf_hooks|crypto|process|os)/.test(target))
      problems.push(`${path} imports ${target}: take a Clock`);
  return problems;
}

const LINES_MAX = 400;
/** What is over the limit today, and may only shrink. */
const LINES_OVER: Record<string, number> = {};

function sizeProblems({ path, text }: Source): string[] {
  const lines = text.split('\n').length - 1;
  const max = LINES_OVER[path] ?? LINES_MAX;
  return lines > max ? [`${path} has ${lines} lines; at most ${max}`] : [];
}

/** What the package exports. */
const ENTRIES = ['index.ts', 'testing/index.ts'];

/** A name says what is in a file; these say that nobody knew. */
function nameProblems({ path }: Source): string[] {
  const vague = /^(?:utils?|helpers?|common|misc|shared|lib|stuff|index)$/i;
  return path
    .split('/')
    .map((part) => basename(part, '.ts'))
    .filter((part) => vague.test(part) && !ENTRIES.includes(path))
    .map((part) => `${path}: ${part} says nothing about what is in it`);
}

/** An import of `pg` needs its line in the docs, with a reason. */
function dependencyProblems(names: readonly string[], page: string): string[] {
  return names
    .filter((name) => !page.includes(`\`${name}\``))
    .map((name) => `docs/dependencies.md does not say why there is ${name}`);
}

/** Files the package promises are built from files that are there. */
function promisedProblems(
  promised: readonly string[],
  exists: (file: string) => boolean,
): string[] {
  return promised
    .filter((file) => file.startsWith('dist/') || file.startsWith('./dist/'))
    .map((file) => posix.normalize(file).replace(/^dist\//, 'src/'))
    .map((file) => file.replace(/(?:\.d\.ts|\.js)$/, '.ts'))
    .filter((file) => !exists(file))
    .map((file) => `package.json promises what would be built from ${file}, which is not there`);
}

/**
 * What XState does not document, and who may touch it. `xstate.test.ts` and `logic.test.ts` pin all of it, on the newest XState
 * and on the oldest (`npm run test:oldest`): a name that is new here needs a test there.
 */
const INSIDES: Record<string, string[]> = {
  'actors/inside.ts': [
    ...['_bookId', '_nodes', '_parent', '_register', '_relay', '_send', '_sendInspectionEvent'],
    ...['_set', '_snapshot', '_syncSnapshot', '_transitions', '_unregister', 'createEmptyActor'],
    ...['getTransitionData', 'xstate$$type', 'xstate.stop', 'xstate.observable.complete'],
    ...['xstate.observable.next', 'xstate.promise.resolve'],
  ],
};

/** Members XState marks as its own, as its build spells them. */
const UNDOCUMENTED = new Set(
  readdirSync(join(ROOT, 'node_modules/xstate/dist'))
    .filter((name) => name.endsWith('.cjs.js'))
    .map((name) => readFileSync(join(ROOT, 'node_modules/xstate/dist', name), 'utf8'))
    .flatMap((text) => text.match(/\b_[a-zA-Z]+\b/g) ?? []),
);

/** The same for what has no such mark. `xstate.stop` is what an actor is sent to end it. */
const UNMARKED =
  /\b(?:createEmptyActor|getTransitionData|xstate\$\$type|xstate\.stop\b|xstate\.(?:promise|observable)\.\w+)/g;

function insideProblems(source: Source): string[] {
  const { path, text } = source;
  if (!importsOf(source).some(({ target }) => target === 'xstate')) return [];
  const code = withoutComments(text);
  const marked = (code.match(/\b_[a-zA-Z]+\b/g) ?? []).filter((name) => UNDOCUMENTED.has(name));
  const touched = [...marked, ...(code.match(UNMARKED) ?? [])];
  return [...new Set(touched)]
    .filter((name) => !INSIDES[path]?.includes(name))
    .map((name) => `${path} touches ${name}, which XState does not document`);
}

const over = (check: (source: Source) => string[]) => SOURCES.flatMap(check);

test('there is something to check', () => {
  expect(SOURCES.length).toBeGreaterThan(50);
  expect(SOURCES.flatMap(importsOf).length).toBeGreaterThan(200);
});

describe('imports go one way', () => {
  test('in src', () => expect(over(directionProblems)).toEqual([]));

  test.each([
    ['bus/x.ts', `import type { Clock } from '../clock.ts';`],
    ['actors/x.ts', `import type { Bus } from '../bus/bus.ts';\nimport { setup } from 'xstate';`],
    ['inspect/x.ts', `import type { StreamInfo } from '@nats-io/jetstream';`],
    ['node.ts', `import { openBus } from './bus/nats.ts';`],
    ['actors/x.ts', `// import pg from 'pg';`],
  ])('a good one in %s passes: %s', (path, text) =>
    expect(directionProblems({ path, text })).toEqual([]),
  );

  test.each([
    ['bus/x.ts', `import type { Store } from '../store/store.ts';`],
    ['bus/x.ts', `import { setup } from 'xstate';`],
    ['bus/x.ts', `import pg from 'pg';`],
    ['store/x.ts', `import { openBus } from '../bus/nats.ts';`],
    ['store/x.ts', `export { connect } from '@nats-io/transport-node';`],
    ['store/x.ts', `import {\n  type Step,\n} from '../actors/step.ts';`],
    ['actors/x.ts', `import { openStore } from '../store/postgres.ts';`],
    ['actors/x.ts', `const { openBus } = await import('../bus/nats.ts');`],
    ['actors/x.ts', `import { Client } from 'pg';`],
    ['actors/x.ts', `import { createNode } from '../node.ts';`],
    ['inspect/x.ts', `import { jetstream } from '@nats-io/jetstream';`],
    ['cli/x.ts', `import pg from 'pg';`],
    ['dev/x.ts', `import { openBus } from '../bus/nats.ts';`],
    ['config.ts', `import { TOKEN } from './bus/subjects.ts';`],
    ['web/x.ts', `import { Bus } from '../bus/bus.ts';`],
  ])('a bad import in %s is found: %s', (path, text) =>
    expect(directionProblems({ path, text })).not.toEqual([]),
  );
});

describe('actors/ takes time and chance from Clock', () => {
  test('in src', () => expect(over(clockProblems)).toEqual([]));

  test.each([
    'const at = Date.now();',
    'const at = new Date();',
    'if (Math.random() < 0.5) return;',
    'setTimeout(run, 5);',
    'const since = performance.now();',
    'process.exit(1);',
    'const id = crypto.randomUUID();',
    `import { setTimeout } from 'node:timers/promises';`,
  ])('%s is found', (text) => {
    expect(clockProblems({ path: 'actors/x.ts', text })).not.toEqual([]);
    expect(clockProblems({ path: 'cli/x.ts', text })).toEqual([]);
  });

  test('what a comment says does not count', () => {
    const text = '// Date.now() would lie\n/* nor\n * Math.random() */\nconst a = 1;';
    expect(clockProblems({ path: 'actors/x.ts', text })).toEqual([]);
  });
});

describe('the inside of XState is touched in one place', () => {
  test('in src', () => expect(over(insideProblems)).toEqual([]));

  test('and in no fewer than are listed', () => {
    const touched = SOURCES.filter(({ path }) => path in INSIDES).flatMap(({ path, text }) =>
      (INSIDES[path] ?? []).filter((name) => withoutComments(text).includes(name)),
    );
    expect(touched).toHaveLength(Object.values(INSIDES).flat().length);
  });

  test.each([
    'child._snapshot = {};',
    'const { _nodes } = snapshot;',
    'system._relay(a, b, event);',
    `if ('xstate$$type' in value) return;`,
    `logic.transition(s, { type: 'xstate.promise.resolve' });`,
  ])('%s is found', (line) => {
    const text = `import type { AnyActorRef } from 'xstate';\n${line}`;
    expect(insideProblems({ path: 'actors/x.ts', text })).toHaveLength(1);
    expect(insideProblems({ path: 'store/x.ts', text: line })).toEqual([]);
  });
});

describe(`no file has more than ${LINES_MAX} lines`, () => {
  test('in src', () => expect(over(sizeProblems)).toEqual([]));

  test('a long one is found', () => {
    const source = (lines: number) => ({ path: 'a.ts', text: 'x\n'.repeat(lines) });
    expect(sizeProblems(source(LINES_MAX))).toEqual([]);
    expect(sizeProblems(source(LINES_MAX + 1))).not.toEqual([]);
  });
});

describe('names say what is in a file', () => {
  test('in src', () => expect(over(nameProblems)).toEqual([]));

  test.each(['actors/utils.ts', 'helpers/x.ts', 'bus/common.ts', 'misc.ts', 'bus/index.ts'])(
    '%s does not',
    (path) => expect(nameProblems({ path, text: '' })).not.toEqual([]),
  );
});

describe('docs/dependencies.md has a reason for every package', () => {
  test('in package.json', () => {
    const page = readFileSync(join(ROOT, 'docs/dependencies.md'), 'utf8');
    const { dependencies, devDependencies, peerDependencies } = PACKAGE;
    const names = Object.keys({ ...dependencies, ...devDependencies, ...peerDependencies });
    expect(dependencyProblems(names, page)).toEqual([]);
  });

  test('what we are measured against has its reasons in bench/README.md', () => {
    const page = readFileSync(join(ROOT, 'bench/README.md'), 'utf8');
    const peers = readFileSync(join(ROOT, 'bench/peers/package.json'), 'utf8');
    const { dependencies } = JSON.parse(peers) as { dependencies: Record<string, string> };
    expect(Object.keys(dependencies).length).toBeGreaterThan(5);
    expect(dependencyProblems(Object.keys(dependencies), page)).toEqual([]);
  });

  test('one without is found', () => {
    expect(dependencyProblems(['pg', 'left-pad'], 'why there is `pg`')).toHaveLength(1);
  });
});

describe('package.json promises only what the build makes', () => {
  const promised = [
    ...Object.values(PACKAGE.bin),
    ...Object.values(PACKAGE.exports).flatMap((entry) =>
      typeof entry === 'string' ? [entry] : Object.values(entry),
    ),
  ];

  test('in package.json', () => {
    expect(promised.length).toBeGreaterThan(2);
    expect(promisedProblems(promised, (file) => existsSync(join(ROOT, file)))).toEqual([]);
  });

  test('anything else is found', () => {
    const exists = (file: string) => file === 'src/index.ts';
    expect(promisedProblems(['./dist/index.js', './dist/index.d.ts'], exists)).toEqual([]);
    expect(promisedProblems(['./dist/gone.js'], exists)).toHaveLength(1);
  });

  test('what is run begins with #!', () => {
    for (const file of Object.values(PACKAGE.bin)) {
      const source = file.replace(/^dist\//, 'src/').replace(/\.js$/, '.ts');
      expect(readFileSync(join(ROOT, source), 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
    }
  });
});

interface Lock {
  packages: Record<string, { resolved?: string; optionalDependencies?: Record<string, string> }>;
}

/** A lock that lacks what another platform needs makes `npm ci` fail, there and here; a host in it is ours alone. */
function lockProblems({ packages }: Lock): string[] {
  const problems: string[] = [];
  for (const [path, { resolved, optionalDependencies = {} }] of Object.entries(packages)) {
    if (resolved !== undefined) problems.push(`${path} names a host`);
    for (const name of Object.keys(optionalDependencies))
      if (!packages[`node_modules/${name}`] && !packages[`${path}/node_modules/${name}`])
        problems.push(`${path} wants ${name}, which is not locked`);
  }
  return problems;
}

describe('the lock file is complete and names no host', () => {
  test.each(['package-lock.json', 'bench/peers/package-lock.json'])('%s', (file) => {
    const lock = JSON.parse(readFileSync(join(ROOT, file), 'utf8')) as Lock;
    expect(Object.keys(lock.packages).length).toBeGreaterThan(50);
    expect(lockProblems(lock)).toEqual([]);
  });

  test('one that is not is found', () => {
    const packages = {
      'node_modules/a': { optionalDependencies: { 'a-linux': '1.0.0', 'a-darwin': '1.0.0' } },
      'node_modules/a-linux': { resolved: 'https://registry.invalid/a-linux.tgz' },
    };
    expect(lockProblems({ packages })).toHaveLength(2);
  });
});
