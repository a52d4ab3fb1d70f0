import { beforeEach, describe, expect, test } from 'vitest';
import { Timers } from '../../src/actors/timers.ts';
import { type Clock, TIMER_MAX_MS } from '../../src/clock.ts';
import type { StoredTimer } from '../../src/store/store.ts';
import { randomFrom } from '../support/cluster.ts';
import { seed } from '../support/services.ts';

/** A clock that moves when it is told to. Node's timers may fire a millisecond early; so may these. */
class FakeClock implements Clock {
  time = 1_000;
  earlyMs = 0;
  #waiting: { at: number; run: () => void }[] = [];

  now(): number {
    return this.time;
  }
  monotonic(): number {
    return this.time;
  }
  after(delayMs: number, run: () => void) {
    const waitMs = Math.min(Math.max(delayMs, 0), TIMER_MAX_MS);
    const entry = { at: this.time + waitMs - (waitMs > 1 ? this.earlyMs : 0), run };
    this.#waiting.push(entry);
    return () => {
      this.#waiting = this.#waiting.filter((other) => other !== entry);
    };
  }
  soon(run: () => void): void {
    this.after(0, run);
  }
  random(): number {
    return 0.5;
  }
  uuid(): string {
    return 'uuid';
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  advance(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      this.#waiting.sort((a, b) => a.at - b.at);
      const next = this.#waiting[0];
      if (!next || next.at > end) break;
      this.#waiting.shift();
      this.time = Math.max(this.time, next.at);
      next.run();
    }
    this.time = end;
  }
}

const DATABASE_AHEAD = 1_700_000_000_000;
let clock: FakeClock;
let timers: Timers;
let fired: { timer: StoredTimer; databaseTime: number }[];
const databaseTime = () => clock.time + DATABASE_AHEAD;

function timer(timerId: string, inMs: number, given: Partial<StoredTimer> = {}): StoredTimer {
  return {
    type: 't',
    id: 'a',
    timerId,
    shard: 1,
    armedSeq: 1,
    position: 0,
    fireAt: databaseTime() + inMs,
    event: '{}',
    ...given,
  };
}
const names = () => fired.map(({ timer: { timerId } }) => timerId);

beforeEach(() => {
  clock = new FakeClock();
  fired = [];
  timers = new Timers(clock, (due) => fired.push({ timer: due, databaseTime: databaseTime() }));
  timers.observe(databaseTime());
});

test('timers fire at their deadlines, soonest first', () => {
  timers.add(timer('c', 300));
  timers.add(timer('a', 100));
  timers.add(timer('b', 200));
  clock.advance(99);
  expect(names()).toEqual([]);
  clock.advance(1);
  expect(names()).toEqual(['a']);
  clock.advance(200);
  expect(names()).toEqual(['a', 'b', 'c']);
});

test('one that is overdue fires at once', () => {
  timers.add(timer('late', -5_000));
  clock.advance(0);
  expect(names()).toEqual(['late']);
});

test('equal deadlines fire in the order of arming', () => {
  timers.add(timer('second', 50, { armedSeq: 3, position: 2 }));
  timers.add(timer('third', 50, { armedSeq: 4, position: 0 }));
  timers.add(timer('first', 50, { armedSeq: 3, position: 1 }));
  clock.advance(50);
  expect(names()).toEqual(['first', 'second', 'third']);
});

test('an arming is known once, a new arming under the same name is another', () => {
  timers.add(timer('x', 50));
  timers.add(timer('x', 50));
  timers.add(timer('x', 70, { armedSeq: 2 }));
  clock.advance(100);
  expect(fired.map(({ timer: { armedSeq } }) => armedSeq)).toEqual([1, 2]);
  // Once it has fired it may come again: its row was read before it was gone.
  timers.add(timer('x', 0));
  clock.advance(1);
  expect(fired.length).toBe(3);
});

test('a shard that is lost takes its timers along', () => {
  timers.add(timer('mine', 50, { shard: 1 }));
  timers.add(timer('theirs', 40, { shard: 2 }));
  timers.forget(2);
  clock.advance(100);
  expect(names()).toEqual(['mine']);
  timers.add(timer('theirs', 10, { shard: 2 }));
  clock.advance(100);
  expect(names()).toEqual(['mine', 'theirs']);
});

test('a deadline beyond what a timer can wait is waited for in pieces', () => {
  timers.add(timer('far', TIMER_MAX_MS + 5_000));
  clock.advance(TIMER_MAX_MS);
  expect(names()).toEqual([]);
  // What is known of the database's time sinks by a millisecond a second until it is heard of again.
  timers.observe(databaseTime());
  clock.advance(5_000 + 10);
  expect(names()).toEqual(['far']);
});

test('nothing is left waiting after a stop', () => {
  timers.add(timer('a', 50));
  timers.stop();
  expect(clock.waiting).toBe(0);
  clock.advance(1_000);
  expect(names()).toEqual([]);
});

describe('never early', () => {
  test('although the process has timers that fire too soon', () => {
    clock.earlyMs = 1;
    timers.add(timer('a', 50));
    clock.advance(200);
    expect(fired[0]?.databaseTime).toBeGreaterThanOrEqual(fired[0]?.timer.fireAt as number);
  });

  test('although answers from the database take their time', () => {
    const late = new Timers(clock, (due) =>
      fired.push({ timer: due, databaseTime: databaseTime() }),
    );
    // Each answer is some while old when it arrives: a lower bound, never more.
    const random = randomFrom(seed());
    for (let n = 0; n < 50; n++) late.observe(databaseTime() - Math.floor(random() * 40));
    expect(late.databaseTime()).toBeLessThanOrEqual(databaseTime());
    for (let n = 0; n < 200; n++) late.add(timer(`t${n}`, Math.floor(random() * 2_000)));
    for (let n = 0; n < 60; n++) {
      clock.advance(Math.floor(random() * 80));
      late.observe(databaseTime() - Math.floor(random() * 40));
    }
    clock.advance(1_000);
    expect(fired.length).toBe(200);
    for (const { timer: due, databaseTime: at } of fired)
      expect(at).toBeGreaterThanOrEqual(due.fireAt);
  });

  test('although our clock runs ahead of the database, by less than a thousandth', () => {
    // The bound sinks faster than any two clocks drift apart.
    const drifting = new Timers(clock, (due) => {
      const real = DATABASE_AHEAD + 1_000 + (clock.time - 1_000) * 0.9995;
      fired.push({ timer: due, databaseTime: real });
    });
    drifting.observe(databaseTime());
    for (let n = 1; n <= 20; n++)
      drifting.add(timer(`t${n}`, 0, { fireAt: DATABASE_AHEAD + 1_000 + n * 500 }));
    for (let n = 0; n < 11; n++) {
      clock.advance(1_000);
      drifting.observe(DATABASE_AHEAD + 1_000 + (clock.time - 1_000) * 0.9995);
    }
    expect(fired.length).toBeGreaterThanOrEqual(20);
    for (const { timer: due, databaseTime: at } of fired)
      expect(at).toBeGreaterThanOrEqual(due.fireAt - 1);
  });
});
