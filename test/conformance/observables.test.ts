import { assign, fromObservable, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';
import { broken, silent, values } from './support/observables.ts';

const note = () => {};

conform('fromObservable', [
  defineCase({
    name: 'an observable, watched to its end',
    machine: () =>
      setup({
        types: { context: {} as { last: number | undefined } },
        actions: { done: note },
        actors: { numbers: fromObservable(() => values([1, 2, 3]) as never) },
      }).createMachine({
        context: { last: undefined },
        initial: 'watching',
        states: {
          watching: {
            invoke: {
              src: 'numbers',
              onSnapshot: {
                actions: assign({
                  last: ({ event }) => event.snapshot.context as number | undefined,
                }),
              },
              onDone: { target: 'over', actions: 'done' },
            },
          },
          over: { type: 'final' },
        },
      }),
    steps: [],
  }),

  defineCase({
    name: 'an observable that never says anything is left',
    machine: () =>
      setup({
        actions: { bye: note },
        actors: { silent: fromObservable(() => silent as never) },
      }).createMachine({
        initial: 'on',
        states: {
          on: { invoke: { src: 'silent' }, exit: 'bye', on: { LEAVE: 'off' } },
          off: {},
        },
      }),
    steps: [{ send: { type: 'LEAVE' } }],
  }),

  defineCase({
    name: 'one that fails, with and without onError',
    machine: () =>
      setup({
        types: { context: {} as { problem: string; last: number | undefined } },
        actors: {
          numbers: fromObservable<number, string>(({ input }) => broken([1, 2], input) as never),
        },
      }).createMachine({
        context: { problem: '', last: undefined },
        initial: 'first',
        states: {
          first: {
            invoke: {
              src: 'numbers',
              input: 'cut off',
              onSnapshot: {
                actions: assign({
                  last: ({ event }) => event.snapshot.context as number | undefined,
                }),
              },
              onError: {
                target: 'second',
                actions: assign({ problem: ({ event }) => (event.error as Error).message }),
              },
            },
          },
          second: { on: { AGAIN: 'third' } },
          third: { invoke: { src: 'numbers', input: 'again' } },
        },
      }),
    steps: [{ send: { type: 'AGAIN' } }],
  }),
]);
