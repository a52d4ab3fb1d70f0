import { assign, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

conform('always', [
  defineCase({
    name: 'guards, and always',
    machine: () =>
      setup({
        types: { context: {} as { n: number }, events: {} as { type: 'ADD'; by: number } },
        guards: {
          isMuch: ({ context }) => context.n > 5,
          isNone: ({ context }) => context.n === 0,
        },
        actions: { much: note },
      }).createMachine({
        context: { n: 0 },
        initial: 'counting',
        states: {
          counting: {
            always: { guard: 'isMuch', target: 'full', actions: 'much' },
            on: {
              ADD: [
                { guard: ({ event }) => event.by < 0 },
                { actions: assign({ n: ({ context, event }) => context.n + event.by }) },
              ],
            },
          },
          full: { always: [{ guard: 'isNone', target: 'counting' }] },
        },
      }),
    steps: [
      { send: { type: 'ADD', by: -1 } },
      { send: { type: 'ADD', by: 3 } },
      { send: { type: 'ADD', by: 3 } },
      { send: { type: 'ADD', by: 3 } },
    ],
  }),

  defineCase({
    name: 'always, chained, with a guard that reads what was assigned before',
    machine: () =>
      setup({
        types: { context: {} as { n: number }, events: {} as { type: 'GO'; n: number } },
        actions: { through: note },
      }).createMachine({
        context: { n: 0 },
        initial: 'idle',
        states: {
          idle: {
            on: { GO: { target: 'check', actions: assign({ n: ({ event }) => event.n }) } },
          },
          check: {
            always: [
              { guard: ({ context }) => context.n > 3, target: 'big', actions: 'through' },
              { target: 'small' },
            ],
          },
          big: { always: { guard: ({ context }) => context.n > 10, target: 'huge' } },
          huge: {},
          small: {
            on: { GO: { target: 'check', actions: assign({ n: ({ event }) => event.n }) } },
          },
        },
      }),
    steps: [{ send: { type: 'GO', n: 1 } }, { send: { type: 'GO', n: 11 } }],
  }),
]);
