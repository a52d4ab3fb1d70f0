import { assign, raise, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

// Where Perdure is known to be otherwise than XState. Each is held to what it is: a case that is not otherwise any more
// fails, and moves to where it belongs.

const note = () => {};
const fail = () => {
  throw new Error('broken');
};

conform([
  defineCase({
    name: 'a step that fails half way',
    differs: { effects: 'what a step that fails would have caused never happens (G3)' },
    machine: () =>
      setup({ actions: { before: note } }).createMachine({
        initial: 'a',
        states: { a: { on: { BREAK: { target: 'b', actions: ['before', assign(fail)] } } }, b: {} },
      }),
    steps: [{ send: { type: 'BREAK' } }],
  }),

  defineCase({
    name: 'an action that throws',
    differs: {
      views: 'its transition has been committed, so it stays; the error says which action failed',
      effects: 'the actions behind it are executed',
    },
    machine: () =>
      setup({ actions: { before: note, fail, behind: note } }).createMachine({
        initial: 'a',
        states: {
          a: { on: { GO: { target: 'b', actions: ['before', 'fail', 'behind'] } } },
          b: {},
        },
      }),
    steps: [{ send: { type: 'GO' } }],
  }),

  defineCase({
    name: 'a delayed raise under an id that is waiting already',
    differs: { views: 'the new one takes the place of the old one; under XState both fire' },
    twoTimersOfOneId: true,
    machine: () =>
      setup({
        types: {
          context: {} as { rang: number[] },
          events: {} as { type: 'ARM'; n: number } | { type: 'RING'; n: number },
        },
      }).createMachine({
        context: { rang: [] },
        on: {
          ARM: {
            actions: raise(({ event }) => ({ type: 'RING' as const, n: event.n }), {
              id: 'bell',
              delay: 100,
            }),
          },
          RING: { actions: assign({ rang: ({ context, event }) => [...context.rang, event.n] }) },
        },
      }),
    steps: [
      { send: { type: 'ARM', n: 1 } },
      { advance: 50 },
      { send: { type: 'ARM', n: 2 } },
      { advance: 100 },
    ],
  }),
]);
