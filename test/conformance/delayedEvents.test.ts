import { assign, cancel, createMachine, fromTransition, raise, sendTo, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

conform('delayed raise, sendTo and cancel', [
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
    name: 'delays and ids from context and event, and ids nobody waits under',
    machine: () =>
      setup({
        types: {
          context: {} as { ms: number; heard: string[] },
          events: {} as { type: 'ARM' | 'DROP' | 'RING'; id: string },
        },
        delays: { long: ({ context }) => context.ms * 2 },
      }).createMachine({
        context: { ms: 50, heard: [] },
        on: {
          ARM: {
            actions: [
              raise(({ event }) => ({ type: 'RING', id: event.id }), {
                id: 'bell',
                delay: ({ context }) => context.ms,
              }),
              sendTo(
                ({ self }) => self,
                ({ event }) => ({ type: 'RING', id: `${event.id} long` }) as never,
                {
                  id: 'long',
                  delay: 'long',
                },
              ),
            ],
          },
          DROP: { actions: [cancel(({ event }) => event.id), cancel('nobody')] },
          RING: {
            actions: assign({ heard: ({ context, event }) => [...context.heard, event.id] }),
          },
        },
      }),
    steps: [
      { send: { type: 'ARM', id: 'a' } },
      { advance: 50 },
      { send: { type: 'DROP', id: 'bell' } },
      { advance: 50 },
      { send: { type: 'ARM', id: 'b' } },
      { send: { type: 'DROP', id: 'long' } },
      { advance: 200 },
    ],
  }),

  defineCase({
    name: 'what is on its way outlives the state that sent it',
    machine: () =>
      createMachine({
        initial: 'a',
        states: {
          a: { exit: raise({ type: 'LATE' }, { delay: 100 }), on: { GO: 'b' } },
          b: {
            on: { LATE: 'c' },
            after: { 99: { actions: raise({ type: 'TIE' }, { delay: 1 }) } },
          },
          c: { on: { TIE: 'd' } },
          d: {},
        },
      }),
    steps: [{ send: { type: 'GO' } }, { advance: 99 }, { advance: 1 }],
  }),

  defineCase({
    name: 'of those that are due at the same moment the one that was sent first',
    machine: () =>
      setup({
        types: { context: {} as { seen: string[] }, events: {} as { type: string } },
      }).createMachine({
        context: { seen: [] },
        on: {
          GO: {
            actions: [
              raise({ type: 'C' }, { delay: 70 }),
              raise({ type: 'A' }, { delay: 50, id: 'a' }),
              raise({ type: 'B' }, { delay: 50 }),
              cancel('a'),
              raise({ type: 'A' }, { delay: 50, id: 'a' }),
            ],
          },
          AGAIN: { actions: raise({ type: 'D' }, { delay: 20 }) },
          '*': { actions: assign({ seen: ({ context, event }) => [...context.seen, event.type] }) },
        },
      }),
    steps: [
      { send: { type: 'GO' } },
      { advance: 50 },
      { send: { type: 'AGAIN' } },
      { advance: 20 },
    ],
  }),

  defineCase({
    name: 'a message to a child that begins in the same step, cancelled in it',
    machine: () =>
      setup({
        types: { context: {} as { totals: unknown[] } },
        actors: { sum: fromTransition((total: number) => total + 1, 0) },
      }).createMachine({
        context: { totals: [] },
        entry: [
          sendTo('sum', { type: 'ADD' }, { id: 'gone', delay: 50 }),
          sendTo('sum', { type: 'ADD' }, { id: 'kept', delay: 60 }),
          cancel('gone'),
        ],
        invoke: {
          id: 'sum',
          src: 'sum',
          onSnapshot: {
            actions: assign({
              totals: ({ context, event }) => [...context.totals, event.snapshot.context],
            }),
          },
        },
      }),
    steps: [{ advance: 50 }, { advance: 50 }],
  }),
]);
