import { assign, fromPromise, setup } from 'xstate';
import { defineActor, invocation, type Migrate } from '../../src/index.ts';
import { whileHeld, write } from './actorsJournal.ts';
import { pause } from './cluster.ts';

/** Two versions of one actor type; what runs for them goes to a journal. */

export interface Job {
  ms: number;
}

const work = fromPromise<string, Job>(async ({ input, self, signal }) => {
  const { idempotencyKey: key, attempt } = invocation(self);
  const line = (phase: 'start' | 'end' | 'abort') =>
    write({ kind: 'invoke', key, phase, attempt, input, at: Date.now() });
  line('start');
  signal.addEventListener('abort', () => line('abort'), { once: true });
  await whileHeld(signal);
  await pause(input.ms);
  if (!signal.aborted) line('end');
  return key;
});

type Events = { type: 'WORK' } | { type: 'PING' } | { type: 'NAP' };

export const parcel1 = defineActor('parcel', {
  version: '1',
  machine: setup({
    types: { input: {} as Job, context: {} as Job & { pings: number }, events: {} as Events },
    actors: { work },
  }).createMachine({
    id: 'parcel',
    context: ({ input }) => ({ ...input, pings: 0 }),
    initial: 'waiting',
    on: { PING: { actions: assign({ pings: ({ context }) => context.pings + 1 }) } },
    states: {
      waiting: { on: { WORK: 'working', NAP: 'napping' } },
      napping: { after: { 8000: 'rested' } },
      rested: {},
      working: {
        invoke: {
          id: 'work',
          src: 'work',
          input: ({ context: { ms } }) => ({ ms }),
          onDone: 'worked',
        },
      },
      worked: {},
    },
  }),
});

const machine2 = setup({
  types: {
    input: {} as Job,
    context: {} as Job & { count: number; seen: string[] },
    events: {} as Events,
  },
  actors: { work },
}).createMachine({
  id: 'parcel',
  context: ({ input }) => ({ ...input, count: 0, seen: [] }),
  initial: 'waiting',
  on: { PING: { actions: assign({ count: ({ context }) => context.count + 1 }) } },
  states: {
    waiting: { on: { WORK: 'working', NAP: 'napping' } },
    napping: { after: { 8000: 'rested', 600000: 'rested' } },
    rested: {},
    working: {
      type: 'parallel',
      onDone: 'worked',
      states: {
        labour: {
          initial: 'on',
          states: {
            on: {
              invoke: {
                id: 'work',
                src: 'work',
                input: ({ context: { ms } }) => ({ ms }),
                onDone: {
                  target: 'off',
                  actions: assign({
                    seen: ({ context, event }) => [...context.seen, event.output],
                  }),
                },
              },
            },
            off: { type: 'final' },
          },
        },
        notice: {
          initial: 'on',
          states: {
            on: { invoke: { id: 'notice', src: 'work', input: { ms: 20 }, onDone: 'off' } },
            off: { type: 'final' },
          },
        },
      },
    },
    worked: { type: 'final' },
  },
});

const fromOne: Migrate<typeof machine2> = ({ value, context: { ms, pings } }) => ({
  value: (value === 'working' ? { working: { labour: 'on', notice: 'on' } } : value) as 'waiting',
  context: { ms, count: pings * 10, seen: [] },
});

export const parcel2 = defineActor('parcel', {
  version: '2',
  machine: machine2,
  migrate: { '1': fromOne },
});

/** Its `migrate` is a mistake. */
export const parcel2wrong = defineActor('parcel', {
  version: '2',
  machine: machine2,
  migrate: {
    '1': () => {
      throw new Error('a mistake in migrate');
    },
  },
});
