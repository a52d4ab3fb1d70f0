import { assign, forwardTo, fromCallback, fromTransition, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

conform('forwardTo', [
  defineCase({
    name: 'events are forwarded to a callback',
    machine: () =>
      setup({
        types: {
          context: {} as { last: string },
          events: {} as { type: 'SAY'; text: string } | { type: 'SAID'; text: string },
        },
        actors: {
          echo: fromCallback<{ type: 'SAY'; text: string }>(({ sendBack, receive }) => {
            receive(({ text }) => sendBack({ type: 'SAID', text: text.toUpperCase() }));
          }),
        },
      }).createMachine({
        context: { last: '' },
        invoke: { id: 'echo', src: 'echo' },
        on: {
          SAY: { actions: forwardTo('echo') },
          SAID: { actions: assign({ last: ({ event }) => event.text }) },
        },
      }),
    steps: [{ send: { type: 'SAY', text: 'a' } }, { send: { type: 'SAY', text: 'b' } }],
  }),

  defineCase({
    name: 'to a transition function, by a function of the context',
    machine: () =>
      setup({
        types: {
          context: {} as { to: string; totals: Record<string, number | undefined> },
          events: {} as { type: 'ADD'; n: number } | { type: 'OTHER' },
        },
        actors: {
          sum: fromTransition(
            (total: number, event: { type: string; n: number }) => total + event.n,
            0,
          ),
        },
      }).createMachine({
        context: { to: 'a', totals: {} },
        invoke: ['a', 'b'].map((id) => ({
          id,
          src: 'sum',
          onSnapshot: {
            actions: assign({
              totals: ({ context, event }: never) => ({
                ...(context as { totals: object }).totals,
                [id]: (event as { snapshot: { context: number } }).snapshot.context,
              }),
            } as never),
          },
        })) as never,
        on: {
          ADD: { actions: forwardTo(({ context }) => context.to) },
          OTHER: { actions: assign({ to: ({ context }) => (context.to === 'a' ? 'b' : 'a') }) },
        },
      }),
    steps: [
      { send: { type: 'ADD', n: 1 } },
      { send: { type: 'OTHER' } },
      { send: { type: 'ADD', n: 5 } },
      { send: { type: 'ADD', n: 6 } },
    ],
  }),
]);
