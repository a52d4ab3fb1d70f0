import { beforeEach, expect, test } from 'vitest';
import { assign, setup } from 'xstate';
import { defineActor } from '../../src/index.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';

const world = useWorld();
beforeEach(() => printLogOnFailure(world));

const order = defineActor('order', {
  machine: setup({
    types: {
      context: {} as { paid: number },
      events: {} as { type: 'PAY'; amount: number } | { type: 'FAIL' | 'CLOSE' },
      tags: 'settled' as const,
    },
  }).createMachine({
    context: { paid: 0 },
    initial: 'waiting',
    on: {
      FAIL: {
        actions: assign(() => {
          throw new Error('no funds');
        }),
      },
    },
    states: {
      waiting: {
        on: {
          PAY: {
            target: 'paid',
            actions: assign({ paid: ({ event }) => event.amount }),
          },
        },
      },
      paid: { tags: 'settled', on: { CLOSE: 'closed' } },
      closed: { type: 'final' },
    },
  }),
});

test('waitFor resolves with the committed snapshot, as XState knows it', async () => {
  const node = await world.node([order]);
  const { client } = world;
  // An actor that nobody has started yet is waited for as well.
  const early = client.waitFor(order, 'w-1', (snapshot) => snapshot.hasTag('settled'));
  const handle = await client.start(order, { id: 'w-1' });
  expect((await handle.waitFor((snapshot) => snapshot.matches('waiting'))).value).toBe('waiting');
  await handle.send({ type: 'PAY', amount: 7 });
  const paid = await early;
  expect(paid.context.paid).toBe(7);
  expect(paid.can({ type: 'FAIL' })).toBe(true);
  await handle.send({ type: 'CLOSE' });
  const closed = await handle.waitFor(({ status }) => status === 'done');
  expect(closed.matches('closed')).toBe(true);
  await node.stop();
});

test('waitFor ends when the time is up, and when the actor has ended otherwise', async () => {
  const node = await world.node([order]);
  const handle = await world.client.start(order, { id: 'w-2' });
  await expect(
    handle.waitFor((snapshot) => snapshot.matches('paid'), { timeoutMs: 300 }),
  ).rejects.toMatchObject({ code: 'timeout' });
  const waiting = handle.waitFor((snapshot) => snapshot.matches('closed'));
  await handle.send({ type: 'FAIL' });
  await expect(waiting).rejects.toMatchObject({
    code: 'actor_finished',
    message: expect.stringMatching(/order\/w-2 has ended in status error/),
  });
  await expect(
    handle.waitFor(() => {
      throw new Error('of the predicate itself');
    }),
  ).rejects.toThrow('of the predicate itself');
  await node.stop();
});
