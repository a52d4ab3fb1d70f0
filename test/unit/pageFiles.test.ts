import { posix } from 'node:path';
import { expect, test } from 'vitest';
import { pageFiles } from '../../src/inspect/pageFiles.ts';

test('every module that a module of the page imports is served', () => {
  const files = pageFiles();
  const imported: string[] = [];
  for (const [path, { body }] of files) {
    if (!/\.[jt]s$/.test(path)) continue;
    for (const [, target = ''] of body.toString().matchAll(/\bfrom\s*['"](\.{1,2}\/[^'"]+)['"]/g))
      imported.push(posix.join(posix.dirname(path), target));
  }
  expect(imported.length).toBeGreaterThan(20);
  expect(imported.filter((path) => !files.has(path))).toEqual([]);
});
