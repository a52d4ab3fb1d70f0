import { assign, fromCallback, sendTo, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

conform('fromCallback', [
  defineCase({
    name: 'a callback that speaks first, answers, and is left',
    machine: () =>
      setup({
        types: {
          context: {} as { up: boolean; answers: Record<string, number> },
          events: {} as
            | { type: 'UP' }
            | { type: 'ASK'; n: number }
            | { type: 'ANSWER'; n: number }
            | { type: 'LEAVE' },
        },
        actions: { heard: note },
        actors: {
          oracle: fromCallback<{ type: 'ASK'; n: number }>(({ sendBack, receive }) => {
            sendBack({ type: 'UP' });
            receive((event) => sendBack({ type: 'ANSWER', n: event.n * 2 }));
          }),
        },
      }).createMachine({
        context: { up: false, answers: {} },
        initial: 'asking',
        states: {
          asking: {
            invoke: { id: 'oracle', src: 'oracle' },
            on: {
              UP: { actions: assign({ up: true }) },
              ASK: { actions: sendTo('oracle', ({ event }) => event) },
              ANSWER: {
                actions: assign({
                  answers: ({ context, event }) => ({ ...context.answers, [event.n]: event.n }),
                }),
              },
              LEAVE: 'left',
            },
          },
          left: { on: { ASK: { actions: 'heard' } } },
        },
      }),
    steps: [
      { send: { type: 'ASK', n: 1 } },
      { send: { type: 'ASK', n: 2 } },
      { send: { type: 'LEAVE' } },
      { send: { type: 'ASK', n: 3 } },
    ],
  }),

  defineCase({
    name: 'a callback that throws as it begins',
    machine: () =>
      setup({
        types: { context: {} as { problem: string } },
        actors: {
          broken: fromCallback(() => {
            throw new Error('no line');
          }),
        },
      }).createMachine({
        context: { problem: '' },
        initial: 'on',
        states: {
          on: {
            invoke: {
              src: 'broken',
              onError: {
                target: 'off',
                actions: assign({ problem: ({ event }) => (event.error as Error).message }),
              },
            },
          },
          off: {},
        },
      }),
    steps: [],
  }),

  defineCase({
    name: 'input, and a child that is told as it begins',
    machine: () =>
      setup({
        types: {
          context: {} as { heard: Record<string, boolean> },
          events: {} as { type: 'HEARD'; what: string },
        },
        actors: {
          parrot: fromCallback<{ type: 'SAY' }, { name: string }>(
            ({ input, sendBack, receive }) => {
              sendBack({ type: 'HEARD', what: input.name });
              receive(({ type }) => sendBack({ type: 'HEARD', what: `${input.name} ${type}` }));
            },
          ),
        },
      }).createMachine({
        context: { heard: {} },
        invoke: { id: 'parrot', src: 'parrot', input: { name: 'Coco' } },
        entry: sendTo('parrot', { type: 'SAY' }),
        on: {
          HEARD: {
            actions: assign({
              heard: ({ context, event }) => ({ ...context.heard, [event.what]: true }),
            }),
          },
        },
      }),
    steps: [],
  }),
]);
