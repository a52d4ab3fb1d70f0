import {
  and,
  assign,
  cancel,
  createMachine,
  emit,
  enqueueActions,
  fromPromise,
  log,
  not,
  or,
  raise,
  sendTo,
  setup,
  stateIn,
} from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

// What a statechart is made of: states, transitions, guards, delays, actions, data.

const note = () => {};

conform([
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
    name: 'guards with params, and combined',
    machine: () =>
      setup({
        types: {
          context: {} as { n: number; took: string[] },
          events: {} as { type: 'ADD'; n: number } | { type: 'TRY' },
        },
        guards: {
          above: ({ context }, params: { than: number }) => context.n > params.than,
          isOdd: ({ context }) => context.n % 2 === 1,
        },
      }).createMachine({
        context: { n: 0, took: [] },
        initial: 'a',
        on: { ADD: { actions: assign({ n: ({ context, event }) => context.n + event.n }) } },
        states: {
          a: {
            on: {
              TRY: [
                {
                  guard: and([{ type: 'above', params: { than: 5 } }, 'isOdd']),
                  actions: assign({ took: ({ context }) => [...context.took, 'and'] }),
                },
                {
                  guard: or([{ type: 'above', params: { than: 10 } }, not('isOdd')]),
                  actions: assign({ took: ({ context }) => [...context.took, 'or'] }),
                },
                { guard: stateIn('a'), target: 'b' },
              ],
            },
          },
          b: {},
        },
      }),
    steps: [
      { send: { type: 'TRY' } },
      { send: { type: 'ADD', n: 7 } },
      { send: { type: 'TRY' } },
      { send: { type: 'ADD', n: -4 } },
      { send: { type: 'TRY' } },
    ],
  }),

  defineCase({
    name: 'wildcards and partial descriptors',
    machine: () =>
      createMachine({
        context: { took: [] as string[] },
        initial: 'a',
        states: {
          a: {
            on: {
              'mouse.click': {
                actions: assign({ took: ({ context }) => [...context.took, 'click'] }),
              },
              'mouse.*': {
                actions: assign({ took: ({ context }) => [...context.took, 'mouse'] }),
              },
              '*': { actions: assign({ took: ({ context }) => [...context.took, 'any'] }) },
            },
          },
        },
      } as never) as never,
    steps: [
      { send: { type: 'mouse.click' } },
      { send: { type: 'mouse.move.left' } },
      { send: { type: 'mouse' } },
      { send: { type: 'key' } },
    ],
  }),

  defineCase({
    name: 'always, chained, with a guard that reads what was assigned before',
    machine: () =>
      setup({
        types: { context: {} as { n: number }, events: {} as { type: 'GO'; n: number } },
        actions: { through: note },
      }).createMachine({
        context: { n: 0 },
        initial: 'idle',
        states: {
          idle: {
            on: { GO: { target: 'check', actions: assign({ n: ({ event }) => event.n }) } },
          },
          check: {
            always: [
              { guard: ({ context }) => context.n > 3, target: 'big', actions: 'through' },
              { target: 'small' },
            ],
          },
          big: { always: { guard: ({ context }) => context.n > 10, target: 'huge' } },
          huge: {},
          small: {
            on: { GO: { target: 'check', actions: assign({ n: ({ event }) => event.n }) } },
          },
        },
      }),
    steps: [{ send: { type: 'GO', n: 1 } }, { send: { type: 'GO', n: 11 } }],
  }),

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
    name: 'delayed sends to itself, cancelled and not',
    machine: () =>
      setup({
        types: {
          context: {} as { rang: number[] },
          events: {} as { type: 'ARM' | 'STOP' } | { type: 'RING'; n: number },
        },
      }).createMachine({
        context: { rang: [] },
        on: {
          ARM: {
            actions: [
              sendTo(({ self }) => self, { type: 'RING', n: 1 } as never, {
                delay: 50,
                id: 'one',
              }),
              sendTo(({ self }) => self, { type: 'RING', n: 2 } as never, {
                delay: 60,
                id: 'two',
              }),
            ],
          },
          STOP: { actions: cancel('one') },
          RING: { actions: assign({ rang: ({ context, event }) => [...context.rang, event.n] }) },
        },
      }),
    steps: [
      { send: { type: 'ARM' } },
      { send: { type: 'STOP' } },
      { advance: 50 },
      { advance: 10 },
    ],
  }),

  defineCase({
    name: 'enqueueActions, with emit, log, raise and checks',
    machine: () =>
      setup({
        types: {
          context: {} as { n: number },
          events: {} as { type: 'GO' } | { type: 'INNER' },
          emitted: {} as { type: 'told'; n: number },
        },
        actions: { one: note, two: note },
        guards: { big: ({ context }) => context.n > 1 },
      }).createMachine({
        context: { n: 0 },
        on: {
          GO: {
            actions: enqueueActions(({ enqueue, check, context }) => {
              enqueue('one');
              enqueue.assign({ n: context.n + 1 });
              enqueue.emit({ type: 'told', n: context.n });
              if (check('big')) enqueue('two');
              enqueue.raise({ type: 'INNER' });
            }),
          },
          INNER: {
            actions: [log('inner'), emit(({ context }) => ({ type: 'told', n: context.n * 10 }))],
          },
        },
      }),
    steps: [{ send: { type: 'GO' } }, { send: { type: 'GO' } }, { send: { type: 'GO' } }],
  }),

  defineCase({
    name: 'input, lazy context, output and tags',
    machine: () =>
      setup({
        types: {
          input: {} as { from: number },
          context: {} as { n: number; at: Date; seen: Map<string, bigint> },
          output: {} as { n: number },
          events: {} as { type: 'ADD' | 'END' },
          tags: {} as 'open' | 'closed',
        },
      }).createMachine({
        context: ({ input }) => ({ n: input.from, at: new Date(0), seen: new Map([['a', 1n]]) }),
        initial: 'open',
        states: {
          open: {
            tags: ['open'],
            on: {
              ADD: {
                actions: assign({
                  n: ({ context }) => context.n + 1,
                  seen: ({ context }) => new Map(context.seen).set('b', 2n),
                }),
              },
              END: 'closed',
            },
          },
          closed: { tags: ['closed'], type: 'final' },
        },
        output: ({ context }) => ({ n: context.n }),
      }),
    input: { from: 3 },
    steps: [{ send: { type: 'ADD' } }, { send: { type: 'END' } }],
  }),

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
]);
