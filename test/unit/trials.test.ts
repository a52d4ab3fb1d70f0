import { expect, test } from 'vitest';
import { Trials } from '../../src/actors/trials.ts';
import { systemClock } from '../../src/clock.ts';
import { createLogger } from '../../src/log.ts';

test('an actor that waits to be tried alone is tried also when the timer fires a little early', async () => {
  let now = 0;
  let fire = () => {};
  const clock = {
    ...systemClock,
    monotonic: () => now,
    after: (_delayMs: number, run: () => void) => {
      fire = run;
      return () => {};
    },
  };
  const trials = new Trials(clock, createLogger({ level: 'silent' }));
  let tried = 0;
  trials.actor(4, async () => {
    tried++;
  });
  expect(tried).toBe(0);
  now = 4_999.6;
  fire();
  expect(tried).toBe(1);
});
