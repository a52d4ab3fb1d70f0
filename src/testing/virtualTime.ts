import { setImmediate } from 'node:timers';
import type { Cancel, Clock } from '../clock.ts';
import { PerdureError } from '../errors.ts';
import { createRandom } from './random.ts';
import { asNobody } from './realWork.ts';

interface Waiting {
  at: number;
  run: () => void;
}

/** Turns of the event loop without anything having happened, after which nothing is going to. */
const QUIET_TURNS = 3;
const TURNS_MAX = 20_000;
const BEGINS_AT = Date.UTC(2030, 0, 1);

/**
 * Time that passes only when it is told to. It has two hands: `world` is what actors, their timers and the store go by;
 * `rounds` is what the engine's own rounds and short waits go by, and may run ahead, so that a takeover or a commit
 * that is put off for a moment takes no time in the world.
 */
export class VirtualTime {
  readonly world: Clock;
  readonly rounds: Clock;
  readonly #world = new Set<Waiting>();
  readonly #rounds = new Set<Waiting>();
  #now = BEGINS_AT;
  /** How far `rounds` is ahead, ms. */
  #ahead = 0;
  #turning = 0;
  #moves = 0;

  constructor(seed: number) {
    const random = createRandom(seed);
    const soon = (run: () => void) => this.soon(run);
    const clockOf = (now: () => number, waiting: Set<Waiting>): Clock => ({
      now,
      monotonic: () => now() - BEGINS_AT,
      after: (delayMs, run) => wait(waiting, now() + Math.ceil(Math.max(0, delayMs)), run),
      soon,
      ...random,
    });
    this.world = clockOf(() => this.#now, this.#world);
    this.rounds = clockOf(() => this.#now + this.#ahead, this.#rounds);
  }

  /** Runs `run` in a later turn of the event loop, and counts as something that moves. */
  soon(run: () => void): void {
    this.#turning++;
    this.touch();
    asNobody(() =>
      setImmediate(() => {
        this.#turning--;
        run();
      }),
    );
  }

  /** Something has moved. */
  touch(): void {
    this.#moves++;
  }

  /** Grows with everything that moves. */
  get moves(): number {
    return this.#moves;
  }

  /** Resolves when nothing moves any more without time. @throws PerdureError `timeout` when it does not end. */
  async drain(): Promise<void> {
    let quiet = 0;
    for (let turns = 0; quiet < QUIET_TURNS; turns++) {
      if (turns > TURNS_MAX)
        throw new PerdureError(
          'timeout',
          'It does not come to rest: something goes on for ever without time passing, such as an actor that sends to itself.',
        );
      const before = this.#moves;
      await new Promise<void>((resolve) => void setImmediate(resolve));
      quiet = this.#moves === before && this.#turning === 0 ? quiet + 1 : 0;
    }
  }

  /** When the next timer in the world is due, ms since 1970. */
  get nextAt(): number | undefined {
    return earliest(this.#world)?.at;
  }

  /** Moves the world's time. What comes due is run by `fireDue`. */
  moveTo(now: number): void {
    this.#now = Math.max(this.#now, now);
  }

  /** Runs one thing that is due: the engine's own first, it would have had its turn before. */
  fireDue(): boolean {
    return (
      fire(this.#rounds, this.#now + this.#ahead, earliest(this.#rounds)) ||
      fire(this.#world, this.#now, earliest(this.#world))
    );
  }

  /** Lets the engine wait, without the world: runs its next turn if that is within `limitMs` of `since`. */
  fireRound(since: number, limitMs: number): boolean {
    const next = earliest(this.#rounds);
    if (!next || next.at > since + limitMs) return false;
    this.#ahead = Math.max(this.#ahead, next.at - this.#now);
    return fire(this.#rounds, next.at, next);
  }
}

function wait(waiting: Set<Waiting>, at: number, run: () => void): Cancel {
  const entry = { at, run };
  waiting.add(entry);
  return () => waiting.delete(entry);
}

/** Of several at the same time the one that was asked for first. */
function earliest(waiting: ReadonlySet<Waiting>): Waiting | undefined {
  let first: Waiting | undefined;
  for (const entry of waiting) if (!first || entry.at < first.at) first = entry;
  return first;
}

function fire(waiting: Set<Waiting>, now: number, entry: Waiting | undefined): boolean {
  if (!entry || entry.at > now) return false;
  waiting.delete(entry);
  entry.run();
  return true;
}

/** The clock of one node: what a dead one has planned does not happen. */
export function clockWhile(clock: Clock, isAlive: () => boolean): Clock {
  const guarded = (run: () => void) => () => {
    if (isAlive()) run();
  };
  return {
    ...clock,
    after: (delayMs, run) => clock.after(delayMs, guarded(run)),
    soon: (run) => clock.soon(guarded(run)),
  };
}
