import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { assign, setup, spawnChild } from 'xstate';
import { defineActor } from '../../src/index.ts';
import { testCluster } from '../../src/testing/index.ts';

// What docs/xstate.md warns of.

const PAGE = readFileSync(join(resolve(import.meta.dirname, '../..'), 'docs/xstate.md'), 'utf8');

test('a machine that is spawned without an id has a row of the documented name', async () => {
  const ship = setup({}).createMachine({});
  const order = defineActor('order', {
    machine: setup({ actors: { ship } }).createMachine({
      on: { SHIP: { actions: spawnChild('ship') } },
    }),
  });
  const cluster = await testCluster({ actors: [order] });
  const actor = await cluster.start(order, { id: 'o-1' });
  await actor.send({ type: 'SHIP' });
  await actor.send({ type: 'SHIP' });
  const madeUp = Object.keys(actor.snapshot.children).at(-1) as string;
  expect(PAGE).toContain(`(\`${madeUp}\`)`);
  expect(PAGE).toContain(`(\`${actor.child(madeUp).id}\`:`);
  await cluster.stop();
});

test('what comes is not validated: a guard can refuse it, an assign that trips over it ends the actor', async () => {
  const order = defineActor('order', {
    machine: setup({
      types: {
        input: {} as { total: number },
        context: {} as { total: number; cents: string[] },
        events: {} as { type: 'GUARDED' | 'TAKEN'; cents: string[] },
      },
    }).createMachine({
      context: ({ input }) => ({ ...input, cents: [] }),
      initial: 'new',
      states: {
        new: {
          always: [
            { guard: ({ context }) => typeof context.total !== 'number', target: 'refused' },
            { target: 'taken' },
          ],
        },
        taken: {
          on: {
            GUARDED: {
              guard: ({ event }) => Array.isArray(event.cents),
              actions: assign({ cents: ({ event }) => event.cents.map(String) }),
            },
            TAKEN: { actions: assign({ cents: ({ event }) => event.cents.map(String) }) },
          },
        },
        refused: { type: 'final' },
      },
    }),
  });
  const cluster = await testCluster({ actors: [order] });
  const wrong = { total: 'thirty' } as unknown as { total: number };
  expect((await cluster.start(order, { id: 'w', input: wrong })).state).toBe('refused');
  const actor = await cluster.start(order, { id: 'o', input: { total: 30 } });
  const event = { cents: 5 } as unknown as { cents: string[] };
  await actor.send({ type: 'GUARDED', ...event });
  expect(actor.status).toBe('active');
  await actor.send({ type: 'TAKEN', ...event });
  expect(actor.error).toMatchObject({ name: 'TypeError' });
  await cluster.stop();
});
