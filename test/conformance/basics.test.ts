import { assign, cancel, emit, enqueueActions, fromPromise, raise, sendTo, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

conform([
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
    name: 'raise, emit and enqueueActions within one step',
    machine: () =>
      setup({
        types: { emitted: {} as { type: 'step'; n: number }, context: {} as { n: number } },
        actions: { before: note, after: note },
      }).createMachine({
        context: { n: 0 },
        initial: 'a',
        states: {
          a: {
            on: {
              GO: {
                target: 'b',
                actions: [
                  'before',
                  raise({ type: 'ON' }),
                  emit(({ context }) => ({ type: 'step', n: context.n })),
                  'after',
                ],
              },
            },
          },
          b: {
            on: {
              ON: {
                target: 'c',
                actions: enqueueActions(({ enqueue, context }) => {
                  enqueue.assign({ n: context.n + 1 });
                  enqueue.emit({ type: 'step', n: context.n + 1 });
                  enqueue('after');
                }),
              },
            },
          },
          c: {},
        },
      }),
    steps: [{ send: { type: 'GO' } }],
  }),

  defineCase({
    name: 'delayed raise, one of them cancelled',
    machine: () =>
      setup({ actions: { rang: note } }).createMachine({
        context: { heard: [] as string[] },
        entry: [
          raise({ type: 'RING', by: 'kept' }, { id: 'kept', delay: 100 }),
          raise({ type: 'RING', by: 'dropped' }, { id: 'dropped', delay: 200 }),
        ],
        on: {
          RING: {
            actions: [
              assign({ heard: ({ context, event }) => [...context.heard, event.by as string] }),
              'rang',
            ],
          },
          DROP: { actions: cancel('dropped') },
        },
      }),
    steps: [{ advance: 100 }, { send: { type: 'DROP' } }, { advance: 1_000 }],
  }),

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
    name: 'what an actor sends to itself',
    machine: () =>
      setup({
        types: { context: {} as { seen: string[] }, events: {} as { type: string } },
        actions: { see: assign({ seen: ({ context, event }) => [...context.seen, event.type] }) },
      }).createMachine({
        context: { seen: [] },
        on: {
          GO: {
            actions: [
              'see',
              sendTo(({ self }) => self, { type: 'FIRST' }),
              sendTo(({ self }) => self, { type: 'LATER' }, { delay: 10 }),
              sendTo(({ self }) => self, { type: 'SECOND' }),
              raise({ type: 'INNER' }),
            ],
          },
          '*': { actions: 'see' },
        },
      }),
    steps: [{ send: { type: 'GO' } }, { advance: 10 }],
  }),

  defineCase({
    name: 'a raise of an entry, delayed by nothing',
    machine: () =>
      setup({
        types: { context: {} as { seen: string[] }, events: {} as { type: string } },
      }).createMachine({
        context: { seen: [] },
        entry: [raise({ type: 'LATER' }, { delay: 0 }), raise({ type: 'NOW' })],
        on: {
          '*': { actions: assign({ seen: ({ context, event }) => [...context.seen, event.type] }) },
        },
      }),
    steps: [{ advance: 1 }],
  }),
]);
