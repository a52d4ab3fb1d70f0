import { setTimeout as pause } from 'node:timers/promises';
import { assign, fromPromise, setup } from 'xstate';
import { defineActor, invocation } from '../../src/index.ts';
import { write } from './actorsJournal.ts';

/** An actor for which something runs from its start to its end. */

export interface RelayInput {
  /** How long each leg takes, ms. */
  ms: number;
  /** The first attempts of the second leg that fail. */
  failures: number;
}

/** Does not end in the node that `PERDURE_TEST_HOLD` names it to. */
const leg = fromPromise<number, RelayInput & { leg: string }>(async ({ input, self, signal }) => {
  const { idempotencyKey: key, attempt } = invocation(self);
  write({ kind: 'invoke', key, phase: 'start', attempt, input, at: Date.now() });
  const isHeld = process.env.PERDURE_TEST_HOLD === input.leg;
  await pause(isHeld ? 600_000 : input.ms, undefined, { signal });
  if (attempt <= input.failures) throw new Error(`attempt ${attempt}`);
  write({ kind: 'invoke', key, phase: 'end', attempt, input, at: Date.now() });
  return attempt;
});

/** A state that runs a leg; only the second one fails. */
const running = (name: string, target: string) => ({
  invoke: {
    src: 'leg' as const,
    input: ({ context }: { context: RelayInput }) => ({
      ...context,
      failures: name === 'two' ? context.failures : 0,
      leg: name,
    }),
    onDone: { target, actions: 'ran' as const },
  },
});

export const relay = defineActor('relay', {
  machine: setup({
    types: {
      input: {} as Partial<RelayInput> | undefined,
      context: {} as RelayInput & { legs: number },
      tags: {} as 'last',
    },
    actors: { leg },
    actions: { ran: assign({ legs: ({ context }) => context.legs + 1 }) },
  }).createMachine({
    context: ({ input }) => ({ ms: 0, failures: 0, ...input, legs: 0 }),
    id: 'relay',
    initial: 'one',
    states: {
      one: running('one', 'two'),
      two: running('two', 'three'),
      three: running('three', 'four'),
      four: { tags: 'last', ...running('four', 'over') },
      over: { type: 'final' },
    },
    output: ({ context }) => ({ legs: context.legs }),
  }),
  retry: { leg: { attempts: 5, delayMs: 1_000 } },
});

export default [relay];
