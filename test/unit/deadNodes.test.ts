import { queryObjects } from 'node:v8';
import { expect, test } from 'vitest';
import { createMachine } from 'xstate';
import { defineActor } from '../../src/index.ts';
import { testCluster } from '../../src/testing/index.ts';
import { TestNode } from '../../src/testing/testNode.ts';

const lamp = defineActor('lamp', {
  machine: createMachine({
    initial: 'off',
    states: { off: { on: { PRESS: 'on' } }, on: { on: { PRESS: 'off' } } },
  }),
});

// It collects garbage before it counts.
const living = () => Number(queryObjects(TestNode, { format: 'count' }));

test('nodes that have died leave memory with their cluster', async () => {
  // Files before this one in the same process may have left some.
  const before = living();
  await useAndStop(before);
  expect(living()).toBeLessThanOrEqual(before);
});

async function useAndStop(before: number): Promise<void> {
  const cluster = await testCluster({ actors: [lamp], crash: 'every-commit' });
  const actor = await cluster.start(lamp, { id: 'l-1' });
  for (let press = 0; press < 5; press++) await actor.send({ type: 'PRESS' });
  expect(living()).toBeGreaterThan(before + 5);
  await cluster.stop();
}
