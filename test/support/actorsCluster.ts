import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { assign, fromPromise, setup } from 'xstate';
import { defineActor, invocation } from '../../src/index.ts';
import { whileHeld, write } from './actorsJournal.ts';

/** The load of cluster tests: actors that never rest, and actors that are poison. */

export interface WorkInput {
  ms: number;
  /** At its end it kills the process, if there is poison. */
  isBomb?: true;
}

/** Writes down that it began, and how it went on. */
const work = fromPromise<string, WorkInput>(async ({ input, self, signal }) => {
  const { idempotencyKey: key, attempt } = invocation(self);
  const tell = (phase: 'start' | 'end' | 'abort') =>
    write({ kind: 'invoke', key, phase, attempt, input, at: Date.now() });
  tell('start');
  try {
    await whileHeld(signal);
    await pause(input.ms, undefined, { signal });
    if (input.isBomb && isPoison()) process.kill(process.pid, 'SIGKILL');
  } catch (error) {
    tell('abort');
    throw error;
  }
  tell('end');
  return key;
});

/** Works for 40 ms, rests for 20 ms, and so on until it is told to stop: silence of it is a pause. */
export const tick = defineActor('tick', {
  machine: setup({ actors: { work } }).createMachine({
    initial: 'working',
    on: { STOP: '.stopped' },
    states: {
      working: { invoke: { src: 'work', input: { ms: 40 }, onDone: 'resting' } },
      resting: { after: { 20: 'working' } },
      stopped: { type: 'final' },
    },
  }),
});

/** One piece of work, as long as its input says. */
export const haul = defineActor('haul', {
  machine: setup({
    types: { input: {} as WorkInput, context: {} as WorkInput, output: {} as string },
    actors: { work },
  }).createMachine({
    context: ({ input }) => input,
    initial: 'working',
    states: {
      working: { invoke: { src: 'work', input: ({ context }) => context, onDone: 'done' } },
      done: { type: 'final' },
    },
  }),
});

/** Poison for as long as this file exists; judging a history must not die of it. */
const isPoison = (): boolean => {
  const { PERDURE_TEST_DIR: dir } = process.env;
  return dir !== undefined && existsSync(join(dir, POISON_FILE));
};

export const POISON_FILE = 'poison';

/** What it works on kills the process. */
export const bomber = defineActor('bomber', {
  machine: setup({ actors: { work } }).createMachine({
    initial: 'idle',
    states: {
      idle: { on: { GO: 'working' } },
      working: {
        invoke: { src: 'work', input: { ms: 50, isBomb: true }, onDone: 'done' },
        on: { POKE: {} },
      },
      done: { type: 'final' },
    },
  }),
});

/** Counts; its steps end the process when they are asked to. */
export const counter = defineActor('counter', {
  machine: setup({
    types: {
      context: {} as { n: number },
      events: {} as { type: 'ADD' } | { type: 'POISON' } | { type: 'ARM' },
    },
    actions: {
      add: assign({ n: ({ context }) => context.n + 1 }),
      die: assign(() => {
        if (isPoison()) process.exit(3);
        return {};
      }),
    },
  }).createMachine({
    context: { n: 0 },
    on: { ADD: { actions: 'add' }, POISON: { actions: 'die' } },
    initial: 'idle',
    states: {
      idle: { on: { ARM: 'armed' } },
      armed: { after: { 300: { target: 'idle', actions: 'die' } } },
    },
  }),
});
