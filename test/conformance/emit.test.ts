import { assign, emit, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

conform('emit', [
  defineCase({
    name: 'on entry, on the way, from an expression, and in the last step',
    machine: () =>
      setup({
        types: {
          context: {} as { n: number },
          events: {} as { type: 'GO'; by: number } | { type: 'END' },
          emitted: {} as
            | { type: 'began' }
            | { type: 'added'; n: number; at: Date }
            | { type: 'ended' },
        },
      }).createMachine({
        context: { n: 0 },
        entry: emit({ type: 'began' }),
        initial: 'open',
        states: {
          open: {
            on: {
              GO: {
                actions: [
                  assign({ n: ({ context, event }) => context.n + event.by }),
                  emit(({ context }) => ({ type: 'added', n: context.n, at: new Date(0) })),
                  emit(({ context }) => ({ type: 'added', n: -context.n, at: new Date(1) })),
                ],
              },
              END: 'over',
            },
          },
          over: { type: 'final', entry: emit({ type: 'ended' }) },
        },
      }),
    steps: [
      { send: { type: 'GO', by: 2 } },
      { send: { type: 'GO', by: 3 } },
      { send: { type: 'END' } },
    ],
  }),
]);
