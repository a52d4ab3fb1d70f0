import { assign, fromPromise, sendTo, setup } from 'xstate';
import { actorAddress, defineActor } from '../../src/index.ts';
import { pause } from './cluster.ts';

/** Everything a row can hold of a user's is of this shape, so that a test can look for it. */
export const SECRET = 'SECRET';

const look = fromPromise<string, { name: string; ms: number }>(async ({ input }) => {
  await pause(input.ms);
  return `${SECRET} result for ${input.name}`;
});

export const patient = defineActor('patient', {
  machine: setup({
    types: {
      input: {} as { name: string; ms: number },
      context: {} as { name: string; ms: number; notes: string[] },
      events: {} as
        | { type: 'NOTE'; text: string }
        | { type: 'TELL'; to: string; text: string }
        | { type: 'REMIND'; text: string; delayMs: number }
        | { type: 'LOOK' | 'FAIL' | 'CLOSE' },
    },
    actors: { look },
  }).createMachine({
    context: ({ input }) => ({ ...input, notes: [] }),
    initial: 'resting',
    on: {
      NOTE: {
        actions: assign({ notes: ({ context, event }) => [...context.notes, event.text] }),
      },
      TELL: {
        actions: sendTo(
          ({ event }) => actorAddress('patient', event.to),
          ({ event }) => ({ type: 'NOTE', text: event.text }),
        ),
      },
      REMIND: {
        actions: sendTo(
          ({ self }) => self,
          ({ event }) => ({ type: 'NOTE', text: event.text }),
          { delay: ({ event }) => event.delayMs },
        ),
      },
      FAIL: {
        actions: assign(() => {
          throw new Error(`${SECRET} failure`);
        }),
      },
      CLOSE: '.closed',
    },
    states: {
      resting: { on: { LOOK: 'looking' } },
      looking: {
        invoke: {
          id: 'look',
          src: 'look',
          input: ({ context: { name, ms } }) => ({ name, ms }),
          onDone: {
            target: 'resting',
            actions: assign({ notes: ({ context, event }) => [...context.notes, event.output] }),
          },
        },
      },
      closed: { type: 'final' },
    },
    output: ({ context }) => ({ name: context.name, notes: context.notes }),
  }),
});
