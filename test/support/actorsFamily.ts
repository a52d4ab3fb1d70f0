import { type AnyActorRef, assign, fromPromise, sendParent, sendTo, setup } from 'xstate';
import { type Asked, defineActor, fromAsk, invocation } from '../../src/index.ts';
import { crashAt, write } from './actorsJournal.ts';

/** Machines inside of machines, with invokes, timers and actions on every level. */

type Told = { type: string; [key: string]: unknown };
const events = {} as Told;

/** Its key is recorded each time it runs. */
const work = fromPromise<string, { n: number }>(async ({ input, self }) => {
  const { idempotencyKey: key, attempt } = invocation(self);
  write({ kind: 'invoke', key, phase: 'start', attempt, input, at: Date.now() });
  crashAt(`work ${input.n}`);
  await new Promise((resolve) => setTimeout(resolve, 3));
  write({ kind: 'invoke', key, phase: 'end', attempt, input, at: Date.now(), result: key });
  return key;
});

const label = setup({
  types: {
    context: {} as { n: number },
    input: {} as { n: number },
    output: {} as number,
    events,
  },
  actors: { work },
}).createMachine({
  id: 'label',
  context: ({ input }) => ({ n: input.n }),
  initial: 'drawing',
  states: {
    drawing: {
      invoke: { src: 'work', input: ({ context }) => ({ n: context.n }), onDone: 'drying' },
    },
    drying: { after: { 5: 'dry' } },
    dry: { type: 'final' },
  },
  output: ({ context }) => context.n,
});

const parcel = setup({
  types: {
    context: {} as { n: number; labels: number[] },
    input: {} as { n: number },
    output: {} as number[],
    events,
  },
  actors: { label },
  actions: {
    tell: ({ context, self }) =>
      write({ kind: 'action', at: Date.now(), parcel: `${self.id}`, n: context.n }),
  },
}).createMachine({
  id: 'parcel',
  context: ({ input }) => ({ n: input.n, labels: [] }),
  initial: 'labelling',
  states: {
    labelling: {
      entry: 'tell',
      invoke: {
        id: 'label',
        src: 'label',
        input: ({ context }) => ({ n: 10 * context.n + context.labels.length }),
        onDone: {
          target: 'check',
          actions: [
            assign({ labels: ({ context, event }) => [...context.labels, event.output] }),
            sendParent(({ context }) => ({ type: 'LABELLED', n: context.n })),
          ],
        },
      },
    },
    check: {
      always: [
        { guard: ({ context }) => context.labels.length < 2, target: 'labelling' },
        { target: 'packed' },
      ],
    },
    packed: { type: 'final' },
  },
  output: ({ context }) => context.labels,
});

/** Two parcels at a time, each with two labels, one after the other. */
export const shipment = defineActor('shipment', {
  machine: setup({
    types: {
      context: {} as { labelled: number; out: number[][]; price: number | null },
      output: {} as { labelled: number; out: number[][]; price: number | null },
      events,
    },
    actors: { parcel, price: fromAsk<{ type: 'PRICE'; value: number }>() },
  }).createMachine({
    id: 'shipment',
    context: { labelled: 0, out: [], price: null },
    initial: 'packing',
    on: { LABELLED: { actions: assign({ labelled: ({ context }) => context.labelled + 1 }) } },
    states: {
      packing: {
        type: 'parallel',
        states: {
          one: {
            initial: 'on',
            states: {
              on: {
                invoke: {
                  id: 'one',
                  src: 'parcel',
                  input: { n: 1 },
                  onDone: {
                    target: 'off',
                    actions: assign({
                      out: ({ context, event }) => [...context.out, event.output],
                    }),
                  },
                },
              },
              off: { type: 'final' },
            },
          },
          two: {
            initial: 'on',
            states: {
              on: {
                invoke: {
                  id: 'two',
                  src: 'parcel',
                  input: { n: 2 },
                  onDone: {
                    target: 'off',
                    actions: assign({
                      out: ({ context, event }) => [...context.out, event.output],
                    }),
                  },
                },
              },
              off: { type: 'final' },
            },
          },
        },
        onDone: 'pricing',
      },
      pricing: {
        invoke: {
          src: 'price',
          input: { to: { type: 'tariff', id: 't' }, event: { type: 'PRICE?' } },
          onDone: { target: 'sent', actions: assign({ price: ({ event }) => event.output.value }) },
        },
      },
      sent: { type: 'final' },
    },
    output: ({ context }) => ({ ...context, out: context.out.toSorted() }),
  }),
});

export const tariff = defineActor('tariff', {
  machine: setup({
    types: { context: {} as { asked: number }, events: {} as Asked<{ type: 'PRICE?' }> },
  }).createMachine({
    context: { asked: 0 },
    on: {
      'PRICE?': {
        actions: [
          assign({ asked: ({ context }) => context.asked + 1 }),
          sendTo(({ event }) => event.replyTo as AnyActorRef, { type: 'PRICE', value: 7 }),
        ],
      },
    },
  }),
});
