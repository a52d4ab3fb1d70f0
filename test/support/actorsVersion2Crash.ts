import { fromPromise } from 'xstate';
import { defineActor } from '../../src/index.ts';
import { crashAt } from './actorsJournal.ts';
import { parcel2 as whole } from './actorsVersions.ts';

/** The second version; whatever it invokes ends the process, when the environment says so. */
export const parcel2 = defineActor('parcel', {
  version: '2',
  machine: whole.machine.provide({
    actors: {
      work: fromPromise(async () => {
        crashAt('first invoke');
        return '';
      }),
    },
  }),
  migrate: whole.migrate as never,
});
