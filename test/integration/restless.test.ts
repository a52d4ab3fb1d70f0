import { beforeEach, expect, test } from 'vitest';
import { fromPromise, setup } from 'xstate';
import { defineActor } from '../../src/index.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';

const world = useWorld();
beforeEach(() => printLogOnFailure(world));

const restless = defineActor('restless', {
  machine: setup({
    types: { events: {} as { type: 'REST' } },
    actors: { spin: fromPromise(async () => {}) },
  }).createMachine({
    initial: 'one',
    on: { REST: '.rests' },
    states: {
      one: { invoke: { src: 'spin', onDone: 'two' } },
      two: { invoke: { src: 'spin', onDone: 'one' } },
      rests: { type: 'final' },
    },
  }),
});

test('actors that never rest keep no event from outside away', async () => {
  // So few in a commit that the restless ones alone fill every one.
  const node = await world.node([restless], { commitMax: 1 });
  const ids = Array.from({ length: 20 }, (_, n) => `r-${n}`);
  await Promise.all(ids.map((id) => world.client.start(restless, { id, until: 'committed' })));
  await Promise.all(
    ids.map((id) => world.client.send(restless, id, { type: 'REST' }, { until: 'committed' })),
  );
  for (const id of ids) expect(await world.actor('restless', id)).toMatchObject({ status: 'done' });
  await node.stop();
});
