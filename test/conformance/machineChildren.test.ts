import {
  type AnyActorRef,
  assign,
  emit,
  enqueueActions,
  forwardTo,
  fromPromise,
  raise,
  sendParent,
  sendTo,
  setup,
  spawnChild,
  stopChild,
} from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

// Machines inside of machines: each has a row and a history of its own, and all of it must look as if XState ran it.

const say = () => {};
const events = {} as { type: string; [key: string]: unknown };

const shipper = setup({
  types: {
    context: {} as { n: number },
    input: {} as { n: number },
    output: {} as { parcels: number },
  },
  actors: { label: fromPromise<string, number>(async ({ input }) => `label ${input}`) },
  actions: { say },
}).createMachine({
  id: 'shipper',
  context: ({ input }) => ({ n: input.n }),
  initial: 'open',
  entry: 'say',
  states: {
    open: {
      on: {
        PACK: {
          target: 'labelling',
          actions: [
            'say',
            assign({ n: ({ context }) => context.n + 1 }),
            sendParent({ type: 'PACKED' }),
          ],
        },
      },
    },
    labelling: { invoke: { src: 'label', input: ({ context }) => context.n, onDone: 'waiting' } },
    waiting: { tags: 'resting', after: { 1000: 'gone' } },
    gone: { type: 'final' },
  },
  output: ({ context }) => ({ parcels: context.n }),
});

const order = setup({
  types: { context: {} as { packed: number; parcels: number | null }, events },
  actors: { shipper },
  actions: { say },
}).createMachine({
  id: 'order',
  context: { packed: 0, parcels: null },
  initial: 'idle',
  on: { PACKED: { actions: ['say', assign({ packed: ({ context }) => context.packed + 1 })] } },
  states: {
    idle: { on: { GO: 'shipping' } },
    shipping: {
      invoke: {
        id: 'ship',
        src: 'shipper',
        input: { n: 3 },
        onDone: {
          target: 'done',
          actions: assign({ parcels: ({ event }) => event.output.parcels }),
        },
      },
      on: { PACK: { actions: sendTo('ship', { type: 'PACK' }) }, STOP: 'idle' },
    },
    done: { type: 'final' },
  },
});

/** Answers PING with PONG to whoever is above, and counts. */
const ponger = setup({
  types: { context: {} as { pings: number }, events },
  actions: { say },
}).createMachine({
  id: 'ponger',
  context: { pings: 0 },
  on: {
    PING: {
      actions: [
        assign({ pings: ({ context }) => context.pings + 1 }),
        'say',
        sendParent(({ context }) => ({ type: 'PONG', n: context.pings })),
      ],
    },
    FAIL: {
      actions: () => {
        throw new Error('in an action');
      },
    },
    BREAK: {
      actions: assign(() => {
        throw new Error('no more');
      }),
    },
    END: '.over',
  },
  initial: 'on',
  states: { on: {}, over: { type: 'final' } },
  output: ({ context }) => context.pings,
});

const log = assign<
  { log: unknown[] },
  { type: string; [key: string]: unknown },
  undefined,
  { type: string; [key: string]: unknown },
  never
>({
  log: ({ context, event }) => {
    const { snapshot, error, output, ...rest } = event as Record<string, unknown>;
    const told = snapshot as { value: unknown; context: unknown } | undefined;
    return [
      ...context.log,
      {
        ...rest,
        ...(told && { value: told.value, context: told.context }),
        ...(error === undefined ? {} : { error: (error as Error).message }),
        ...(output === undefined ? {} : { output }),
      },
    ];
  },
});

const host = setup({
  types: { context: {} as { log: unknown[] }, events },
  actors: { ponger, shipper },
  actions: { say, log },
});

/** Three levels: what the lowest is told comes up to the top, one level after the other. */
const bottom = setup({
  types: { events, input: {} as { name: string } },
  actions: { say },
}).createMachine({
  id: 'bottom',
  context: ({ input }) => ({ name: input.name }),
  entry: ['say', sendParent({ type: 'UP', from: 'entry' })],
  exit: 'say',
  on: { DOWN: { actions: ['say', sendParent({ type: 'UP', from: 'DOWN' })] } },
});
const middle = setup({
  types: { events, context: {} as { ups: number } },
  actors: { bottom },
  actions: { say },
}).createMachine({
  id: 'middle',
  context: { ups: 0 },
  entry: 'say',
  invoke: { id: 'low', src: 'bottom', input: { name: 'b' } },
  on: {
    UP: {
      actions: [
        assign({ ups: ({ context }) => context.ups + 1 }),
        'say',
        sendParent(({ event, context }) => ({ type: 'UP', from: event.from, ups: context.ups })),
      ],
    },
    DOWN: { actions: forwardTo('low') },
  },
});

conform('machines inside of machines', [
  defineCase({
    name: 'an invoked machine runs to its end, with an invoke and a timer of its own',
    machine: () => order,
    steps: [{ send: { type: 'GO' } }, { send: { type: 'PACK' } }, { advance: 1000 }],
  }),
  defineCase({
    name: 'a machine that is left is stopped, and begins anew',
    machine: () => order,
    steps: [
      { send: { type: 'GO' } },
      { send: { type: 'PACK' } },
      { send: { type: 'STOP' } },
      { advance: 2000 },
      { send: { type: 'GO' } },
      { send: { type: 'PACK' } },
      { advance: 2000 },
    ],
  }),
  defineCase({
    name: 'a machine invoked by the initial state begins before its parent’s actions',
    machine: () =>
      setup({
        types: { events, context: {} as { log: unknown[] } },
        actors: { middle },
        actions: { say, log },
      }).createMachine({
        context: { log: [] },
        entry: 'say',
        invoke: { id: 'mid', src: 'middle' },
        on: { UP: { actions: ['log', 'say'] }, DOWN: { actions: forwardTo('mid') } },
      }),
    steps: [{ send: { type: 'DOWN' } }, { send: { type: 'DOWN' } }],
  }),
  defineCase({
    name: 'ping and pong, in the order of XState’s mailboxes',
    machine: () =>
      host.createMachine({
        context: { log: [] },
        invoke: { id: 'p', src: 'ponger' },
        on: {
          GO: {
            actions: [
              sendTo('p', { type: 'PING' }),
              sendTo(({ self }) => self, { type: 'SELF' }),
              sendTo('p', { type: 'PING' }),
              raise({ type: 'RAISED' }),
            ],
          },
          PONG: { actions: ['say', 'log'] },
          SELF: { actions: ['say', 'log'] },
          RAISED: { actions: ['say', 'log'] },
        },
      }),
    steps: [{ send: { type: 'GO' } }, { send: { type: 'GO' } }],
  }),
  defineCase({
    name: 'spawned by an action, by assign, without an id, and stopped',
    machine: () =>
      setup({
        types: { events, context: {} as { log: unknown[]; refs: unknown[] } },
        actors: { ponger },
        actions: { say },
      }).createMachine({
        context: { log: [], refs: [] },
        on: {
          SPAWN: { actions: spawnChild('ponger', { id: 'named' }) },
          ASSIGN: {
            actions: [
              assign({
                refs: ({ context, spawn }) => [...context.refs, spawn('ponger', { id: 'kept' })],
              }),
              sendTo(({ context }) => context.refs.at(-1) as AnyActorRef, { type: 'PING' }),
            ],
          },
          PING: { actions: sendTo('named', { type: 'PING' }) },
          STOP: { actions: [sendTo('named', { type: 'PING' }), stopChild('named')] },
          PONG: { actions: 'say' },
        },
      }),
    steps: [
      { send: { type: 'SPAWN' } },
      { send: { type: 'PING' } },
      { send: { type: 'STOP' } },
      { send: { type: 'SPAWN' } },
      { send: { type: 'PING' } },
    ],
  }),
  defineCase({
    name: 'a child’s end is told, with its output',
    machine: () =>
      host.createMachine({
        context: { log: [] },
        initial: 'on',
        states: {
          on: {
            invoke: { id: 'p', src: 'ponger', onDone: { target: 'off', actions: ['log', 'say'] } },
          },
          off: {},
        },
        on: { '*': { actions: forwardTo('p') }, PONG: { actions: 'log' } },
      }),
    steps: [{ send: { type: 'PING' } }, { send: { type: 'END' } }, { send: { type: 'PONG' } }],
  }),
  defineCase({
    name: 'a child that throws is told by onError',
    machine: () =>
      host.createMachine({
        context: { log: [] },
        initial: 'on',
        states: {
          on: { invoke: { id: 'p', src: 'ponger', onError: { target: 'off', actions: 'log' } } },
          off: { on: { AGAIN: 'on' } },
        },
        on: { PING: { actions: forwardTo('p') }, BREAK: { actions: forwardTo('p') } },
      }),
    steps: [
      { send: { type: 'PING' } },
      { send: { type: 'BREAK' } },
      { send: { type: 'AGAIN' } },
      { send: { type: 'PING' } },
    ],
  }),
  defineCase({
    name: 'a child that throws and nobody handles it ends its parent',
    machine: () =>
      host.createMachine({
        context: { log: [] },
        invoke: { id: 'p', src: 'ponger' },
        on: { BREAK: { actions: forwardTo('p') } },
      }),
    steps: [{ send: { type: 'BREAK' } }],
  }),
  defineCase({
    name: 'a child whose context cannot be made',
    machine: () =>
      setup({
        types: { events, context: {} as { log: unknown[] } },
        actors: {
          broken: setup({}).createMachine({
            context: () => {
              throw new Error('no context');
            },
          }),
        },
        actions: { log },
      }).createMachine({
        context: { log: [] },
        initial: 'on',
        states: {
          on: { invoke: { id: 'b', src: 'broken', onError: { target: 'off', actions: 'log' } } },
          off: {},
        },
      }),
    steps: [{ send: { type: 'ANY' } }],
  }),
  defineCase({
    name: 'a child that is over at once',
    machine: () =>
      setup({
        types: { events, context: {} as { log: unknown[] } },
        actors: {
          short: setup({ actions: { say } }).createMachine({
            entry: 'say',
            initial: 'end',
            states: { end: { type: 'final' } },
            output: 7,
          }),
        },
        actions: { log, say },
      }).createMachine({
        context: { log: [] },
        initial: 'on',
        states: {
          on: {
            invoke: { id: 's', src: 'short', onDone: { target: 'off', actions: ['log', 'say'] } },
          },
          off: {},
        },
      }),
    steps: [],
  }),
  defineCase({
    name: 'onSnapshot tells each snapshot of a machine',
    machine: () =>
      host.createMachine({
        context: { log: [] },
        initial: 'on',
        states: {
          on: {
            invoke: {
              id: 'p',
              src: 'ponger',
              onSnapshot: { actions: 'log' },
              onDone: { target: 'off', actions: 'log' },
            },
          },
          off: {},
        },
        on: { PING: { actions: forwardTo('p') }, END: { actions: forwardTo('p') } },
      }),
    steps: [{ send: { type: 'PING' } }, { send: { type: 'PING' } }, { send: { type: 'END' } }],
  }),
  defineCase({
    name: 'a snapshot that is told can be asked what any snapshot can',
    machine: () =>
      setup({
        types: { events, context: {} as { resting: boolean[] } },
        actors: { shipper },
      }).createMachine({
        context: { resting: [] },
        invoke: {
          id: 'ship',
          src: 'shipper',
          input: { n: 1 },
          onSnapshot: {
            actions: assign({
              resting: ({ context, event }) => [
                ...context.resting,
                event.snapshot.hasTag('resting') && event.snapshot.matches('waiting'),
              ],
            }),
          },
        },
        on: { PACK: { actions: forwardTo('ship') } },
      }),
    steps: [{ send: { type: 'PACK' } }, { advance: 10 }],
  }),
  defineCase({
    name: 'guards may look at a child’s snapshot',
    machine: () =>
      setup({
        types: { events, context: {} as { ref: unknown } },
        actors: { ponger },
        guards: {
          often: ({ context }) => {
            const { ref } = context as { ref: { getSnapshot(): { context: { pings: number } } } };
            return ref.getSnapshot().context.pings >= 2;
          },
        },
      }).createMachine({
        context: ({ spawn }) => ({ ref: spawn('ponger', { id: 'p' }) }),
        initial: 'a',
        states: { a: { on: { LOOK: { guard: 'often', target: 'b' } } }, b: {} },
        on: { PING: { actions: sendTo('p', { type: 'PING' }) } },
      }),
    steps: [
      { send: { type: 'LOOK' } },
      { send: { type: 'PING' } },
      { send: { type: 'PING' } },
      { send: { type: 'LOOK' } },
    ],
  }),
  defineCase({
    name: 'system ids are known in the whole family',
    machine: () =>
      setup({
        types: { events, context: {} as { log: unknown[] } },
        actors: {
          listener: setup({
            types: { events, context: {} as { log: unknown[] } },
            actions: { log, say },
          }).createMachine({
            context: { log: [] },
            on: { HEAR: { actions: ['log', 'say'] } },
          }),
          speaker: setup({ types: { events } }).createMachine({
            on: {
              SPEAK: {
                actions: sendTo(({ system }) => system.get('ear') as AnyActorRef, {
                  type: 'HEAR',
                  from: 'speaker',
                }),
              },
            },
          }),
        },
        actions: { log },
      }).createMachine({
        context: { log: [] },
        invoke: [
          { id: 'l', src: 'listener', systemId: 'ear' },
          { id: 's', src: 'speaker' },
        ],
        on: {
          SPEAK: { actions: forwardTo('s') },
          HEAR: {
            actions: sendTo(({ system }) => system.get('ear') as AnyActorRef, {
              type: 'HEAR',
              from: 'top',
            }),
          },
        },
      }),
    steps: [{ send: { type: 'SPEAK' } }, { send: { type: 'HEAR' } }],
  }),
  defineCase({
    name: 'a system id passes from one child to the next when a state is entered anew',
    machine: () =>
      setup({ types: { events }, actors: { ponger }, actions: { say } }).createMachine({
        initial: 'a',
        states: {
          a: {
            invoke: { id: 'p', src: 'ponger', systemId: 'one' },
            on: { AGAIN: { target: 'a', reenter: true } },
          },
        },
        on: {
          PING: {
            actions: sendTo(({ system }) => system.get('one') as AnyActorRef, { type: 'PING' }),
          },
          PONG: { actions: 'say' },
        },
      }),
    steps: [
      { send: { type: 'PING' } },
      { send: { type: 'AGAIN' } },
      { send: { type: 'PING' } },
      { send: { type: 'PING' } },
    ],
  }),
  defineCase({
    name: 'the parent as a reference in the input, and self in an event',
    machine: () =>
      setup({
        types: { events, context: {} as { log: unknown[] } },
        actors: {
          asker: setup({
            types: { events, input: {} as { above: unknown }, context: {} as { above: unknown } },
            actions: { say },
          }).createMachine({
            context: ({ input }) => ({ above: input.above }),
            entry: sendTo(
              ({ context }) => context.above as AnyActorRef,
              ({ self }) => ({
                type: 'WHO',
                from: self,
              }),
            ),
            on: {
              YOU: {
                actions: [
                  'say',
                  sendTo(({ context }) => context.above as AnyActorRef, { type: 'ME' }),
                ],
              },
            },
          }),
        },
        actions: { log, say },
      }).createMachine({
        context: { log: [] },
        initial: 'on',
        states: {
          on: { invoke: { id: 'a', src: 'asker', input: ({ self }) => ({ above: self }) } },
        },
        on: {
          WHO: {
            actions: ['say', sendTo(({ event }) => event.from as AnyActorRef, { type: 'YOU' })],
          },
          ME: { actions: ['log', 'say'] },
        },
      }),
    steps: [{ send: { type: 'ME' } }],
  }),
  defineCase({
    name: 'delayed messages to a child and to the parent, and one that is cancelled',
    machine: () =>
      setup({
        types: { events, context: {} as { log: unknown[] } },
        actors: {
          slow: setup({ types: { events }, actions: { say } }).createMachine({
            on: {
              PING: {
                actions: [
                  'say',
                  sendParent({ type: 'PONG', n: 1 }, { delay: 100 }),
                  sendParent({ type: 'PONG', n: 2 }, { delay: 200, id: 'never' }),
                ],
              },
              NO: { actions: enqueueActions(({ enqueue }) => enqueue.cancel('never')) },
            },
          }),
        },
        actions: { log },
      }).createMachine({
        context: { log: [] },
        invoke: { id: 's', src: 'slow' },
        on: {
          GO: { actions: sendTo('s', { type: 'PING' }, { delay: 50 }) },
          NO: { actions: forwardTo('s') },
          PONG: { actions: 'log' },
        },
      }),
    steps: [
      { send: { type: 'GO' } },
      { advance: 49 },
      { advance: 2 },
      { send: { type: 'NO' } },
      { advance: 100 },
      { advance: 500 },
    ],
  }),
  defineCase({
    name: 'the end of a parent ends its children, two levels down',
    machine: () =>
      setup({
        types: { events },
        actors: { middle },
        actions: { say },
      }).createMachine({
        initial: 'on',
        states: {
          on: { invoke: { id: 'mid', src: 'middle' }, on: { END: 'off' } },
          off: { type: 'final' },
        },
        on: { UP: { actions: 'say' } },
      }),
    steps: [{ send: { type: 'END' } }],
  }),
  defineCase({
    name: 'several children of one kind, each with its own state',
    machine: () =>
      setup({ types: { events }, actors: { ponger }, actions: { say } }).createMachine({
        type: 'parallel',
        states: {
          left: { invoke: { id: 'l', src: 'ponger' } },
          right: { invoke: { id: 'r', src: 'ponger' } },
        },
        on: {
          LEFT: { actions: sendTo('l', { type: 'PING' }) },
          BOTH: { actions: [sendTo('r', { type: 'PING' }), sendTo('l', { type: 'PING' })] },
          PONG: { actions: 'say' },
        },
      }),
    steps: [{ send: { type: 'LEFT' } }, { send: { type: 'BOTH' } }, { send: { type: 'BOTH' } }],
  }),
  defineCase({
    name: 'a machine that stands in place',
    machine: () =>
      setup({
        types: { events, context: {} as { log: unknown[] } },
        actions: { log },
      }).createMachine({
        context: { log: [] },
        invoke: { id: 'p', src: ponger } as never,
        on: { PING: { actions: forwardTo('p') }, PONG: { actions: 'log' } },
      }),
    steps: [{ send: { type: 'PING' } }, { send: { type: 'PING' } }],
  }),
  defineCase({
    name: 'emitted by the parent when a child tells it',
    machine: () =>
      host.createMachine({
        context: { log: [] },
        invoke: { id: 'p', src: 'ponger' },
        on: {
          PING: { actions: forwardTo('p') },
          PONG: { actions: emit(({ event }) => ({ type: 'heard', n: event.n }) as never) },
        },
      }),
    steps: [{ send: { type: 'PING' } }, { send: { type: 'PING' } }],
  }),
]);
