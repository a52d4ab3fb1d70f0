import { assign, fromTransition, sendTo, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

conform('fromTransition', [
  defineCase({
    name: 'a transition function, watched, told by id, by ref and with delay',
    machine: () =>
      setup({
        types: {
          context: {} as { totals: (number | undefined)[] },
          events: {} as { type: 'ADD' | 'LATER' | 'BY_REF'; n: number },
        },
        actors: {
          sum: fromTransition<number, { type: 'ADD'; n: number }, never, { from: number }>(
            (total, { n }) => total + n,
            ({ input }) => input.from,
          ),
        },
      }).createMachine({
        context: { totals: [] },
        invoke: {
          id: 'sum',
          src: 'sum',
          input: { from: 10 },
          onSnapshot: {
            actions: assign({
              totals: ({ context, event }) => [...context.totals, event.snapshot.context],
            }),
          },
        },
        on: {
          ADD: { actions: sendTo('sum', ({ event }) => ({ type: 'ADD', n: event.n })) },
          BY_REF: {
            actions: sendTo(
              ({ self }) => self.getSnapshot().children.sum as never,
              ({ event }) => ({ type: 'ADD', n: event.n }) as never,
            ),
          },
          LATER: {
            actions: sendTo('sum', ({ event }) => ({ type: 'ADD', n: event.n }), { delay: 50 }),
          },
        },
      }),
    steps: [
      { send: { type: 'ADD', n: 1 } },
      { send: { type: 'LATER', n: 5 } },
      { send: { type: 'ADD', n: 2 } },
      { send: { type: 'BY_REF', n: 7 } },
      { advance: 50 },
    ],
  }),

  defineCase({
    name: 'a transition function that throws',
    machine: () =>
      setup({
        types: { context: {} as { problem: string }, events: {} as { type: 'BREAK' } },
        actors: {
          glass: fromTransition((): number => {
            throw new Error('broken');
          }, 0),
        },
      }).createMachine({
        context: { problem: '' },
        invoke: {
          id: 'glass',
          src: 'glass',
          onError: { actions: assign({ problem: ({ event }) => (event.error as Error).message }) },
        },
        on: { BREAK: { actions: sendTo('glass', { type: 'HIT' }) } },
      }),
    steps: [{ send: { type: 'BREAK' } }, { send: { type: 'BREAK' } }],
  }),

  defineCase({
    name: 'told by what begins with it, and again after its state has been left and entered',
    machine: () =>
      setup({
        types: {
          context: {} as { totals: (number | undefined)[] },
          events: {} as { type: 'TOGGLE' | 'ADD' },
        },
        actors: { sum: fromTransition((total: number) => total + 1, 0) },
      }).createMachine({
        context: { totals: [] },
        initial: 'off',
        states: {
          off: { on: { TOGGLE: 'on' } },
          on: {
            entry: sendTo('sum', { type: 'ADD' }),
            exit: sendTo('sum', { type: 'ADD' }),
            invoke: {
              id: 'sum',
              src: 'sum',
              onSnapshot: {
                actions: assign({
                  totals: ({ context, event }) => [...context.totals, event.snapshot.context],
                }),
              },
            },
            on: { ADD: { actions: sendTo('sum', { type: 'ADD' }) }, TOGGLE: 'off' },
          },
        },
      }),
    steps: ['TOGGLE', 'ADD', 'TOGGLE', 'TOGGLE', 'ADD'].map((type) => ({ send: { type } })),
  }),
]);
