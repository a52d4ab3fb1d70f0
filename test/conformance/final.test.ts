import { assign, fromPromise, raise, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

conform('final states and onDone', [
  defineCase({
    name: 'nested final states and their onDone, with output',
    machine: () =>
      setup({ actions: { ended: note } }).createMachine({
        context: { told: null as unknown },
        initial: 'flow',
        states: {
          flow: {
            initial: 'a',
            onDone: {
              target: 'over',
              actions: [assign({ told: ({ event }) => event.output }), 'ended'],
            },
            states: { a: { on: { END: 'z' } }, z: { type: 'final', output: { from: 'z' } } },
          },
          over: { type: 'final' },
        },
        output: ({ context }: { context: { told: unknown } }) => context.told,
      } as never) as never,
    steps: [{ send: { type: 'END' } }],
  }),

  defineCase({
    name: 'onDone of a region, then of the parallel state',
    machine: () =>
      setup({ actions: { one: note, both: note } }).createMachine({
        initial: 'work',
        states: {
          work: {
            type: 'parallel',
            onDone: { target: 'over', actions: 'both' },
            states: {
              a: {
                initial: 'on',
                onDone: { actions: 'one' },
                states: { on: { on: { A: 'off' } }, off: { type: 'final' } },
              },
              b: { initial: 'on', states: { on: { on: { B: 'off' } }, off: { type: 'final' } } },
            },
          },
          over: { type: 'final', output: 'all' },
        },
        output: ({ event }) => event.output,
      }),
    steps: [{ send: { type: 'A' } }, { send: { type: 'B' } }],
  }),

  defineCase({
    name: 'one that is done as it starts',
    machine: () =>
      setup({ actions: { begin: note, end: note } }).createMachine({
        entry: 'begin',
        exit: 'end',
        initial: 'over',
        states: { over: { type: 'final' } },
        output: { n: 1 },
      }),
    steps: [{ send: { type: 'LATE' } }],
  }),

  defineCase({
    name: 'the end stops what runs, and what waits',
    machine: () =>
      setup({
        actors: { wait: fromPromise(() => new Promise<never>(() => {})) },
        actions: { left: note, never: note },
      }).createMachine({
        invoke: { src: 'wait', onDone: { actions: 'never' } },
        entry: raise({ type: 'LATER' }, { delay: 100 }),
        on: { LATER: { actions: 'never' } },
        initial: 'open',
        states: { open: { exit: 'left', on: { END: 'over' } }, over: { type: 'final' } },
      }),
    steps: [{ send: { type: 'END' } }, { advance: 200 }],
  }),
]);
