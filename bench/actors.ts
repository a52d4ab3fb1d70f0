import { appendFileSync } from 'node:fs';
import { assign, createMachine, fromPromise, setup } from 'xstate';
import { defineActor } from '../src/index.ts';

/** A job that is done as soon as it starts: one transition. */
export const noop = defineActor('noop', {
  machine: createMachine({ id: 'noop', initial: 'done', states: { done: { type: 'final' } } }),
});

/** Three invokes, one after the other: four transitions, each committed before the next invoke runs. */
const flow = defineActor('flow', {
  machine: setup({
    types: {
      input: {} as { n: number },
      context: {} as { n: number; sum: number },
      output: {} as { sum: number },
    },
    actors: {
      add: fromPromise(
        async ({ input }: { input: { n: number; sum: number } }) => input.sum + input.n,
      ),
    },
  }).createMachine({
    id: 'flow',
    context: ({ input }) => ({ n: input.n, sum: 0 }),
    initial: 'one',
    states: {
      one: {
        invoke: {
          src: 'add',
          id: 'one',
          input: ({ context }) => context,
          onDone: { target: 'two', actions: assign({ sum: ({ event }) => event.output }) },
        },
      },
      two: {
        invoke: {
          src: 'add',
          id: 'two',
          input: ({ context }) => context,
          onDone: { target: 'three', actions: assign({ sum: ({ event }) => event.output }) },
        },
      },
      three: {
        invoke: {
          src: 'add',
          id: 'three',
          input: ({ context }) => context,
          onDone: { target: 'done', actions: assign({ sum: ({ event }) => event.output }) },
        },
      },
      done: { type: 'final' },
    },
    output: ({ context }) => ({ sum: context.sum }),
  }),
});

/** Lives until it is told to stop, and counts. */
export const counter = defineActor('counter', {
  machine: setup({
    types: {
      context: {} as { count: number },
      events: {} as { type: 'ADD'; by: number } | { type: 'STOP' },
    },
  }).createMachine({
    id: 'counter',
    context: { count: 0 },
    initial: 'counting',
    states: {
      counting: {
        on: {
          ADD: { actions: assign({ count: ({ context, event }) => context.count + event.by }) },
          STOP: 'done',
        },
      },
      done: { type: 'final' },
    },
  }),
});

/** One second of work, told to a file that outlives whoever is killed. */
const slow = defineActor('slow', {
  machine: setup({
    types: {
      input: {} as { id: string; marks: string },
      context: {} as { id: string; marks: string },
    },
    actors: {
      second: fromPromise(async ({ input }: { input: { id: string; marks: string } }) => {
        appendFileSync(input.marks, `s ${input.id} ${process.pid}\n`);
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        appendFileSync(input.marks, `d ${input.id} ${process.pid}\n`);
      }),
    },
  }).createMachine({
    id: 'slow',
    context: ({ input }) => input,
    initial: 'working',
    states: {
      working: {
        invoke: { src: 'second', id: 'second', input: ({ context }) => context, onDone: 'done' },
      },
      done: { type: 'final' },
    },
  }),
});

/** Waits for an hour. */
const sleeper = defineActor('sleeper', {
  machine: createMachine({
    id: 'sleeper',
    initial: 'asleep',
    states: { asleep: { after: { 3600000: 'done' } }, done: { type: 'final' } },
  }),
});

export const actors = [noop, flow, counter, slow, sleeper];
