import { fromPromise, setup } from 'xstate';
import { defineActor } from '../../src/index.ts';

/** What `perdure check` is given: types of today and of a deploy that goes wrong in every way. */

const never = fromPromise(() => new Promise(() => {}));
const to = { types: { events: {} as { type: 'A' | 'B' | 'C' | 'D' | 'END' } }, actors: { never } };
const on = { A: '.a', B: '.b', C: '.c', D: '.d', END: '.end' } as const;

const today = setup(to).createMachine({
  id: 'm',
  initial: 'a',
  on,
  states: { a: {}, b: {}, c: { after: { 3600000: 'd' } }, d: {}, end: { type: 'final' } },
});
const tomorrow = setup(to).createMachine({
  id: 'm',
  initial: 'a',
  on: { A: '.a', B: '.b', C: '.c', END: '.end' },
  states: {
    a: {},
    b: { invoke: { id: 'late', src: 'never', onDone: 'a', onError: 'a' }, after: { 60000: 'a' } },
    c: { after: { 3600000: 'a' } },
    end: { type: 'final' },
  },
});

/** Changed, and its version with it forgotten. */
export const sameToday = defineActor('same', { machine: today, version: '1' });
export const sameTomorrow = defineActor('same', { machine: tomorrow, version: '1' });
/** Changed, with a migration that knows no state d. */
export const movedToday = defineActor('moved', { machine: today, version: '1' });
export const movedTomorrow = defineActor('moved', {
  machine: tomorrow,
  version: '2',
  migrate: { '1': ({ value, context }) => ({ value: value as 'a', context }) },
});
/** Changed, without one. */
export const cutToday = defineActor('cut', { machine: today, version: '1' });
export const cutTomorrow = defineActor('cut', { machine: tomorrow, version: '2' });
/** Forgotten. */
export const goneToday = defineActor('gone', { machine: today, version: '1' });
