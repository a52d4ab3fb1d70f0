import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';

// The examples of docs/testing.md, run as they are printed.

const ROOT = resolve(import.meta.dirname, '../..');
const PAGE = readFileSync(join(ROOT, 'docs/testing.md'), 'utf8');
const [order = '', ...examples] = Array.from(
  PAGE.matchAll(/^```ts\n([\s\S]*?)^```$/gm),
  ([, text]) => text as string,
);
const run = promisify(execFile);
let dir: string;

/** From the sources, which have not been built. */
const here = (text: string) =>
  text
    .replaceAll(`'perdure/testing'`, `'${pathToFileURL(join(ROOT, 'src/testing/index.ts'))}'`)
    .replaceAll(`'perdure'`, `'${pathToFileURL(join(ROOT, 'src/index.ts'))}'`);

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'perdure-testing-docs-'));
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  writeFileSync(join(dir, 'package.json'), '{"type":"module"}');
  writeFileSync(join(dir, 'order.ts'), here(order));
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('there are examples', () => expect(examples.length).toBeGreaterThan(4));

test.each(examples.map((text, index) => ({ name: `example ${index + 1}`, text })))(
  '$name',
  async ({ name, text }) => {
    const file = join(dir, `${name.replace(' ', '')}.ts`);
    writeFileSync(file, here(text));
    await run(process.execPath, [file], { cwd: dir });
  },
);
