import { assign, emit, enqueueActions, raise, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

conform('raise', [
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
    name: 'raised events go ahead of everything else, in order, and behind always',
    machine: () =>
      setup({
        types: { context: {} as { seen: string[] }, events: {} as { type: string } },
        actions: { see: assign({ seen: ({ context, event }) => [...context.seen, event.type] }) },
      }).createMachine({
        context: { seen: [] },
        entry: raise({ type: 'START' }),
        initial: 'a',
        on: { '*': { actions: 'see' } },
        states: {
          a: {
            on: {
              GO: {
                target: 'b',
                actions: [
                  'see',
                  raise({ type: 'ONE' }),
                  raise(({ event }) => ({ type: `${event.type}2` })),
                ],
              },
            },
          },
          b: {
            entry: raise({ type: 'IN' }),
            always: { target: 'c', actions: raise({ type: 'ALWAYS' }) },
          },
          c: {},
        },
      }),
    steps: [{ send: { type: 'GO' } }],
  }),
]);
