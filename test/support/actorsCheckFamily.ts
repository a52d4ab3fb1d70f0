import { forwardTo, setup } from 'xstate';
import { defineActor } from '../../src/index.ts';

const events = {} as { type: 'STEP' };

/** A nest with eggs; `CHANGED=1`: an egg has other states, and the version is the same. */
const egg = setup({ types: { events } }).createMachine({
  id: 'egg',
  initial: 'warm',
  states:
    process.env.CHANGED === '1'
      ? { warm: { on: { STEP: 'bird' } }, bird: {} }
      : { warm: { on: { STEP: 'cracked' } }, cracked: { on: { STEP: 'warm' } } },
} as never);

export const nest = defineActor('nest', {
  machine: setup({ types: { events }, actors: { egg } }).createMachine({
    id: 'nest',
    invoke: [
      { id: 'left', src: 'egg' },
      { id: 'right', src: 'egg' },
    ],
    on: { STEP: { actions: forwardTo('left') } },
  }),
});
