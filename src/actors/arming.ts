import { PerdureError } from '../errors.ts';

/** A timer a step arms; its deadline is the commit's time plus `delayMs`. */
export interface Timer {
  timerId: string;
  delayMs: number;
  position: number;
  /** Encoded event. */
  event: string;
}

/** After a crash those that are due at the same moment fire in this order, as they would have without one. */
export const inTurn = (armed: Timer[]): Timer[] =>
  armed.sort((a, b) => a.position - b.position).map((timer, position) => ({ ...timer, position }));

/** NaN and below is at once, as with setTimeout; a century stands for ever. */
export const delayOf = (delay: unknown): number =>
  typeof delay === 'number' && delay > 0 ? Math.min(delay, CENTURY_MS) : 0;

const CENTURY_MS = 3_155_760_000_000;

/** @throws PerdureError `step_failed` */
export function checkTimerId(timerId: string): void {
  if (timerId.length > TIMER_ID_MAX || timerId.includes('\0'))
    throw new PerdureError(
      'step_failed',
      `A timer's id must be at most ${TIMER_ID_MAX} characters, without NUL.`,
    );
}

/** It is part of an event id, and both are keys in Postgres. */
const TIMER_ID_MAX = 512;
