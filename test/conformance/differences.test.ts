import {
  assign,
  fromCallback,
  fromPromise,
  fromTransition,
  raise,
  sendParent,
  sendTo,
  setup,
  spawnChild,
} from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

// Where Perdure is known to be otherwise than XState. Each is held to what it is: a case that is not otherwise any more
// fails, and moves to where it belongs.

const note = () => {};
const fail = () => {
  throw new Error('broken');
};

conform('known differences, but for these', [
  defineCase({
    name: 'a step that fails half way',
    differs: { effects: 'what a step that fails would have caused never happens (G3)' },
    machine: () =>
      setup({ actions: { before: note } }).createMachine({
        initial: 'a',
        states: { a: { on: { BREAK: { target: 'b', actions: ['before', assign(fail)] } } }, b: {} },
      }),
    steps: [{ send: { type: 'BREAK' } }],
  }),

  defineCase({
    name: 'an action that throws',
    differs: {
      views: 'its transition has been committed, so it stays; the error says which action failed',
      effects: 'the actions behind it are executed',
    },
    machine: () =>
      setup({ actions: { before: note, fail, behind: note } }).createMachine({
        initial: 'a',
        states: {
          a: { on: { GO: { target: 'b', actions: ['before', 'fail', 'behind'] } } },
          b: {},
        },
      }),
    steps: [{ send: { type: 'GO' } }],
  }),

  defineCase({
    name: 'a delayed raise under an id that is waiting already',
    differs: { views: 'the new one takes the place of the old one; under XState both fire' },
    machine: () =>
      setup({
        types: {
          context: {} as { rang: number[] },
          events: {} as { type: 'ARM'; n: number } | { type: 'RING'; n: number },
        },
      }).createMachine({
        context: { rang: [] },
        on: {
          ARM: {
            actions: raise(({ event }) => ({ type: 'RING' as const, n: event.n }), {
              id: 'bell',
              delay: 100,
            }),
          },
          RING: { actions: assign({ rang: ({ context, event }) => [...context.rang, event.n] }) },
        },
      }),
    steps: [
      { send: { type: 'ARM', n: 1 } },
      { advance: 50 },
      { send: { type: 'ARM', n: 2 } },
      { advance: 100 },
    ],
  }),

  defineCase({
    name: 'two timers due at the same moment, and what comes of the first',
    differs: {
      views:
        'what was due already goes ahead of what an actor sends to itself meanwhile; XState takes that first',
    },
    machine: () =>
      setup({
        types: { context: {} as { seen: string[] }, events: {} as { type: string } },
        actions: { see: assign({ seen: ({ context, event }) => [...context.seen, event.type] }) },
      }).createMachine({
        context: { seen: [] },
        entry: [raise({ type: 'ONE' }, { delay: 50 }), raise({ type: 'TWO' }, { delay: 50 })],
        on: {
          ONE: { actions: ['see', sendTo(({ self }) => self, { type: 'OF_ONE' })] },
          '*': { actions: 'see' },
        },
      }),
    steps: [{ advance: 50 }],
  }),

  defineCase({
    name: 'an invoke that is left by what its own entry sends',
    differs: {
      effects:
        'both transitions are in one commit, so it does not begin; in XState it begins and is ended',
    },
    machine: () =>
      setup({
        actors: { work: fromPromise(() => new Promise<never>(() => {})) },
      }).createMachine({
        initial: 'idle',
        states: {
          idle: { on: { GO: 'working' } },
          working: {
            entry: [
              sendTo(({ self }) => self, { type: 'ON' }),
              sendTo(({ self }) => self, { type: 'LEAVE' }),
            ],
            on: { ON: 'busy' },
          },
          busy: { invoke: { src: 'work' }, on: { LEAVE: 'left' } },
          left: {},
        },
      }),
    steps: [{ send: { type: 'GO' } }],
  }),

  defineCase({
    name: 'what a child has said, taken after it has been left',
    differs: {
      views:
        'what is said by a child that has been left counts no more; in XState it waits in the mailbox',
    },
    machine: () =>
      setup({
        types: { context: {} as { heard: boolean }, events: {} as { type: 'LEAVE' | 'HEARD' } },
        actors: {
          speaker: fromCallback(({ sendBack }) => {
            sendBack({ type: 'LEAVE' });
            sendBack({ type: 'HEARD' });
          }),
        },
      }).createMachine({
        context: { heard: false },
        initial: 'on',
        on: { HEARD: { actions: assign({ heard: true }) } },
        states: { on: { invoke: { src: 'speaker' }, on: { LEAVE: 'off' } }, off: {} },
      }),
    steps: [],
  }),

  defineCase({
    name: 'a delayed message to a child whose state has been left and entered again',
    differs: {
      views: 'it reaches the child that has the id when it is due; in XState the one that is gone',
    },
    machine: () =>
      setup({
        types: { context: {} as { totals: unknown[] }, events: {} as { type: 'ADD' | 'AGAIN' } },
        actors: { sum: fromTransition((total: number) => total + 1, 0) },
      }).createMachine({
        context: { totals: [] },
        initial: 'on',
        states: {
          on: {
            invoke: {
              id: 'sum',
              src: 'sum',
              onSnapshot: {
                actions: assign({
                  totals: ({ context, event }) => [...context.totals, event.snapshot.context],
                }),
              },
            },
            on: {
              ADD: { actions: sendTo('sum', { type: 'ADD' }, { delay: 50 }) },
              AGAIN: { target: 'on', reenter: true },
            },
          },
        },
      }),
    steps: [{ send: { type: 'ADD' } }, { send: { type: 'AGAIN' } }, { advance: 50 }],
  }),

  defineCase({
    name: 'an actor that fails as it starts',
    differs: {
      views: 'of it nothing is written but the error; XState shows the context it had made',
    },
    machine: () =>
      setup({ types: { context: {} as { n: number } } }).createMachine({
        context: { n: 1 },
        entry: sendTo('nobody', { type: 'HELLO' }),
      }),
    steps: [],
  }),

  defineCase({
    name: 'a child spawned under an id that is taken',
    differs: { views: 'it takes the place of the old one; in XState both go on' },
    machine: () =>
      setup({
        types: { context: {} as { ticks: number } },
        actors: {
          ticker: setup({}).createMachine({
            after: { 500: { actions: sendParent({ type: 'TICK' }) } },
          }),
        },
      }).createMachine({
        context: { ticks: 0 },
        entry: spawnChild('ticker', { id: 'c' }),
        on: {
          AGAIN: { actions: spawnChild('ticker', { id: 'c' }) },
          TICK: { actions: assign({ ticks: ({ context }) => context.ticks + 1 }) },
        },
      }),
    steps: [{ send: { type: 'AGAIN' } }, { advance: 600 }],
  }),
]);
