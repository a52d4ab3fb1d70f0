import { assign, fromCallback, sendTo, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

conform('systemId and system.get', [
  defineCase({
    name: 'a child known by a system id',
    machine: () =>
      setup({
        types: {
          context: {} as { last: number },
          events: {} as { type: 'ASK'; n: number } | { type: 'GOT'; n: number },
        },
        actors: {
          desk: fromCallback<{ type: 'ASK'; n: number }>(({ sendBack, receive }) => {
            receive(({ n }) => sendBack({ type: 'GOT', n }));
          }),
        },
      }).createMachine({
        context: { last: 0 },
        invoke: { src: 'desk', systemId: 'reception' },
        on: {
          ASK: {
            actions: sendTo(
              ({ system }) => system.get('reception'),
              ({ event }) => event,
            ),
          },
          GOT: { actions: assign({ last: ({ event }) => event.n }) },
        },
      }),
    steps: [{ send: { type: 'ASK', n: 4 } }],
  }),

  defineCase({
    name: 'a system id is free again when its child is left',
    machine: () =>
      setup({
        types: {
          context: {} as { answers: Record<string, boolean> },
          events: {} as { type: 'SWITCH' | 'ASK' } | { type: 'GOT'; who: string },
        },
        actors: {
          desk: fromCallback<{ type: 'ASK' }, string>(({ input, sendBack, receive }) => {
            receive(() => sendBack({ type: 'GOT', who: input }));
          }),
        },
      }).createMachine({
        context: { answers: {} },
        initial: 'day',
        on: {
          ASK: { actions: sendTo(({ system }) => system.get('desk'), { type: 'ASK' }) },
          GOT: {
            actions: assign({
              answers: ({ context, event }) => ({ ...context.answers, [event.who]: true }),
            }),
          },
        },
        states: {
          day: { invoke: { src: 'desk', systemId: 'desk', input: 'day' }, on: { SWITCH: 'night' } },
          night: {
            invoke: { src: 'desk', systemId: 'desk', input: 'night' },
            on: { SWITCH: 'day' },
          },
        },
      } as never) as never,
    steps: ['ASK', 'SWITCH', 'ASK', 'SWITCH', 'ASK'].map((type) => ({ send: { type } })),
  }),
]);
