import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createMachine } from 'xstate';

// Without these the run could pass on the current XState and prove nothing.

const ROOT = join(import.meta.dirname, '../..');
const read = (file: string) => JSON.parse(readFileSync(join(ROOT, file), 'utf8'));

test('this run is on the oldest version, which is the lower end of the peer range', () => {
  const { version } = read('node_modules/xstate-oldest/package.json');
  expect(read('package.json').peerDependencies.xstate).toBe(`>=${version} <6`);
  expect(read('node_modules/xstate/package.json').version).not.toBe(version);
});

test('what imports xstate gets the oldest', () => {
  const stack = () => {
    try {
      createMachine(null as never);
    } catch (error) {
      return String((error as Error).stack);
    }
    return '';
  };
  expect(stack()).toContain('xstate-oldest');
});
