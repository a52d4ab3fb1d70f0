import { assign, fromPromise, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

conform('fromPromise', [
  defineCase({
    name: 'invoked promises: one is done, one fails, and the output',
    machine: () =>
      setup({
        actors: {
          double: fromPromise<number, number>(async ({ input }) => input * 2),
          fail: fromPromise<never, { why: string }>(async ({ input }) => {
            throw new Error(input.why);
          }),
        },
        actions: { begin: note, got: note, sorry: note },
      }).createMachine({
        context: { n: 4, why: '' },
        initial: 'idle',
        states: {
          idle: { on: { GO: 'doubling' } },
          doubling: {
            entry: 'begin',
            invoke: {
              src: 'double',
              input: ({ context }) => context.n,
              onDone: {
                target: 'failing',
                actions: [assign({ n: ({ event }) => event.output }), 'got'],
              },
            },
          },
          failing: {
            invoke: {
              src: 'fail',
              input: { why: 'no' },
              onError: {
                target: 'over',
                actions: [assign({ why: ({ event }) => (event.error as Error).message }), 'sorry'],
              },
            },
          },
          over: { type: 'final' },
        },
        output: ({ context }) => context,
      }),
    steps: [{ send: { type: 'GO' } }],
  }),

  defineCase({
    name: 'a promise that is left before it is done',
    machine: () =>
      setup({
        actors: { wait: fromPromise(() => new Promise<never>(() => {})) },
        actions: { tell: note },
      }).createMachine({
        initial: 'waiting',
        states: {
          waiting: {
            invoke: { src: 'wait', onDone: 'done' },
            after: { 1000: 'late' },
            on: { AGAIN: { target: 'waiting', reenter: true } },
          },
          done: {},
          late: { type: 'final', entry: 'tell' },
        },
        output: 'too late',
      }),
    steps: [{ advance: 500 }, { send: { type: 'AGAIN' } }, { advance: 999 }, { advance: 1 }],
  }),

  defineCase({
    name: 'an invoke that fails, with and without onError',
    machine: () =>
      setup({
        types: { context: {} as { problem: string } },
        actors: {
          fails: fromPromise(async () => {
            throw new Error('refused');
          }),
        },
      }).createMachine({
        context: { problem: '' },
        initial: 'first',
        states: {
          first: {
            invoke: {
              src: 'fails',
              onError: {
                target: 'second',
                actions: assign({ problem: ({ event }) => (event.error as Error).message }),
              },
            },
          },
          second: { on: { AGAIN: 'third' } },
          third: { invoke: { src: 'fails' } },
        },
      }),
    steps: [{ send: { type: 'AGAIN' } }],
  }),

  defineCase({
    name: 'a promise, watched',
    machine: () =>
      setup({
        types: { context: {} as { seen: string[] } },
        actors: { work: fromPromise<string>(() => new Promise(() => {})) },
      }).createMachine({
        context: { seen: [] },
        initial: 'working',
        states: {
          working: {
            invoke: {
              src: 'work',
              onSnapshot: {
                actions: assign({
                  seen: ({ context, event }) => [...context.seen, event.snapshot.status],
                }),
              },
              onDone: 'done',
            },
          },
          done: { type: 'final' },
        },
      }),
    steps: [],
  }),

  defineCase({
    name: 'input from context and event, guards of onDone, and what is no Error',
    machine: () =>
      setup({
        types: {
          context: {} as { base: number; told: unknown[] },
          events: {} as { type: 'GO'; n: number },
        },
        actors: {
          add: fromPromise<number, { a: number; b: number }>(async ({ input }) => {
            if (input.b > 5) throw { code: 'too much', b: input.b };
            return input.a + input.b;
          }),
        },
      }).createMachine({
        context: { base: 10, told: [] },
        initial: 'idle',
        states: {
          idle: { on: { GO: 'adding' } },
          adding: {
            invoke: {
              src: 'add',
              input: ({ context, event }) => ({ a: context.base, b: event.n }),
              onDone: [
                {
                  guard: ({ event }) => event.output > 12,
                  target: 'idle',
                  actions: assign({ told: ['big'] }),
                },
                {
                  target: 'idle',
                  actions: assign({
                    told: ({ context, event }) => [...context.told, event.output],
                  }),
                },
              ],
              onError: {
                target: 'idle',
                actions: assign({ told: ({ context, event }) => [...context.told, event.error] }),
              },
            },
          },
        },
      }),
    steps: [1, 3, 2, 7].map((n) => ({ send: { type: 'GO', n } })),
  }),

  defineCase({
    name: 'two of one state, and what waits behind always',
    machine: () =>
      setup({
        types: { context: {} as { a: number; b: number } },
        actors: { give: fromPromise<number, number>(async ({ input }) => input) },
        actions: { both: note },
      }).createMachine({
        context: { a: 0, b: 0 },
        initial: 'working',
        states: {
          working: {
            invoke: [
              {
                id: 'a',
                src: 'give',
                input: 1,
                onDone: { actions: assign({ a: ({ event }) => event.output }) },
              },
              {
                id: 'b',
                src: 'give',
                input: 2,
                onDone: { actions: assign({ b: ({ event }) => event.output }) },
              },
            ],
            always: { guard: ({ context }) => context.a + context.b === 3, target: 'done' },
          },
          done: { type: 'final', entry: 'both' },
        },
        output: ({ context }) => context,
      }),
    steps: [],
  }),
]);
