import { beforeEach, expect, test } from 'vitest';
import { Newcomers } from '../../src/actors/newcomers.ts';
import { systemClock } from '../../src/clock.ts';

let now = 0;
let newcomers: Newcomers;
beforeEach(() => {
  now = 1_000;
  newcomers = new Newcomers({ ...systemClock, monotonic: () => now });
});

const passes = (ms: number) => {
  now += ms;
};

test('whoever has not been here lately may be new', () => {
  expect(newcomers.mayBeNew('job/a')).toBe(true);
  newcomers.met('job/a');
  expect([newcomers.mayBeNew('job/a'), newcomers.mayBeNew('job/b')]).toEqual([false, true]);
});

test('the last 5,000 who were met are remembered, and never more than twice as many', () => {
  for (let n = 0; n < 20_000; n++) newcomers.met(`job/${n}`);
  const known = Array.from({ length: 20_000 }, (_, n) => !newcomers.mayBeNew(`job/${n}`));
  expect(known.slice(-5_000)).toEqual(Array.from({ length: 5_000 }, () => true));
  expect(known.filter(Boolean).length).toBeLessThanOrEqual(10_000);
});

test('after a mistake all are asked for: for a minute, then twice as long each time, at most an hour', () => {
  const asked: number[] = [];
  for (let mistake = 0; mistake < 8; mistake++) {
    newcomers.mistaken();
    // The rest of the same burst.
    newcomers.mistaken();
    let minutes = 0;
    for (; !newcomers.mayBeNew('job/a'); minutes++) passes(60_000);
    asked.push(minutes);
  }
  expect(asked).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
});
