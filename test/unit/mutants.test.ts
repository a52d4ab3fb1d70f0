import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { MUTANTS } from '../support/mutate.ts';

// `npm run faults` runs them; that they still fit is seen here.

test.each(
  Object.entries(MUTANTS).flatMap(([name, { file, changes }]) =>
    changes.map(([from]) => ({ name, file, from })),
  ),
)('bug: the mutant "$name" had gone stale ($from)', ({ file, from }) => {
  const source = readFileSync(new URL(`../..${file}`, import.meta.url), 'utf8');
  expect(source.split(from)).toHaveLength(2);
});
