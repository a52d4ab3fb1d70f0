import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { assign, fromPromise, setup } from 'xstate';
import { defineActor, invocation } from '../../src/index.ts';
import { write } from './actorsJournal.ts';

/** What nodes of fault tests run: the load of crash runs, actors that never rest, and actors that are trouble. */

export { haul, tick } from './actorsCluster.ts';
export { purse, transfer } from './actorsCrash.ts';

/** Takes memory until there is none left. */
const devour = fromPromise(async () => {
  const eaten: number[][] = [];
  for (;;) {
    eaten.push(new Array(200_000).fill(eaten.length));
    await pause(1);
  }
});

/** What it works on ends the process for want of memory. */
export const glutton = defineActor('glutton', {
  machine: setup({ actors: { devour } }).createMachine({
    initial: 'eating',
    states: { eating: { invoke: { src: 'devour', onDone: 'full' } }, full: { type: 'final' } },
  }),
});

export interface BlockInput {
  ms: number;
}

/** Blocks the event loop of the node that runs it first, and of no other. */
const block = fromPromise<string, BlockInput>(async ({ input, self }) => {
  const { idempotencyKey: key, attempt } = invocation(self);
  const tell = (phase: 'start' | 'end') =>
    write({ kind: 'invoke', key, phase, attempt, input, at: Date.now() });
  tell('start');
  const marker = join(process.env.PERDURE_TEST_DIR ?? '.', 'blocked');
  if (existsSync(marker)) {
    tell('end');
    return 'second';
  }
  writeFileSync(marker, `${process.pid}`);
  const until = performance.now() + input.ms;
  while (performance.now() < until);
  tell('end');
  return 'first';
});

/** Says which of its two runs counts. */
export const blocker = defineActor('blocker', {
  machine: setup({
    types: {
      input: {} as BlockInput,
      context: {} as BlockInput & { run?: string },
      output: {} as string | undefined,
    },
    actors: { block },
  }).createMachine({
    context: ({ input }) => input,
    initial: 'blocking',
    states: {
      blocking: {
        invoke: {
          src: 'block',
          input: ({ context }) => context,
          onDone: { target: 'done', actions: assign({ run: ({ event }) => event.output }) },
        },
      },
      done: { type: 'final' },
    },
    output: ({ context }) => context.run,
  }),
});
