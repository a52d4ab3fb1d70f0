import { assign, fromPromise, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

conform('parallel states', [
  defineCase({
    name: 'parallel regions that wait for each other',
    machine: () =>
      setup({ actions: { left: note, right: note, both: note } }).createMachine({
        type: 'parallel',
        context: { done: 0 },
        states: {
          left: {
            initial: 'on',
            states: {
              on: { tags: 'busy', on: { LEFT: { target: 'off', actions: 'left' } } },
              off: { type: 'final' },
            },
          },
          right: {
            initial: 'on',
            states: {
              on: { tags: 'busy', on: { RIGHT: { target: 'off', actions: 'right' } } },
              off: { type: 'final' },
            },
            onDone: { actions: [assign({ done: ({ context }) => context.done + 1 }), 'both'] },
          },
        },
        output: ({ context }) => context.done,
      }),
    steps: [{ send: { type: 'RIGHT' } }, { send: { type: 'LEFT' } }],
  }),

  defineCase({
    name: 'one event, taken in several regions, in order',
    machine: () =>
      setup({ actions: { one: note, two: note, three: note } }).createMachine({
        type: 'parallel',
        states: {
          a: {
            initial: 'x',
            states: { x: { on: { GO: { target: 'y', actions: 'one' } } }, y: {} },
          },
          b: {
            type: 'parallel',
            states: {
              c: {
                initial: 'x',
                states: { x: { on: { GO: { target: 'y', actions: 'two' } } }, y: { tags: 'c' } },
              },
              d: { on: { GO: { actions: 'three' } } },
            },
          },
        },
      }),
    steps: [{ send: { type: 'GO' } }, { send: { type: 'GO' } }],
  }),

  defineCase({
    name: 'a region leaves the whole, and comes back to it',
    machine: () =>
      setup({ actions: { inA: note, outA: note, inB: note, outB: note } }).createMachine({
        initial: 'both',
        states: {
          both: {
            type: 'parallel',
            states: {
              a: {
                entry: 'inA',
                exit: 'outA',
                initial: 'x',
                states: { x: { on: { STEP: 'y' } }, y: {} },
              },
              b: { entry: 'inB', exit: 'outB', on: { LEAVE: '#away' } },
            },
          },
          away: { id: 'away', on: { BACK: 'both.a.y' } },
        },
      }),
    steps: ['STEP', 'LEAVE', 'BACK', 'STEP'].map((type) => ({ send: { type } })),
  }),

  defineCase({
    name: 'timers and invokes in regions',
    machine: () =>
      setup({
        types: { context: {} as { got: string[] } },
        actors: { work: fromPromise<string>(async () => 'worked') },
      }).createMachine({
        context: { got: [] },
        type: 'parallel',
        states: {
          timed: {
            initial: 'x',
            states: { x: { after: { 100: 'y' } }, y: { after: { 50: 'x' } } },
          },
          busy: {
            initial: 'idle',
            states: {
              idle: { after: { 120: 'working' } },
              working: {
                invoke: {
                  src: 'work',
                  onDone: {
                    target: 'idle',
                    actions: assign({
                      got: ({ context, event }) => [...context.got, event.output],
                    }),
                  },
                },
              },
            },
          },
        },
      }),
    steps: [{ advance: 110 }, { advance: 15 }, { advance: 300 }],
  }),
]);
