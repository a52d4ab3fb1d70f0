import { setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

conform('nested states', [
  defineCase({
    name: 'entry, exit and transition actions of nested states, in order',
    machine: () =>
      setup({
        actions: {
          inA: note,
          outA: note,
          inA1: note,
          outA1: note,
          inA2: note,
          inB: note,
          go: note,
        },
      }).createMachine({
        initial: 'a',
        states: {
          a: {
            entry: 'inA',
            exit: 'outA',
            initial: 'a1',
            on: { B: { target: 'b', actions: 'go' }, AGAIN: { target: 'a', reenter: true } },
            states: {
              a1: { entry: 'inA1', exit: 'outA1', on: { NEXT: { target: 'a2', actions: 'go' } } },
              a2: { entry: 'inA2' },
            },
          },
          b: { entry: 'inB' },
        },
      }),
    steps: [
      { send: { type: 'NEXT' } },
      { send: { type: 'AGAIN' } },
      { send: { type: 'B' } },
      { send: { type: 'NOBODY' } },
    ],
  }),

  defineCase({
    name: 'events go to the innermost state that takes them, four levels deep',
    machine: () =>
      setup({ actions: { a: note, b: note, c: note, d: note } }).createMachine({
        initial: 'a',
        on: { TOP: { actions: 'a' }, SHADOWED: { actions: 'a' } },
        states: {
          a: {
            on: { SHADOWED: { actions: 'b' }, OUT: { target: '#end', actions: 'b' } },
            initial: 'b',
            states: {
              b: {
                initial: 'c',
                states: {
                  c: {
                    on: { SHADOWED: { actions: 'c' } },
                    initial: 'd',
                    states: { d: { on: { SHADOWED: {}, DEEP: 'e' } }, e: { exit: 'd' } },
                  },
                },
              },
            },
          },
          end: { id: 'end' },
        },
      }),
    steps: ['TOP', 'SHADOWED', 'DEEP', 'SHADOWED', 'OUT', 'TOP'].map((type) => ({
      send: { type },
    })),
  }),

  defineCase({
    name: 'a target deep inside, and one beside an ancestor',
    machine: () =>
      setup({ actions: { inX: note, inY: note, outY: note } }).createMachine({
        initial: 'idle',
        states: {
          idle: { on: { GO: 'x.y.z' } },
          x: {
            entry: 'inX',
            initial: 'w',
            states: {
              w: {},
              y: {
                entry: 'inY',
                exit: 'outY',
                initial: 'v',
                states: { v: {}, z: { on: { BESIDE: '#w' } } },
              },
              other: { id: 'w', on: { HOME: '#home' } },
            },
          },
          home: { id: 'home' },
        },
      }),
    steps: ['GO', 'BESIDE', 'HOME'].map((type) => ({ send: { type } })),
  }),
]);
