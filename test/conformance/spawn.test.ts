import {
  type AnyActorRef,
  assign,
  fromCallback,
  fromPromise,
  fromTransition,
  sendTo,
  setup,
  spawnChild,
  stopChild,
} from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

conform('spawn, spawnChild and stopChild', [
  defineCase({
    name: 'a child that is spawned, told and stopped',
    machine: () =>
      setup({
        types: {
          context: {} as { total: number },
          events: {} as { type: 'BEGIN' | 'ADD' | 'END' },
        },
        actions: { ended: note },
        actors: { tally: fromTransition((total: number) => total + 1, 0) },
      }).createMachine({
        context: { total: 0 },
        on: {
          BEGIN: { actions: spawnChild('tally', { id: 't', syncSnapshot: true }) },
          ADD: { actions: sendTo('t', { type: 'ADD' }) },
          'xstate.snapshot.t': {
            actions: assign({
              total: ({ event }) =>
                (event as unknown as { snapshot: { context: number } }).snapshot.context,
            }),
          },
          END: { actions: [stopChild('t'), 'ended'] },
        },
      } as never) as never,
    steps: [
      { send: { type: 'BEGIN' } },
      { send: { type: 'ADD' } },
      { send: { type: 'ADD' } },
      { send: { type: 'END' } },
    ],
  }),

  defineCase({
    name: 'spawnChild ahead of an action, when the actor starts',
    machine: () =>
      setup({
        actors: { wait: fromPromise(() => new Promise<never>(() => {})) },
        actions: { note },
      }).createMachine({ entry: [spawnChild('wait', { id: 'child' }), 'note'] }),
    steps: [],
  }),

  defineCase({
    name: 'spawned by assign, kept in context, told and stopped by its reference',
    machine: () =>
      setup({
        types: {
          context: {} as { refs: AnyActorRef[]; totals: number[] },
          events: {} as { type: 'NEW' | 'ADD' | 'STOP' | 'SAID'; n?: number },
        },
        actors: {
          counter: fromCallback<{ type: 'ADD' }, { n: number }>(({ input, sendBack, receive }) => {
            receive(() => sendBack({ type: 'SAID', n: input.n }));
          }),
        },
      }).createMachine({
        context: { refs: [], totals: [] },
        on: {
          NEW: {
            actions: assign({
              refs: ({ context, spawn }) => [
                ...context.refs,
                spawn('counter', {
                  id: `c${context.refs.length}`,
                  input: { n: context.refs.length },
                }),
              ],
            }),
          },
          ADD: {
            actions: sendTo(({ context, event }) => context.refs[event.n ?? 0] as AnyActorRef, {
              type: 'ADD',
            }),
          },
          SAID: {
            actions: assign({
              totals: ({ context, event }) => [...new Set([...context.totals, event.n ?? -1])],
            }),
          },
          STOP: {
            actions: [
              stopChild(({ context }) => context.refs[0] as AnyActorRef),
              assign({ refs: ({ context }) => context.refs.slice(1) }),
            ],
          },
        },
      }),
    steps: [
      { send: { type: 'NEW' } },
      { send: { type: 'NEW' } },
      { send: { type: 'ADD', n: 1 } },
      { send: { type: 'ADD', n: 0 } },
      { send: { type: 'STOP' } },
      { send: { type: 'ADD', n: 0 } },
    ],
  }),

  defineCase({
    name: 'promises that are spawned, and what they answer',
    machine: () =>
      setup({
        types: {
          context: {} as { got: number[] },
          events: {} as { type: 'GO'; n: number },
        },
        actors: { double: fromPromise<number, number>(async ({ input }) => input * 2) },
      }).createMachine({
        context: { got: [] },
        on: {
          GO: {
            actions: spawnChild('double', {
              id: 'd',
              input: ({ event }: { event: { n: number } }) => event.n,
            } as never),
          },
          'xstate.done.actor.d': {
            actions: assign({
              got: ({ context, event }) => [
                ...context.got,
                (event as unknown as { output: number }).output,
              ],
            }),
          },
        },
      } as never) as never,
    steps: [{ send: { type: 'GO', n: 2 } }, { send: { type: 'GO', n: 5 } }],
  }),
]);
