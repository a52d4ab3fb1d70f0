import { expect, test } from 'vitest';
import { fromPromise, setup } from 'xstate';
import { defineActor, invocation } from '../../src/index.ts';
import { testCluster } from '../../src/testing/index.ts';

test('a state that is entered anew while its invoke waits for another attempt begins with the first one', async () => {
  const stubborn = defineActor('stubborn', {
    machine: setup({
      actors: {
        work: fromPromise<void>(({ self }) =>
          invocation(self).idempotencyKey.endsWith('/1')
            ? Promise.reject(new Error('not yet'))
            : new Promise(() => {}),
        ),
      },
    }).createMachine({
      initial: 'working',
      states: {
        working: {
          invoke: { id: 'work', src: 'work' },
          on: { AGAIN: { target: 'working', reenter: true } },
        },
      },
    }),
    retry: { work: { attempts: 10, delayMs: 60_000, maxDelayMs: 60_000 } },
  });
  const cluster = await testCluster({ actors: [stubborn] });
  const actor = await cluster.start(stubborn, { id: 's' });
  await cluster.advance(60_000);
  await actor.send({ type: 'AGAIN' });
  await cluster.settle();
  await cluster.crash();
  await cluster.settle();
  const runs = cluster.effects.flatMap((effect) =>
    effect.kind === 'invoke' ? [`${effect.key} attempt ${effect.attempt}`] : [],
  );
  expect(runs).toEqual([
    'stubborn/s/work/1 attempt 1',
    'stubborn/s/work/1 attempt 2',
    'stubborn/s/work/2 attempt 1',
    'stubborn/s/work/2 attempt 1',
  ]);
  await cluster.stop();
});
