import { and, assign, createMachine, not, or, setup, stateIn } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

interface Args {
  context: { limit: number };
  event: { n: number };
}

conform('guards', [
  defineCase({
    name: 'guards with params, and combined',
    machine: () =>
      setup({
        types: {
          context: {} as { n: number; took: string[] },
          events: {} as { type: 'ADD'; n: number } | { type: 'TRY' },
        },
        guards: {
          above: ({ context }, params: { than: number }) => context.n > params.than,
          isOdd: ({ context }) => context.n % 2 === 1,
        },
      }).createMachine({
        context: { n: 0, took: [] },
        initial: 'a',
        on: { ADD: { actions: assign({ n: ({ context, event }) => context.n + event.n }) } },
        states: {
          a: {
            on: {
              TRY: [
                {
                  guard: and([{ type: 'above', params: { than: 5 } }, 'isOdd']),
                  actions: assign({ took: ({ context }) => [...context.took, 'and'] }),
                },
                {
                  guard: or([{ type: 'above', params: { than: 10 } }, not('isOdd')]),
                  actions: assign({ took: ({ context }) => [...context.took, 'or'] }),
                },
                { guard: stateIn('a'), target: 'b' },
              ],
            },
          },
          b: {},
        },
      }),
    steps: [
      { send: { type: 'TRY' } },
      { send: { type: 'ADD', n: 7 } },
      { send: { type: 'TRY' } },
      { send: { type: 'ADD', n: -4 } },
      { send: { type: 'TRY' } },
    ],
  }),

  defineCase({
    name: 'params from context and event, named and inline, combined three deep',
    machine: () =>
      setup({
        types: {
          context: {} as { limit: number; took: string[] },
          events: {} as { type: 'TRY'; n: number },
        },
        guards: {
          within: (_, { n, limit }: { n: number; limit: number }) => n <= limit,
          isEven: ({ event }) => event.n % 2 === 0,
        },
        actions: {
          take: assign({
            took: ({ context }, which: string) => [...context.took, which],
          }),
        },
      }).createMachine({
        context: { limit: 4, took: [] },
        on: {
          TRY: [
            {
              // Its types know no params of a guard within a guard.
              guard: and([
                {
                  type: 'within',
                  params: ({ context, event }: Args) => ({ n: event.n, limit: context.limit }),
                } as never,
                or(['isEven', not((({ event }: Args) => event.n > 1) as never)]),
              ]),
              actions: { type: 'take', params: 'small' },
            },
            {
              guard: not(or(['isEven', (({ event }: Args) => event.n === 9) as never])),
              actions: { type: 'take', params: 'odd' },
            },
            { actions: { type: 'take', params: 'rest' } },
          ],
        },
      }),
    steps: [1, 2, 3, 8, 9].map((n) => ({ send: { type: 'TRY', n } })),
  }),

  defineCase({
    name: 'stateIn, by id, by path and across regions',
    machine: () =>
      createMachine({
        type: 'parallel',
        states: {
          light: {
            initial: 'red',
            states: { red: { id: 'red', on: { NEXT: 'green' } }, green: { on: { NEXT: 'red' } } },
          },
          car: {
            initial: 'stopped',
            states: {
              stopped: {
                on: {
                  GO: [
                    { guard: stateIn('#red'), target: 'waiting' },
                    { guard: stateIn({ light: 'green' }), target: 'driving' },
                  ],
                },
              },
              waiting: { always: { guard: stateIn({ light: 'green' }), target: 'driving' } },
              driving: { on: { GO: 'stopped' } },
            },
          },
        },
      }),
    steps: ['GO', 'NEXT', 'GO', 'GO'].map((type) => ({ send: { type } })),
  }),
]);
