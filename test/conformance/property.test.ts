import { expect, test } from 'vitest';
import { seed } from '../support/services.ts';
import { checkSeed } from './random/check.ts';

// Machines, events and crashes by chance; XState alone says what should come of it. A taste of them here; `npm run property`
// runs thousands, on all cores.

const CASES = 40;

test(`${CASES} machines made at random do what they do under XState, also where nodes die`, async () => {
  const first = seed();
  const problems: string[] = [];
  for (let n = 0; n < CASES; n++) {
    const { problem } = await checkSeed(first + n);
    if (problem !== undefined)
      problems.push(`npm run property -- --seed ${first + n} --cases 1\n${problem}`);
  }
  expect(problems.join('\n\n')).toBe('');
});
