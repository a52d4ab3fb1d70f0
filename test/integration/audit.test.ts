import { spawn } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Audited, classify, detectLicence, listPackages } from '../../examples/audit/audit.ts';
import { check } from '../../examples/audit/check.ts';
import type { Recorded } from '../../examples/audit/record.ts';
import type { Report } from '../../examples/audit/report.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const DEMO_MS = 90_000;

const MIT = 'Permission is hereby granted, free of charge, to any person obtaining a copy';
const APACHE = 'Apache License\n   Version 2.0, January 2004';

let dir: string;
let modules: string;
const undo: (() => unknown)[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'perdure-audit-test-'));
  chmodSync(dir, 0o755);
  modules = join(dir, 'node_modules');
  mkdirSync(join(dir, 'tmp'));
});

afterEach(async () => {
  // A demo that hangs must not run on into the next test.
  for (const step of undo.splice(0).reverse()) await step();
  rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
});

function put(path: string, content: string | Buffer): string {
  const file = join(modules, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  return file;
}

function install(path: string, manifest: Record<string, unknown>, text?: string): void {
  const name = path.slice(path.lastIndexOf('node_modules/') + 1);
  put(`${path}/package.json`, JSON.stringify({ name, version: '1.0.0', ...manifest }));
  put(`${path}/lib/index.js`, `export default ${JSON.stringify(path)};`);
  if (text !== undefined) put(`${path}/LICENSE`, text);
}

/** Nine packages that pass, six that somebody has to look at. */
function installAll(): void {
  for (const n of [1, 2, 3, 4, 5, 6, 7]) install(`plain-${n}`, { license: 'MIT' }, MIT);
  install('@scope/inner', { license: 'Apache-2.0' }, APACHE);
  install('plain-1/node_modules/plain-2', { license: '(MIT OR GPL-3.0)', version: '2.0.0' }, MIT);
  for (const n of [1, 2, 3]) install(`silent-${n}`, { license: 'MIT' });
  install('liar', { license: 'MIT' }, APACHE);
  install('copyleft', { license: 'MPL-2.0' }, 'Mozilla Public License Version 2.0');
  put('broken/package.json', '{');
  put('plain-1/data.bin', Buffer.alloc(700_000, 7));
  put('.cache/package.json', '{}');
  symlinkSync('plain-1', join(modules, 'linked'));
}

interface Demo {
  exitCode: Promise<number | null>;
  stdout(): string;
  stderr(): string;
  /** Called with each piece of stderr. */
  onStderr(listener: () => void): void;
  interrupt(): void;
}

function startDemo(): Demo {
  const child = spawn(
    process.execPath,
    ['examples/audit/run.ts', '--packages', modules, '--json'],
    {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TMPDIR: join(dir, 'tmp') },
    },
  );
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  chmodSync(join(dir, 'tmp'), 0o755);
  const exitCode = new Promise<number | null>((done) => child.once('close', done));
  undo.push(() => {
    child.kill('SIGINT');
    return exitCode;
  });
  return {
    exitCode,
    stdout: () => stdout,
    stderr: () => stderr,
    onStderr: (listener) => child.stderr.on('data', listener),
    interrupt: () => child.kill('SIGINT'),
  };
}

test(
  'every package is audited once although the node is killed',
  async () => {
    installAll();
    // Long to hash and, being a hole, nothing on disk: their invokes still run when the node is killed.
    for (const n of [4, 5, 6]) truncateSync(put(`plain-${n}/hole.bin`, ''), 512 * 1024 * 1024);
    const demo = startDemo();
    expect(await demo.exitCode, demo.stderr() + demo.stdout()).toBe(0);
    const report = JSON.parse(demo.stdout()) as Report;
    expect(report).toMatchObject({
      ok: true,
      accepted: 15,
      finished: 15,
      waiting: { atEnd: 0 },
      invokes: 45,
      lost: 0,
      duplicated: 0,
      reviewed: 6,
      problems: [],
    });
    expect(report.transitions).toBeGreaterThanOrEqual(15 * 4 + 6 + 1 + 6);
    expect(report.invokesRerun).toBeGreaterThan(0);
    expect(report.secondsToFirstTransition).toBeGreaterThan(0);
    expect(report.approvals.map(({ name, doubt }) => [name, doubt])).toEqual([
      ['broken', 'no licence text'],
      ['copyleft', 'copyleft'],
      ['liar', 'text says Apache-2.0'],
      ['silent-1', 'no licence text'],
      ['silent-2', 'no licence text'],
      ['silent-3', 'no licence text'],
    ]);
    expect(readdirSync(join(dir, 'tmp'))).toEqual([]);
  },
  DEMO_MS,
);

test(
  'a package that changed between the two computations is reported and fails the demo',
  async () => {
    installAll();
    const tampered = join(modules, 'plain-3/lib/index.js');
    const demo = startDemo();
    const tampering = setInterval(() => appendFileSync(tampered, '// more'), 20);
    undo.push(() => clearInterval(tampering));
    expect(await demo.exitCode).toBe(1);
    const report = JSON.parse(demo.stdout()) as Report;
    expect(report).toMatchObject({ ok: false, finished: 15, lost: 0, duplicated: 0 });
    expect(report.problems).toEqual([
      expect.stringMatching(/^plain-3-1-0-0-\w{8}: bytes is \d+, computed sequentially \d+$/),
      expect.stringMatching(/^plain-3-1-0-0-\w{8}: sha256 is /),
    ]);
  },
  DEMO_MS,
);

test(
  'Ctrl-C leaves nothing behind',
  async () => {
    installAll();
    const demo = startDemo();
    let interrupted = false;
    demo.onStderr(() => {
      if (interrupted || !demo.stderr().includes('started ')) return;
      // A second one would kill what still writes.
      interrupted = true;
      demo.interrupt();
    });
    expect(await demo.exitCode).toBe(130);
    expect(readdirSync(join(dir, 'tmp'))).toEqual([]);
  },
  DEMO_MS,
);

test('packages are found where npm puts them', async () => {
  installAll();
  const packages = await listPackages(modules);
  expect(packages).toHaveLength(15);
  expect(packages.map(({ path }) => path)).toContain('plain-1/node_modules/plain-2');
  expect(new Set(packages.map(({ id }) => id)).size).toBe(15);
  for (const { id } of packages) expect(id).toMatch(/^[A-Za-z0-9_-]{1,128}$/);
});

test('a licence passes when it is permissive, declared, and its text is there', async () => {
  install('a', {}, MIT);
  install('b', {}, APACHE);
  install('c', {});
  const verdict = async (name: string, declared: string | null) =>
    (await detectLicence(join(modules, name), declared)).verdict;
  expect(await verdict('a', 'MIT')).toBe('permissive');
  expect(await verdict('a', null)).toBe('unknown');
  expect(await verdict('b', 'MIT')).toBe('unknown');
  expect(await verdict('c', 'MIT')).toBe('unknown');
  expect(classify('MIT OR GPL-3.0')).toBe('permissive');
  expect(classify('(MIT AND LGPL-3.0-only)')).toBe('copyleft');
  expect(classify('SEE LICENSE IN file')).toBe('unknown');
});

/** One package as it should be, with what the test says instead. */
function recorded(change: (good: Recorded) => void): string[] {
  const audited = { id: 'p', sha256: 'aa', approvedBy: null } as Audited;
  const transition = (seq: number, eventType: string) => ({
    type: 'package',
    id: 'p',
    seq,
    eventType,
    eventId: null,
    nodeId: 'n',
    at: 0,
  });
  const good: Recorded = {
    actors: [{ type: 'package', id: 'p', status: 'done', output: { ...audited }, error: null }],
    transitions: [transition(1, 'a'), transition(2, 'b'), transition(3, 'c'), transition(4, 'd')],
    deadLetters: [],
    runs: [1, 2, 3].map((seq) => ({ key: `package/p/x/${seq}`, attempt: 1, pid: 1 })),
  };
  change(good);
  return check(new Map([['p', audited]]), good).problems;
}

test('the check finds what could be wrong', () => {
  expect(recorded(() => {})).toEqual([]);
  const problem = (text: string) => [expect.stringContaining(text)];
  expect(recorded(({ actors }) => actors.pop())).toEqual(problem('p is lost: no actor'));
  expect(recorded(({ actors }) => Object.assign(actors[0] ?? {}, { status: 'active' }))).toEqual(
    problem('p is lost: active'),
  );
  expect(
    recorded(({ actors }) => actors.push({ ...(actors[0] as (typeof actors)[0]), id: 'q' })),
  ).toEqual(problem('q was never asked for'));
  expect(
    recorded(({ actors }) => Object.assign(actors[0]?.output ?? {}, { sha256: 'bb' })),
  ).toEqual(problem('sha256 is "bb"'));
  expect(recorded(({ transitions }) => Object.assign(transitions[3] ?? {}, { seq: 5 }))).toEqual(
    problem('gap: 1,2,3,5'),
  );
  expect(
    recorded(({ transitions }) => Object.assign(transitions[3] ?? {}, { eventType: 'a' })),
  ).toEqual(problem('took a twice'));
  expect(recorded(({ runs }) => Object.assign(runs[2] ?? {}, { key: 'package/p/x/9' }))).toEqual(
    problem('package/p/x/9 ran and the transition that started it'),
  );
  expect(recorded(({ runs }) => runs.pop())).toEqual(problem('2 invokes ran'));
  expect(
    recorded(({ deadLetters }) => deadLetters.push({ reason: 'bad_event', subject: 's' })),
  ).toEqual(problem('dead letter: bad_event'));
  expect(recorded(({ runs }) => runs.push({ ...(runs[0] as (typeof runs)[0]), pid: 2 }))).toEqual(
    [],
  );
});
