import { assign, fromPromise, raise, sendTo, setup } from 'xstate';
import { defineActor } from '../../src/index.ts';

/** What a history is recorded with, in `replay.test.ts`; `actorsReplayChanged.ts` is what becomes of it. */

const leg = setup({ types: { output: {} as string } }).createMachine({
  initial: 'going',
  states: { going: { after: { 10: 'there' } }, there: { type: 'final' } },
  output: 'arrived',
});

/** @param fee what the second payment costs */
export const tripMachine = (fee: number) =>
  setup({
    types: {
      context: {} as { paid: number; notes: string[]; at: number; secret: string },
      input: {} as { secret?: string } | undefined,
      events: {} as { type: 'PAY' } | { type: 'NOTE' } | { type: 'ECHO' } | { type: 'LATER' },
    },
    actors: {
      book: fromPromise(async () => ({ seat: '7A' })),
      refuse: fromPromise(async () => {
        throw new Error('no seat');
      }),
      leg,
    },
    actions: { tell: () => {} },
  }).createMachine({
    context: ({ input }) => ({ paid: 0, notes: [], at: 0, secret: input?.secret ?? '' }),
    initial: 'booking',
    on: {
      NOTE: {
        actions: [
          sendTo(({ self }) => self, { type: 'ECHO' }),
          raise({ type: 'LATER' }, { delay: 5 }),
        ],
      },
      ECHO: { actions: assign({ notes: ({ context }) => [...context.notes, 'echo'] }) },
      LATER: { actions: ['tell', assign({ at: () => Date.now() })] },
    },
    states: {
      booking: {
        invoke: {
          src: 'book',
          onDone: {
            target: 'refusing',
            actions: assign({ notes: ({ event }) => [event.output.seat] }),
          },
        },
      },
      refusing: {
        invoke: {
          src: 'refuse',
          onError: {
            target: 'waiting',
            actions: assign({
              notes: ({ context, event }) => [...context.notes, `${event.error}`],
            }),
          },
        },
      },
      waiting: {
        on: {
          PAY: {
            actions: [
              assign({ paid: ({ context }) => context.paid + (context.paid > 0 ? fee : 30) }),
              'tell',
            ],
          },
        },
        always: { guard: ({ context }) => context.paid > 30, target: 'travelling' },
      },
      travelling: { invoke: { id: 'first', src: 'leg', onDone: 'resting' } },
      resting: { after: { 20: 'home' } },
      home: { type: 'final' },
    },
    output: ({ context }) => ({ paid: context.paid }),
  });

export const trip = defineActor('trip', {
  machine: tripMachine(12),
  retry: { refuse: { attempts: 2, delayMs: 1, maxDelayMs: 1 } },
});

export const moving1 = defineActor('moving', {
  machine: setup({ types: { events: {} as { type: 'GO' } } }).createMachine({
    initial: 'one',
    states: { one: { on: { GO: 'two' } }, two: { on: { GO: 'one' } } },
  }),
});
