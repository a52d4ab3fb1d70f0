import { assign, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

conform('input, output, tags and meta', [
  defineCase({
    name: 'input, lazy context, output and tags',
    machine: () =>
      setup({
        types: {
          input: {} as { from: number },
          context: {} as { n: number; at: Date; seen: Map<string, bigint> },
          output: {} as { n: number },
          events: {} as { type: 'ADD' | 'END' },
          tags: {} as 'open' | 'closed',
        },
      }).createMachine({
        context: ({ input }) => ({ n: input.from, at: new Date(0), seen: new Map([['a', 1n]]) }),
        initial: 'open',
        states: {
          open: {
            tags: ['open'],
            on: {
              ADD: {
                actions: assign({
                  n: ({ context }) => context.n + 1,
                  seen: ({ context }) => new Map(context.seen).set('b', 2n),
                }),
              },
              END: 'closed',
            },
          },
          closed: { tags: ['closed'], type: 'final' },
        },
        output: ({ context }) => ({ n: context.n }),
      }),
    input: { from: 3 },
    steps: [{ send: { type: 'ADD' } }, { send: { type: 'END' } }],
  }),

  defineCase({
    name: 'meta and tags of all that is active',
    machine: () =>
      setup({}).createMachine({
        id: 'm',
        meta: { title: 'all' },
        tags: 'whole',
        type: 'parallel',
        states: {
          a: { meta: { title: 'a' }, tags: ['left', 'shared'] },
          b: {
            tags: ['right', 'shared'],
            initial: 'x',
            states: { x: { meta: { n: 1 }, on: { GO: 'y' } }, y: { tags: 'deep', meta: { n: 2 } } },
          },
        },
      }),
    steps: [{ send: { type: 'GO' } }],
  }),

  defineCase({
    name: 'output from the final state, and from the context',
    machine: () =>
      setup({
        types: {
          input: {} as { name: string; when: Date },
          context: {} as { name: string; when: Date; counts: Set<number> },
          events: {} as { type: 'END'; n: number },
          output: {} as { name: string; when: Date; n: unknown; counts: Set<number> },
        },
      }).createMachine({
        context: ({ input }: { input: object }) => ({ ...input, counts: new Set([1]) }),
        initial: 'open',
        states: {
          open: { on: { END: 'over' } },
          over: {
            type: 'final',
            output: ({ event }: { event: { n: number } }) => ({ n: event.n }),
          },
        },
        output: ({ context, event }: { context: object; event: { output: { n: number } } }) => ({
          ...context,
          n: event.output.n,
        }),
      } as never) as never,
    input: { name: 'x', when: new Date(5) },
    steps: [{ send: { type: 'END', n: 3 } }],
  }),

  defineCase({
    name: 'no input, no context, no output',
    machine: () =>
      setup({}).createMachine({
        initial: 'a',
        states: { a: { on: { GO: 'b' } }, b: { type: 'final' } },
      }),
    steps: [{ send: { type: 'GO' } }],
  }),
]);
