import { setup } from 'xstate';
import { defineActor } from '../../src/index.ts';

/** Never comes back from a guard. */
export const spinner = defineActor('spinner', {
  machine: setup({
    types: { events: {} as { type: 'SPIN' } | { type: 'POKE' } },
    guards: {
      never: () => {
        for (;;);
      },
    },
  }).createMachine({
    initial: 'idle',
    states: {
      idle: { on: { SPIN: { guard: 'never', target: 'spun' }, POKE: {} } },
      spun: {},
    },
  }),
});
