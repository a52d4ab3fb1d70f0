import { setup } from 'xstate';
import { defineActor } from '../../src/index.ts';
import { moving1, tripMachine } from './actorsReplay.ts';

export { moving1 };

/** The types of `actorsReplay.ts` after somebody changed them. */

export const trip = defineActor('trip', { machine: tripMachine(15) });

export const moving2 = defineActor('moving', {
  version: '2',
  machine: setup({ types: { events: {} as { type: 'GO' } } }).createMachine({
    context: { moved: true },
    initial: 'one',
    states: { one: { on: { GO: 'two' } }, two: { on: { GO: 'three' } }, three: {} },
  }),
  migrate: { 1: ({ value }) => ({ value: value as 'one', context: { moved: true } }) },
});
