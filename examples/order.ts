import { defineActor, invocation } from 'perdure';
import { assign, fromPromise, setup } from 'xstate';

const machine = setup({
  types: {
    input: {} as { total: number; customerId?: number },
    context: {} as { total: number; receipt?: string },
    events: {} as { type: 'PAY' },
  },
  actors: {
    // After a crash it runs again under the same key, so that the provider charges once.
    charge: fromPromise<string, number>(async ({ input, self }) => {
      console.log(`charging ${input}, Idempotency-Key: ${invocation(self).idempotencyKey}`);
      return `receipt for ${input}`;
    }),
  },
}).createMachine({
  context: ({ input }) => ({ total: input.total }),
  initial: 'waiting',
  states: {
    waiting: { on: { PAY: 'charging' }, after: { 86400000: 'abandoned' } },
    charging: {
      invoke: {
        id: 'charge',
        src: 'charge',
        input: ({ context }) => context.total,
        onDone: { target: 'paid', actions: assign({ receipt: ({ event }) => event.output }) },
      },
    },
    paid: { type: 'final' },
    abandoned: { type: 'final' },
  },
  output: ({ context }) => ({ receipt: context.receipt }),
});

export const order = defineActor('order', {
  machine,
  retry: { charge: { attempts: 3 } },
  searchable: ['customerId'],
});
