import { assign, raise, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

conform('after', [
  defineCase({
    name: 'after: in turn, left in time, and entered again',
    machine: () =>
      setup({ actions: { ring: note } }).createMachine({
        initial: 'first',
        context: { rounds: 0 },
        states: {
          first: { after: { 100: 'second' }, on: { AGAIN: { target: 'first', reenter: true } } },
          second: {
            entry: assign({ rounds: ({ context }) => context.rounds + 1 }),
            after: { 50: { target: 'third', actions: 'ring' } },
            on: { BACK: 'first' },
          },
          third: { after: { 10000000: 'last' } },
          last: { type: 'final' },
        },
      }),
    steps: [
      { advance: 99 },
      { send: { type: 'AGAIN' } },
      { advance: 99 },
      { advance: 1 },
      { send: { type: 'BACK' } },
      { advance: 150 },
      { advance: 10_000_000 },
    ],
  }),

  defineCase({
    name: 'named and dynamic delays',
    machine: () =>
      setup({
        types: { context: {} as { ms: number } },
        delays: { short: 20, own: ({ context }) => context.ms },
        actions: { a: note, b: note, c: note },
      }).createMachine({
        context: { ms: 70 },
        initial: 'first',
        states: {
          first: { after: { short: { target: 'second', actions: 'a' } } },
          second: { after: { own: { target: 'third', actions: 'b' }, 5000: 'never' } },
          third: { entry: raise({ type: 'BELL' }, { delay: 'short' }), on: { BELL: 'end' } },
          never: {},
          end: { entry: 'c' },
        },
      }),
    steps: [{ advance: 19 }, { advance: 1 }, { advance: 69 }, { advance: 1 }, { advance: 20 }],
  }),

  defineCase({
    name: 'several of one state, guarded, and one of no time',
    machine: () =>
      setup({
        types: { context: {} as { n: number }, events: {} as { type: 'ADD' } },
        actions: { early: note, late: note },
      }).createMachine({
        context: { n: 0 },
        initial: 'first',
        on: { ADD: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
        states: {
          first: {
            after: {
              10: [
                { guard: ({ context }) => context.n > 0, target: 'never' },
                { actions: 'early' },
              ],
              30: [{ guard: ({ context }) => context.n > 0, target: 'second', actions: 'late' }],
              40: 'never',
            },
          },
          second: { after: { 0: 'third' } },
          third: {},
          never: {},
        },
      }),
    steps: [{ advance: 20 }, { send: { type: 'ADD' } }, { advance: 10 }, { advance: 100 }],
  }),

  defineCase({
    name: 'of parent and child, due at the same moment',
    machine: () =>
      setup({ actions: { one: note, two: note, three: note } }).createMachine({
        initial: 'p',
        states: {
          p: {
            after: { 100: { actions: 'one' } },
            initial: 'a',
            states: {
              a: { after: { 40: { target: 'b', actions: 'two' } } },
              b: { after: { 60: { target: 'c', actions: 'three' } } },
              c: {},
            },
          },
        },
      }),
    steps: [{ advance: 99 }, { advance: 1 }],
  }),
]);
