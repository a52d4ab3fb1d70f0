import { assign, fromPromise, raise, setup } from 'xstate';
import { defineActor } from '../../src/actors/define.ts';

/** What a copied test case is run against: it asks promises, which a test case must not run, and waits. */
export const tripGoingTo = (end: 'arrived' | 'cancelled') =>
  defineActor('trip', {
    machine: setup({
      types: {
        input: {} as { from?: string; leaves?: Date },
        context: {} as { from: unknown; leaves: unknown; seats: number; booking?: string },
        events: {} as
          | { type: 'BOOK'; seats?: Map<string, number> }
          | { type: 'LEAVE' }
          | { type: 'ARRIVE' }
          | { type: 'CANCEL' },
        output: {} as { booking: unknown; leaves: unknown; seats: number },
      },
      actors: {
        book: fromPromise<string>(async () => {
          throw new Error('a test case asked somebody');
        }),
      },
    }).createMachine({
      id: 'trip',
      context: ({ input }) => ({ from: input.from, leaves: input.leaves?.getTime(), seats: 0 }),
      initial: 'planned',
      on: { CANCEL: '.cancelled' },
      states: {
        planned: {
          on: {
            BOOK: {
              target: 'booking',
              actions: assign({ seats: ({ event }) => event.seats?.size ?? 0 }),
            },
          },
        },
        booking: {
          invoke: {
            id: 'book',
            src: 'book',
            onDone: { target: 'booked', actions: assign({ booking: ({ event }) => event.output }) },
            onError: 'soldOut',
          },
        },
        soldOut: { after: { 60000: 'booking' } },
        booked: { on: { LEAVE: 'underWay' } },
        underWay: {
          entry: raise({ type: 'ARRIVE' }, { delay: 10_000, id: 'arrival' }),
          on: { ARRIVE: end },
        },
        arrived: { type: 'final' },
        cancelled: { type: 'final' },
      },
      output: ({ context: { booking, leaves, seats } }) => ({ booking, leaves, seats }),
    }),
  });

export const trip = tripGoingTo('arrived');
