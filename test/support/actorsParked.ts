import { assign, sendTo, setup } from 'xstate';
import { actorAddress, defineActor } from '../../src/index.ts';

/** What nodes of two versions run. */

interface Added {
  type: 'ADD';
  n: number;
}

const tally = setup({ types: { context: {} as { seen: number[] }, events: {} as Added } });
const add = {
  ADD: { actions: tally.assign(({ context, event }) => ({ seen: [...context.seen, event.n] })) },
};

/** Two versions that know nothing of each other. */
export const tally1 = defineActor('tally', {
  version: '1',
  machine: tally.createMachine({ id: 'one', context: { seen: [] }, on: add }),
});
export const tally2 = defineActor('tally', {
  version: '2',
  machine: tally.createMachine({ id: 'two', context: { seen: [] }, on: add }),
});

/** A type that came with the second version. */
export const lamp = defineActor('lamp', {
  machine: setup({
    types: { context: {} as { seen: number[] }, events: {} as Added },
  }).createMachine({
    context: { seen: [] },
    on: {
      ADD: { actions: assign({ seen: ({ context, event }) => [...context.seen, event.n] }) },
    },
  }),
});

/** Comes with the second version, and ends the node that hears `BOOM`. */
export const mine = defineActor('mine', {
  machine: setup({
    types: { context: {} as { seen: number[] }, events: {} as Added | { type: 'BOOM' } },
  }).createMachine({
    context: { seen: [] },
    on: {
      ADD: { actions: assign({ seen: ({ context, event }) => [...context.seen, event.n] }) },
      BOOM: {
        actions: assign(({ context }) => {
          process.kill(process.pid, 'SIGKILL');
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
          return context;
        }),
      },
    },
  }),
});

/** Tells a lamp what it is told. */
export const teller = defineActor('teller', {
  machine: setup({
    types: { events: {} as { type: 'TELL'; to: string; n: number } },
  }).createMachine({
    on: {
      TELL: {
        actions: sendTo(
          ({ event }) => actorAddress('lamp', event.to),
          ({ event }) => ({ type: 'ADD', n: event.n }),
        ),
      },
    },
  }),
});
