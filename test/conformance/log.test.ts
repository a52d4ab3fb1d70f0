import { assign, log, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

conform('log', [
  defineCase({
    name: 'log, with an expression and a label, in between',
    machine: () =>
      setup({
        types: { context: {} as { n: number } },
        actions: { before: note, behind: note },
      }).createMachine({
        context: { n: 1 },
        entry: ['before', log('begins', 'label'), 'behind'],
        on: {
          GO: {
            actions: [
              log(({ context, event }) => `${event.type} ${context.n}`),
              assign({ n: ({ context }) => context.n + 1 }),
              log(({ context }) => ({ n: context.n }), 'object'),
              'behind',
            ],
          },
        },
      }),
    steps: [{ send: { type: 'GO' } }, { send: { type: 'GO' } }],
  }),
]);
