import { assign, createActor, fromPromise, fromTransition, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

const fail = (): never => {
  throw new Error('broken');
};

const broken = setup({}).createMachine({ context: fail });
/** XState 5.31 shows nothing but the error of an actor that failed as it began; the newest, as we do, also an empty state. */
const showsErrorOnly = !('value' in createActor(broken).getSnapshot());

conform('errors', [
  defineCase({
    name: 'a guard that throws',
    machine: () =>
      setup({ actions: { never: note } }).createMachine({
        initial: 'a',
        states: {
          a: {
            on: {
              GO: {
                guard: () => {
                  throw new Error('no idea');
                },
                target: 'b',
                actions: 'never',
              },
            },
          },
          b: {},
        },
      }),
    steps: [{ send: { type: 'GO' } }],
  }),

  defineCase({
    name: 'an assign that throws',
    machine: () =>
      setup({ types: { context: {} as { n: number } } }).createMachine({
        context: { n: 1 },
        tags: 'open',
        on: {
          GO: { actions: [assign({ n: 2 }), assign(fail)] },
          LATER: { actions: assign({ n: 3 }) },
        },
      }),
    steps: [{ send: { type: 'GO' } }, { send: { type: 'LATER' } }],
  }),

  defineCase({
    name: 'the input of an invoke that throws',
    machine: () =>
      setup({ actors: { work: fromPromise(async () => 1) } }).createMachine({
        initial: 'a',
        states: {
          a: { on: { GO: 'b' } },
          b: { invoke: { src: 'work', input: fail, onError: 'c' } },
          c: {},
        },
      }),
    steps: [{ send: { type: 'GO' } }],
  }),

  defineCase({
    name: 'the guard of an always, a delay and a raised event that throw',
    machine: () =>
      setup({
        types: { events: {} as { type: 'ALWAYS' | 'DELAY' | 'RAISE' } },
        delays: { odd: fail },
      }).createMachine({
        type: 'parallel',
        states: {
          a: {
            initial: 'x',
            states: { x: { on: { DELAY: 'y' } }, y: { after: { odd: 'x' } } },
          },
        },
      }),
    steps: [{ send: { type: 'DELAY' } }],
  }),

  defineCase({
    name: 'an always whose guard throws',
    machine: () =>
      setup({}).createMachine({
        initial: 'a',
        states: { a: { on: { GO: 'b' } }, b: { always: { guard: fail, target: 'c' } }, c: {} },
      }),
    steps: [{ send: { type: 'GO' } }],
  }),

  defineCase({
    name: 'the output of the whole throws',
    machine: () =>
      setup({}).createMachine({
        initial: 'a',
        states: { a: { on: { GO: 'b' } }, b: { type: 'final' } },
        output: fail,
      }),
    steps: [{ send: { type: 'GO' } }],
  }),

  defineCase({
    name: 'a transition function whose first state throws',
    machine: () =>
      setup({ actors: { sum: fromTransition((state: number) => state, fail) } }).createMachine({
        initial: 'adding',
        states: { adding: { invoke: { src: 'sum', onError: 'failed' } }, failed: {} },
      }),
    steps: [],
  }),
  defineCase({
    name: 'a context that throws as it is made',
    ...(showsErrorOnly && { differs: { views: 'XState 5.31 shows its error and nothing else' } }),
    machine: () => broken,
    steps: [],
  }),
]);
