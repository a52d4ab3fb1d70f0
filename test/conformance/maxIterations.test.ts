import { assign, raise, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

conform('maxIterations', [
  defineCase({
    name: 'always without end',
    machine: () =>
      setup({ types: { context: {} as { n: number } } }).createMachine({
        context: { n: 0 },
        initial: 'a',
        states: {
          a: { on: { GO: 'b' } },
          b: { always: { target: 'c', actions: assign({ n: ({ context }) => context.n + 1 }) } },
          c: { always: 'b' },
        },
        options: { maxIterations: 20 },
      }),
    steps: [{ send: { type: 'GO' } }],
  }),

  defineCase({
    name: 'raise without end, and as often as is allowed',
    machine: () =>
      setup({
        types: {
          context: {} as { left: number },
          events: {} as { type: 'GO'; n: number } | { type: 'ON' },
        },
      }).createMachine({
        context: { left: 0 },
        on: {
          GO: { actions: [assign({ left: ({ event }) => event.n }), raise({ type: 'ON' })] },
          ON: {
            guard: ({ context }) => context.left > 0,
            actions: [assign({ left: ({ context }) => context.left - 1 }), raise({ type: 'ON' })],
          },
        },
        options: { maxIterations: 20 },
      }),
    steps: [{ send: { type: 'GO', n: 10 } }, { send: { type: 'GO', n: 100 } }],
  }),
]);
