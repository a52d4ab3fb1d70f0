import { createMachine, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

conform('history states', [
  defineCase({
    name: 'shallow and deep history, and its default',
    machine: () =>
      setup({ actions: { deep: note, shallow: note } }).createMachine({
        initial: 'off',
        states: {
          off: {
            on: {
              ON: 'on',
              BACK: { target: 'on.shallow', actions: 'shallow' },
              DEEP: { target: 'on.deep', actions: 'deep' },
            },
          },
          on: {
            initial: 'a',
            on: { OFF: 'off' },
            states: {
              a: { on: { NEXT: 'b' } },
              b: {
                initial: 'b1',
                states: { b1: { on: { NEXT: 'b2' } }, b2: { on: { NEXT: 'b3' } }, b3: {} },
              },
              shallow: { type: 'history', target: 'b' },
              deep: { type: 'history', history: 'deep' },
            },
          },
        },
      }),
    steps: [
      { send: { type: 'BACK' } },
      { send: { type: 'NEXT' } },
      { send: { type: 'OFF' } },
      { send: { type: 'DEEP' } },
      { send: { type: 'NEXT' } },
      { send: { type: 'OFF' } },
      { send: { type: 'BACK' } },
      { send: { type: 'OFF' } },
      { send: { type: 'DEEP' } },
    ],
  }),

  defineCase({
    name: 'history of parallel regions',
    machine: () =>
      createMachine({
        initial: 'work',
        states: {
          work: {
            type: 'parallel',
            on: { PAUSE: 'paused' },
            states: {
              left: { initial: 'a', states: { a: { on: { L: 'b' } }, b: {} } },
              right: { initial: 'a', states: { a: { on: { R: 'b' } }, b: {} } },
              past: { type: 'history', history: 'deep' },
            },
          },
          paused: { on: { RESUME: 'work.past', RESTART: 'work' } },
        },
      }),
    steps: [
      { send: { type: 'R' } },
      { send: { type: 'PAUSE' } },
      { send: { type: 'RESUME' } },
      { send: { type: 'PAUSE' } },
      { send: { type: 'RESTART' } },
    ],
  }),

  defineCase({
    name: 'history with a default target, and actions of the way back',
    machine: () =>
      setup({ actions: { back: note, inB: note } }).createMachine({
        initial: 'off',
        states: {
          off: { on: { ON: { target: 'on.past', actions: 'back' } } },
          on: {
            initial: 'a',
            on: { OFF: 'off' },
            states: {
              a: { on: { NEXT: 'b' } },
              b: { entry: 'inB', on: { NEXT: 'a' } },
              past: { type: 'history', history: 'shallow', target: 'b' },
            },
          },
        },
      }),
    steps: ['ON', 'NEXT', 'OFF', 'ON', 'NEXT', 'OFF', 'ON'].map((type) => ({ send: { type } })),
  }),
]);
