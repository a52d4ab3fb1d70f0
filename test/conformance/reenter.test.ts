import { fromPromise, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

conform('reenter', [
  defineCase({
    name: 'internal, external and reentering transitions',
    machine: () =>
      setup({ actions: { inP: note, outP: note, inC: note, outC: note } }).createMachine({
        initial: 'p',
        states: {
          p: {
            entry: 'inP',
            exit: 'outP',
            initial: 'c',
            on: {
              CHILD: '.c',
              CHILD_AGAIN: { target: '.c', reenter: true },
              SELF: { target: 'p' },
              SELF_AGAIN: { target: 'p', reenter: true },
              NOTHING: {},
            },
            states: { c: { entry: 'inC', exit: 'outC' }, d: {} },
          },
        },
      }),
    steps: ['CHILD', 'CHILD_AGAIN', 'SELF', 'SELF_AGAIN', 'NOTHING'].map((type) => ({
      send: { type },
    })),
  }),

  defineCase({
    name: 'timers and invokes begin anew only when a state is entered anew',
    machine: () =>
      setup({
        actors: { wait: fromPromise(() => new Promise<never>(() => {})) },
      }).createMachine({
        initial: 'p',
        states: {
          p: {
            invoke: { src: 'wait', input: 'p' },
            after: { 100: 'late' },
            initial: 'c',
            on: { STAY: '.c', AGAIN: { target: '.c', reenter: true } },
            states: { c: { invoke: { src: 'wait', input: 'c' } } },
          },
          late: {},
        },
      }),
    steps: [
      { advance: 60 },
      { send: { type: 'STAY' } },
      { send: { type: 'AGAIN' } },
      { advance: 60 },
      { advance: 40 },
    ],
  }),
]);
