import { assign, fromPromise, setup } from 'xstate';
import { defineActor } from '../../src/actors/define.ts';

// What the page is driven against: nested and parallel regions, guards, delays, retries, a child machine, history.

const ship = setup({
  types: { input: {} as { parcels: number }, context: {} as { parcels: number } },
}).createMachine({
  id: 'ship',
  context: ({ input }) => ({ parcels: input.parcels }),
  initial: 'packing',
  states: {
    packing: { after: { 60000: 'onTheWay' } },
    onTheWay: { tags: ['outside'], after: { 86400000: 'delivered' } },
    delivered: { type: 'final' },
  },
});

const machine = setup({
  types: {
    input: {} as { total: number; customer: string },
    context: {} as {
      total: number;
      customer: string;
      items: string[];
      approvedBy?: string;
      receipt?: string;
    },
    events: {} as
      | { type: 'ADD'; item: string }
      | { type: 'SUBMIT' }
      | { type: 'APPROVE'; by: string }
      | { type: 'REJECT' }
      | { type: 'PAY' }
      | { type: 'HOLD' }
      | { type: 'RESUME' },
  },
  actors: {
    ship,
    charge: fromPromise<string, { total: number }>(async ({ input, signal }) => {
      if (input.total === 13) throw new Error('card declined');
      if (input.total > 1_000_000)
        await new Promise((_, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason)),
        );
      return `receipt for ${input.total}`;
    }),
    reserve: fromPromise(async () => 'reserved'),
  },
  guards: {
    isSmall: ({ context }) => context.total < 100,
    hasItems: ({ context }) => context.items.length > 0,
  },
}).createMachine({
  id: 'order',
  context: ({ input }) => ({ ...input, items: [] }),
  initial: 'cart',
  states: {
    cart: {
      tags: ['editable'],
      on: {
        ADD: { actions: assign({ items: ({ context, event }) => [...context.items, event.item] }) },
        SUBMIT: [
          { guard: 'isSmall', target: 'fulfilling' },
          { guard: 'hasItems', target: 'review' },
        ],
      },
      after: { 604800000: 'abandoned' },
    },
    review: {
      initial: 'waiting',
      states: {
        waiting: { on: { HOLD: 'onHold' }, after: { 172800000: 'onHold' } },
        onHold: { tags: ['blocked'], on: { RESUME: 'waiting' } },
      },
      on: {
        APPROVE: {
          target: 'fulfilling',
          actions: assign({ approvedBy: ({ event }) => event.by }),
        },
        REJECT: 'abandoned',
      },
    },
    fulfilling: {
      type: 'parallel',
      states: {
        payment: {
          initial: 'due',
          states: {
            due: { on: { PAY: 'charging' } },
            charging: {
              invoke: {
                id: 'charge',
                src: 'charge',
                input: ({ context }) => ({ total: context.total }),
                onDone: {
                  target: 'paid',
                  actions: assign({ receipt: ({ event }) => event.output }),
                },
                onError: 'failed',
              },
            },
            failed: { tags: ['blocked'], on: { PAY: 'charging' } },
            paid: { type: 'final' },
          },
        },
        delivery: {
          initial: 'reserving',
          states: {
            reserving: { invoke: { id: 'reserve', src: 'reserve', onDone: 'shipping' } },
            shipping: {
              invoke: { id: 'ship', src: 'ship', input: { parcels: 2 }, onDone: 'delivered' },
            },
            delivered: { type: 'final' },
          },
        },
      },
      onDone: 'completed',
    },
    completed: { type: 'final' },
    abandoned: { type: 'final' },
  },
  output: ({ context }) => ({ receipt: context.receipt }),
});

export const order = defineActor('order', {
  machine,
  retry: { charge: { attempts: 2, delayMs: 100 } },
  searchable: ['customer'],
});

/** Many of these come and go, so that something moves. */
export const ping = defineActor('ping', {
  machine: setup({
    types: { input: {} as { fails?: boolean }, context: {} as { fails: boolean } },
    actors: {
      work: fromPromise<void, boolean>(async ({ input }) => {
        if (input) throw new Error('no such host');
      }),
    },
  }).createMachine({
    id: 'ping',
    context: ({ input }) => ({ fails: input?.fails ?? false }),
    initial: 'sending',
    states: {
      sending: {
        invoke: {
          id: 'work',
          src: 'work',
          input: ({ context }) => context.fails,
          onDone: 'answered',
        },
      },
      answered: { type: 'final' },
    },
  }),
});

/** One line a state, and actors that have failed there beside those that have not. */
export const parcel = defineActor('parcel', {
  machine: setup({
    types: { events: {} as { type: 'WEIGH' } | { type: 'SHIP' } | { type: 'COUNT' } },
  }).createMachine({
    id: 'parcel',
    context: {},
    initial: 'waiting',
    on: {
      COUNT: {},
      WEIGH: {
        actions: assign(() => {
          throw new Error('the scale is broken');
        }),
      },
    },
    states: { waiting: { on: { SHIP: 'gone' } }, gone: { type: 'final' } },
  }),
});
