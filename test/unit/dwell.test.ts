import { expect, test } from 'vitest';
import { AGES, medianAge } from '../../src/store/dwell.ts';
import { createRandom } from '../../src/testing/random.ts';

// How long half of the actors of a place have been there, from how many are at most so old.

const MINUTE = 60_000;

function told(ages: number[]): number {
  return medianAge({
    count: ages.length,
    younger: AGES.map((age) => ages.filter((one) => one <= age).length),
    newest: Math.min(...ages),
    oldest: Math.max(...ages),
  });
}

test('one alone, and several of one age, are exactly that old', () => {
  for (const age of [0, 5_000, 3 * MINUTE, 400 * 86_400_000]) {
    expect(told([age])).toBe(age);
    expect(told([age, age, age])).toBe(age);
  }
});

test('one that is there for a year does not make the others old', () => {
  const year = 365 * 86_400_000;
  expect(told([20_000, 21_000, 22_000, year])).toBeLessThanOrEqual(30_000);
});

test('it lies between the same two ages as the true median, whatever there is', () => {
  const { random } = createRandom(7);
  const step = (age: number) => AGES.filter((one) => one < age).length;
  for (let round = 0; round < 300; round++) {
    const count = 1 + 2 * Math.floor(random() * 40);
    const ages = Array.from({ length: count }, () => Math.round(1_000 * 10 ** (random() * 8)));
    const median = ages.toSorted((a, b) => a - b)[(count - 1) / 2] as number;
    const about = told(ages);
    expect(step(about), `${about} for ${median}`).toBe(step(median));
  }
});
