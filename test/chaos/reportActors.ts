import { setTimeout as pause } from 'node:timers/promises';
import { fromPromise, sendTo, setup } from 'xstate';
import { actorAddress, defineActor, invocation } from '../../src/index.ts';
import { isCommitted, write } from '../support/actorsJournal.ts';

/** What the report measures with: actors that make a transition every so often, and stop when they are told to. */

/** Between two transitions of an actor, ms. */
export const TICK_MS = 50;

const stop = { STOP: '#stopped' } as const;
type Stop = { type: 'STOP' };

/** Does nothing for a while, and writes down that it did. */
const piece = fromPromise<void, { ms: number }>(async ({ input, self, signal }) => {
  const { idempotencyKey: key, attempt } = invocation(self);
  const at = Date.now();
  const committed = await isCommitted(key);
  write({ kind: 'invoke', key, phase: 'start', attempt, input, at, committed });
  await pause(input.ms, undefined, { signal });
});

/** Ticks by timers. */
export const beat = defineActor('beat', {
  machine: setup({ types: { events: {} as Stop }, delays: { tick: TICK_MS } }).createMachine({
    initial: 'beating',
    states: {
      beating: { after: { tick: { target: 'beating', reenter: true } }, on: stop },
      stopped: { id: 'stopped', type: 'final' },
    },
  }),
});

/** Ticks by promises: one of them runs all the time. */
export const work = defineActor('work', {
  machine: setup({ types: { events: {} as Stop }, actors: { piece } }).createMachine({
    initial: 'working',
    states: {
      working: {
        invoke: {
          id: 'piece',
          src: 'piece',
          input: { ms: TICK_MS },
          onDone: { target: 'working', reenter: true },
        },
        on: stop,
      },
      stopped: { id: 'stopped', type: 'final' },
    },
  }),
});

/** Ticks by messages: two of them throw a ball to each other, through outbox and log. */
export const player = defineActor('player', {
  machine: setup({
    types: {
      input: {} as { partner: string; serves: boolean },
      context: {} as { partner: string; serves: boolean },
      events: {} as Stop | { type: 'BALL' },
    },
    delays: { tick: TICK_MS },
    guards: { serves: ({ context }) => context.serves },
    actions: {
      throwBall: sendTo(({ context }) => actorAddress('player', context.partner), { type: 'BALL' }),
    },
  }).createMachine({
    context: ({ input }) => input,
    initial: 'entering',
    states: {
      entering: { always: [{ guard: 'serves', target: 'holding' }, { target: 'waiting' }] },
      waiting: { on: { BALL: 'holding', ...stop } },
      holding: {
        after: { tick: { target: 'waiting', actions: 'throwBall' } },
        on: stop,
      },
      stopped: { id: 'stopped', type: 'final' },
    },
  }),
});

/** A job of one piece of work. */
export const job = defineActor('job', {
  machine: setup({
    types: { input: {} as { ms: number }, context: {} as { ms: number } },
    actors: { piece },
  }).createMachine({
    context: ({ input }) => input,
    initial: 'doing',
    states: {
      doing: {
        invoke: { id: 'piece', src: 'piece', input: ({ context }) => context, onDone: 'done' },
      },
      done: { type: 'final' },
    },
  }),
});
