import { expect, test } from 'vitest';
import { assign, fromPromise, type PromiseActorLogic, setup } from 'xstate';
import { defineActor, fromAsk, fromOutcome, fromSteps } from '../../src/index.ts';
import { testCluster } from '../../src/testing/index.ts';

// What a machine is told when Perdure itself refuses something: it is kept in the context, and with it in the row.

type Logic = PromiseActorLogic<unknown, unknown>;

const nobody = { type: 'told', id: 'nobody' };

/** An actor that keeps the error its one invoke fails with. */
const told = (work: Logic, input: unknown) =>
  defineActor('told', {
    machine: setup({
      types: { context: {} as { error: unknown } },
      actors: { work },
    }).createMachine({
      context: { error: null },
      invoke: {
        src: 'work',
        input,
        onError: { actions: assign({ error: ({ event }) => event.error }) },
      },
    }),
    timeout: { work: 1_000 },
  });

test.each<[string, Logic, unknown]>([
  ['unknown_actor', fromAsk() as Logic, { to: nobody, event: { type: 'ASK' } }],
  ['bad_options', fromAsk() as Logic, { to: 'nobody' }],
  ['actor_failed', fromOutcome() as Logic, { type: 'told', id: 'cancelled' }],
  [
    'bad_definition',
    fromSteps<unknown, unknown>(async ({ step }) => {
      await step('a', () => 1);
      await step('a', () => 2);
    }),
    null,
  ],
  ['invoke_timeout', fromPromise<unknown, unknown>(() => new Promise(() => {})), null],
  ['not_serialisable', fromPromise<unknown, unknown>(async () => () => 1), null],
])('an error of Perdure’s own comes without its insides: %s', async (code, logic, input) => {
  const type = told(logic, input);
  const cluster = await testCluster({ actors: [type] });
  await (await cluster.start(type, { id: 'cancelled' })).cancel();
  const actor = await cluster.start(type, { id: 'f' });
  await cluster.advance(2_000);
  const error = actor.context.error as Error;
  expect(error).toMatchObject({ name: 'PerdureError', code });
  expect(error.stack).toBe(`PerdureError: ${error.message}`);
  await cluster.stop();
});
