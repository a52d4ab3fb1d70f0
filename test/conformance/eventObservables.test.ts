import { assign, fromEventObservable, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';
import { broken, values } from './support/observables.ts';

conform('fromEventObservable', [
  defineCase({
    name: 'an observable of events',
    machine: () =>
      setup({
        types: { context: {} as { last: number }, events: {} as { type: 'TICK'; n: number } },
        actors: {
          ticks: fromEventObservable(
            () =>
              values([
                { type: 'TICK', n: 1 },
                { type: 'TICK', n: 2 },
              ]) as never,
          ),
        },
      }).createMachine({
        context: { last: 0 },
        initial: 'on',
        states: {
          on: {
            invoke: { src: 'ticks', onDone: 'off' },
            on: { TICK: { actions: assign({ last: ({ event }) => event.n }) } },
          },
          off: {},
        },
      }),
    steps: [{ send: { type: 'TICK', n: 9 } }],
  }),

  defineCase({
    name: 'one with input that fails',
    machine: () =>
      setup({
        types: {
          context: {} as { heard: Record<string, boolean>; problem: string },
          events: {} as { type: 'TICK'; n: number },
        },
        actors: {
          ticks: fromEventObservable<{ type: 'TICK'; n: number }, { from: number }>(
            ({ input }) => broken([{ type: 'TICK', n: input.from }], 'no more') as never,
          ),
        },
      }).createMachine({
        context: { heard: {}, problem: '' },
        initial: 'on',
        states: {
          on: {
            invoke: {
              src: 'ticks',
              input: { from: 7 },
              onError: {
                target: 'off',
                actions: assign({ problem: ({ event }) => (event.error as Error).message }),
              },
            },
            on: {
              TICK: {
                actions: assign({
                  heard: ({ context, event }) => ({ ...context.heard, [event.n]: true }),
                }),
              },
            },
          },
          off: {},
        },
      }),
    steps: [],
  }),
]);
