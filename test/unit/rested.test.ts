import { expect, test } from 'vitest';
import type { Clock } from '../../src/clock.ts';
import { CHEAP, Rested } from '../../src/inspect/rested.ts';

/** A read that is done, or fails, when it is told to, on a clock that is moved by hand. */
function stage(rest?: typeof CHEAP) {
  let now = 0;
  let timers: { at: number; run: () => void }[] = [];
  const clock = {
    monotonic: () => now,
    after(ms: number, run: () => void) {
      const timer = { at: now + ms, run };
      timers.push(timer);
      return () => {
        timers = timers.filter((one) => one !== timer);
      };
    },
  } as unknown as Clock;
  const reads: { done(value: number): void; fail(error: Error): void }[] = [];
  const rested = new Rested(
    () => new Promise<number>((done, fail) => reads.push({ done, fail })),
    clock,
    rest,
  );
  const pass = (ms: number) => {
    now += ms;
    for (const { at, run } of timers) if (at <= now) run();
  };
  return { rested, reads, pass, waiting: () => timers.length };
}

test('however many ask, it is read once, and rests for 150 times as long as it took', async () => {
  const { rested, reads, pass } = stage();
  const asked = [rested.get(), rested.get()];
  pass(1_000);
  reads[0]?.done(1);
  expect(await Promise.all(asked)).toEqual([1, 1]);
  pass(149_000);
  expect(await rested.get()).toBe(1);
  expect(reads).toHaveLength(1);
});

test('who asks while it is read again gets the old value soon, or the new one when that is sooner', async () => {
  const { rested, reads, pass, waiting } = stage();
  const first = rested.get();
  reads[0]?.done(1);
  await first;
  pass(1_000);
  const soon = rested.get();
  reads[1]?.done(2);
  expect(await soon).toBe(2);
  expect(waiting()).toBe(0);
  pass(1_000);
  const late = rested.get();
  pass(100);
  expect(await late).toBe(2);
  reads[2]?.done(3);
  await expect.poll(() => rested.get()).toBe(3);
  expect(reads).toHaveLength(3);
});

test('a read that fails is told to who waits, and tried again by the next one', async () => {
  const { rested, reads, pass } = stage();
  const first = rested.get();
  reads[0]?.fail(new Error('away'));
  await expect(first).rejects.toThrow('away');
  const second = rested.get();
  reads[1]?.done(1);
  expect(await second).toBe(1);
  pass(1_000);
  const third = rested.get();
  pass(100);
  expect(await third).toBe(1);
  const waits = rested.get();
  reads[2]?.fail(new Error('away'));
  await expect(waits).rejects.toThrow('away');
  const next = rested.get();
  reads[3]?.done(4);
  expect(await next).toBe(4);
});

test('of what is cheap nobody gets what was read before', async () => {
  const { rested, reads, pass, waiting } = stage(CHEAP);
  const first = rested.get();
  reads[0]?.done(1);
  expect(await first).toBe(1);
  pass(999);
  expect(await rested.get()).toBe(1);
  pass(1);
  const again = rested.get();
  expect(waiting()).toBe(0);
  reads[1]?.fail(new Error('away'));
  await expect(again).rejects.toThrow('away');
});
