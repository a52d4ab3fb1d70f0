import {
  assign,
  emit,
  fromPromise,
  sendParent,
  sendTo,
  setup,
  spawnChild,
  stopChild,
} from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const say = (_: unknown, _params?: unknown) => {};

const shipper = setup({
  types: {
    context: {} as { n: number },
    input: {} as { n: number },
    events: {} as { type: 'PACK' } | { type: 'LATER' },
    output: {} as { parcels: number },
  },
  actors: { label: fromPromise<string, number>(async ({ input }) => `label ${input}`) },
  actions: { say },
}).createMachine({
  id: 'shipper',
  context: ({ input }) => ({ n: input.n }),
  initial: 'open',
  entry: 'say',
  states: {
    open: {
      on: {
        PACK: {
          target: 'labelling',
          actions: [
            'say',
            assign({ n: ({ context }) => context.n + 1 }),
            sendParent({ type: 'PACKED' }),
          ],
        },
      },
    },
    labelling: { invoke: { src: 'label', input: ({ context }) => context.n, onDone: 'waiting' } },
    waiting: { after: { 1000: 'gone' } },
    gone: { type: 'final' },
  },
  output: ({ context }) => ({ parcels: context.n }),
});

const order = setup({
  types: {
    context: {} as { packed: number; parcels: number | null },
    events: {} as { type: 'GO' } | { type: 'PACK' } | { type: 'PACKED' } | { type: 'STOP' },
  },
  actors: { shipper },
  actions: { say },
}).createMachine({
  id: 'order',
  context: { packed: 0, parcels: null },
  initial: 'idle',
  on: { PACKED: { actions: ['say', assign({ packed: ({ context }) => context.packed + 1 })] } },
  states: {
    idle: { on: { GO: 'shipping' } },
    shipping: {
      invoke: {
        id: 'ship',
        src: 'shipper',
        input: { n: 3 },
        onDone: {
          target: 'done',
          actions: assign({ parcels: ({ event }) => event.output.parcels }),
        },
      },
      on: { PACK: { actions: sendTo('ship', { type: 'PACK' }) }, STOP: 'idle' },
    },
    done: { type: 'final' },
  },
});

conform([
  defineCase({
    name: 'an invoked machine runs to its end, with an invoke and a timer of its own',
    machine: () => order,
    steps: [{ send: { type: 'GO' } }, { send: { type: 'PACK' } }, { advance: 1000 }],
  }),
  defineCase({
    name: 'a machine that is left is stopped, and begins anew',
    machine: () => order,
    steps: [
      { send: { type: 'GO' } },
      { send: { type: 'PACK' } },
      { send: { type: 'STOP' } },
      { advance: 2000 },
      { send: { type: 'GO' } },
      { send: { type: 'PACK' } },
      { advance: 2000 },
    ],
  }),
]);
void [emit, spawnChild, stopChild];
