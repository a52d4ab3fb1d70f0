import { setup } from 'xstate';
import { defineActor } from '../../src/actors/define.ts';

/** What `perdure dev` runs in its tests. */
export const light = defineActor('light', {
  machine: setup({ types: { events: {} as { type: 'toggle' } } }).createMachine({
    initial: 'off',
    states: { off: { on: { toggle: 'on' } }, on: { on: { toggle: 'off' } } },
  }),
});

// A node whose event loop never comes back, as an actor can make it.
if (process.env.PERDURE_TEST_HANG)
  process.once('SIGUSR2', () => {
    for (;;);
  });
