import { beforeEach, expect, test } from 'vitest';
import { capture, counter } from '../support/actors.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import { eventually } from '../support/services.ts';

const EVENTS = 200;
const world = useWorld();
beforeEach(() => printLogOnFailure(world));

const expected = Array.from({ length: EVENTS }, (_, n) => n);

/** Fire and forget, as fast as the connection takes it. */
function publishFrom(id: string, from: number, to: number): void {
  const { nc, namespace } = world;
  for (let n = from; n < to; n++)
    nc.publish(`${namespace}.events.counter.${id}`, JSON.stringify({ type: 'ADD', n }));
}

async function seen(id: string): Promise<number[]> {
  return (
    ((await world.actor('counter', id))?.context as { seen: number[] } | undefined)?.seen ?? []
  );
}

test('200 events of one publisher arrive in the order in which they were published', async () => {
  const node = await world.node([counter]);
  world.nc.publish(`${world.namespace}.jobs.counter.calm`, 'null');
  publishFrom('calm', 0, EVENTS);
  await world.settled('counter', 'calm', EVENTS + 1);
  expect(await seen('calm')).toEqual(expected);
  await node.stop();
});

test.each(['SIGKILL', 'SIGTERM'] as const)(
  'and so they do when the node gets %s in the middle, twice',
  async (signal) => {
    const id = `storm-${signal}`;
    let node = await world.spawn();
    world.nc.publish(`${world.namespace}.jobs.counter.${id}`, 'null');
    for (let part = 0; part < 4; part++) {
      const from = (part * EVENTS) / 4;
      publishFrom(id, from, from + EVENTS / 4);
      if (part === 0 || part === 3) continue;
      // Somewhere in this part, with more of it still to come.
      await eventually(async () => (await seen(id)).length > from - 30, {
        what: `event ${from - 30}`,
      });
      await node.kill(signal);
      node = await world.spawn();
    }
    await world.settled('counter', id, EVENTS + 1);
    expect(await seen(id)).toEqual(expected);
    await node.kill();
  },
);

test('a mixed crowd of actors in one shard: each has its own events in order', async () => {
  const node = await world.node([counter], { shardIntakeMax: 3, commitMax: 7 });
  const ids = ['crowd', ...world.neighbours('counter', 'crowd', 9)];
  for (const id of ids) world.nc.publish(`${world.namespace}.jobs.counter.${id}`, 'null');
  for (let n = 0; n < 50; n++) for (const id of ids) publishFrom(id, n, n + 1);
  for (const id of ids) {
    await world.settled('counter', id, 51);
    expect(await seen(id)).toEqual(expected.slice(0, 50));
  }
  await node.stop();
});

test('the history is sound', async () => {
  expect(await world.check({ types: [counter], capture, quiescent: true })).toEqual([]);
});
