import { defineActor } from 'perdure';
import { assign, setup } from 'xstate';

interface Request {
  what: string;
  /** Between two reminders, ms. Default: a day. */
  remindMs?: number;
}

const machine = setup({
  types: {
    input: {} as Request,
    context: {} as Request & { reminders: number; by?: string; approved: boolean },
    events: {} as { type: 'APPROVE'; by: string } | { type: 'REJECT'; by: string },
    output: {} as { approved: boolean; by: string | undefined; reminders: number },
  },
  delays: { untilReminder: ({ context }) => context.remindMs ?? 86_400_000 },
  guards: { isPatient: ({ context }) => context.reminders < 3 },
  actions: {
    // Runs after its transition is committed, at least once: a reminder may come twice, and never for nothing.
    remind: ({ context }) => console.log(`please decide: ${context.what} (${context.reminders})`),
    count: assign({ reminders: ({ context }) => context.reminders + 1 }),
  },
}).createMachine({
  context: ({ input }) => ({ ...input, reminders: 0, approved: false }),
  initial: 'waiting',
  states: {
    waiting: {
      after: {
        untilReminder: [
          { guard: 'isPatient', target: 'waiting', reenter: true, actions: ['count', 'remind'] },
          { target: 'expired' },
        ],
      },
      on: {
        APPROVE: {
          target: 'approved',
          actions: assign({ by: ({ event }) => event.by, approved: true }),
        },
        REJECT: { target: 'rejected', actions: assign({ by: ({ event }) => event.by }) },
      },
    },
    approved: { type: 'final' },
    rejected: { type: 'final' },
    expired: { type: 'final' },
  },
  output: ({ context: { approved, by, reminders } }) => ({ approved, by, reminders }),
});

/** Waits for a person, reminds three times, then gives up. It takes no memory while it waits. */
export const approval = defineActor('approval', { machine });
