import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readDevFile } from '../../src/dev/devFile.ts';
import { eventually } from '../support/services.ts';

// The README's example, run as it is printed, in a directory that looks like a checkout.

const ROOT = resolve(import.meta.dirname, '../..');
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');

/** What stands between two headings. */
function section(heading: string): string {
  const from = README.indexOf(`## ${heading}\n`);
  expect(from, heading).toBeGreaterThan(-1);
  const end = README.indexOf('\n## ', from + 1);
  return README.slice(from, end < 0 ? undefined : end);
}

const blocks = (text: string, language: string): string[] =>
  [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter(([, found]) => found === language)
    .map(([, , block]) => block as string);

const EXAMPLE = section('An order');
const [code] = blocks(EXAMPLE, 'ts');
const [devBlock = '', driveBlock = ''] = blocks(EXAMPLE, 'sh');
const drive = driveBlock.trim().split('\n');

const env = {
  ...process.env,
  PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
  PERDURE_LOG_LEVEL: 'warn',
};

let dir: string;
let dev: ChildProcess;
let said = '';

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'perdure-readme-'));
  chmodSync(dir, 0o755);
  for (const name of ['package.json', 'src', 'examples', 'node_modules'])
    symlinkSync(join(ROOT, name), join(dir, name));
  // In a group of its own: npm does not hand on a signal that only it gets.
  dev = spawn('sh', ['-c', devBlock], { cwd: dir, env, stdio: 'pipe', detached: true });
  for (const stream of [dev.stdout, dev.stderr])
    stream?.on('data', (chunk) => {
      said += chunk;
    });
  await eventually(() => said.includes('Ready in'), {
    what: `perdure dev is ready: ${said}`,
    timeoutMs: 45_000,
  });
});

afterAll(async () => {
  const pid = readDevFile(join(dir, '.perdure'))?.pids.dev;
  const ended = new Promise((done) => dev.once('exit', done));
  if (pid !== undefined) process.kill(pid, 'SIGINT');
  else process.kill(-(dev.pid as number), 'SIGKILL');
  await ended;
  rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
});

test('the example is the file it names', () => {
  const [, file = ''] = /^This is `(\S+)`/m.exec(EXAMPLE) ?? [];
  expect(code).toBe(readFileSync(join(ROOT, file), 'utf8'));
  expect(devBlock).toContain(file);
});

test('the commands beside it do what they say', async () => {
  const sh = async (command: string) =>
    (await promisify(execFile)('sh', ['-c', command], { cwd: dir, env })).stdout;
  expect(drive).toHaveLength(5);
  const [start = '', send = '', show = '', history = '', ls = ''] = drive;
  expect(await sh(start)).toMatch(/^committed order\/o-1 #1: active, waiting$/m);
  expect(await sh(send)).toMatch(/^committed order\/o-1 #2: active, charging$/m);
  const shown = await eventually(
    async () => {
      const text = await sh(show);
      return /^status +done$/m.test(text) && text;
    },
    { what: 'the order is done', everyMs: 200 },
  );
  expect(shown).toMatch(/^output +\{ receipt: 'receipt for 30' \}$/m);
  expect((await sh(history)).trim().split('\n').slice(-3)).toEqual([
    expect.stringMatching(/^1 .* xstate\.init +- +waiting /),
    expect.stringMatching(/^2 .* PAY +waiting +charging /),
    expect.stringMatching(/^3 .* xstate\.done\.actor\.charge +charging +paid /),
  ]);
  expect(await sh(ls)).toMatch(/^order +o-1 +done /m);
  // The second of the two programs prints what the actor's code prints.
  expect(said).toContain('charging 30, Idempotency-Key: order/o-1/charge/2');
});

test('the scripts it names are there', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const named = [...README.matchAll(/npm (?:run )?(start|test|perdure|bench)\b/g)];
  expect(named.length).toBeGreaterThan(3);
  for (const [, script = ''] of named) expect(Object.keys(scripts)).toContain(script);
});

test('the commands it lists are those there are', async () => {
  const args = [join(ROOT, 'src/cli/main.ts'), '--help'];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const help = /^Commands:\n([\s\S]*?)\n\n/m.exec(stdout)?.[1] ?? '';
  const there = help
    .split('\n')
    .map((line) => line.trim().split(/[\s[<]/)[0] as string)
    .filter((name) => name !== 'help');
  const rows = section('Command line')
    .split('\n')
    .filter((line) => line.startsWith('| `perdure'));
  const listed = rows.flatMap((row) =>
    [...(row.split('|')[1] ?? '').matchAll(/`(?:perdure )?(\w+)[^`]*`/g)].map(([, name]) => name),
  );
  expect(listed.sort()).toEqual(there.sort());
});
