import {
  type AnyActorRef,
  assign,
  fromCallback,
  fromObservable,
  raise,
  sendTo,
  setup,
} from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';
import { values } from './support/observables.ts';

conform('sendTo', [
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
    name: 'to a child by id, by reference and by system id, from entry, on the way and from exit',
    machine: () =>
      setup({
        types: {
          context: {} as { said: Record<string, boolean> },
          events: {} as
            | { type: 'SAID'; what: string }
            | { type: 'BY_ID' | 'BY_REF' | 'BY_SYSTEM' | 'LEAVE' },
        },
        actors: {
          echo: fromCallback<{ type: 'SAY'; what: string }>(({ sendBack, receive }) => {
            receive(({ what }) => sendBack({ type: 'SAID', what }));
          }),
        },
      }).createMachine({
        context: { said: {} },
        initial: 'on',
        on: {
          SAID: {
            actions: assign({
              said: ({ context, event }) => ({ ...context.said, [event.what]: true }),
            }),
          },
        },
        states: {
          on: {
            invoke: { id: 'echo', src: 'echo', systemId: 'the-echo' },
            entry: sendTo('echo', { type: 'SAY', what: 'entry' }),
            on: {
              BY_ID: {
                actions: sendTo('echo', ({ event }) => ({ type: 'SAY', what: event.type })),
              },
              BY_REF: {
                actions: sendTo(
                  ({ self }) =>
                    (self.getSnapshot() as unknown as { children: { echo: AnyActorRef } }).children
                      .echo,
                  { type: 'SAY', what: 'ref' },
                ),
              },
              BY_SYSTEM: {
                actions: sendTo(({ system }) => system.get('the-echo'), {
                  type: 'SAY',
                  what: 'system',
                } as never),
              },
              LEAVE: 'off',
            },
          },
          off: {},
        },
      }),
    steps: ['BY_ID', 'BY_REF', 'BY_SYSTEM', 'LEAVE'].map((type) => ({ send: { type } })),
  }),

  defineCase({
    name: 'to nobody',
    machine: () =>
      setup({}).createMachine({
        initial: 'a',
        states: {
          a: { on: { GO: { target: 'b', actions: sendTo('nobody', { type: 'HELLO' }) } } },
          b: {},
        },
      }),
    steps: [{ send: { type: 'GO' } }],
  }),

  defineCase({
    name: 'to itself, ahead of a child that speaks as it begins',
    machine: () =>
      setup({
        types: { context: {} as { seen: string[] }, events: {} as { type: string } },
        actors: {
          numbers: fromObservable(() => values([1, 2]) as never),
        },
        actions: {
          see: assign({
            // Who is subscribed to again says everything again.
            seen: ({ context, event }) => [
              ...new Set(context.seen).add(
                `${event.type} ${(event as { snapshot?: { context?: number } }).snapshot?.context}`,
              ),
            ],
          }),
        },
      }).createMachine({
        context: { seen: [] },
        initial: 'idle',
        on: { '*': { actions: 'see' } },
        states: {
          idle: { on: { GO: 'on' } },
          on: {
            entry: sendTo(({ self }) => self, { type: 'FIRST' }),
            invoke: { id: 'numbers', src: 'numbers', onSnapshot: { actions: 'see' } },
          },
        },
      }),
    steps: [{ send: { type: 'GO' } }],
  }),
]);
