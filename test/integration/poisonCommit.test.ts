import { beforeAll, beforeEach, expect, test } from 'vitest';
import { assign, setup } from 'xstate';
import { defineActor } from '../../src/index.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import { eventually } from '../support/services.ts';

const counter = defineActor('counter', {
  machine: setup({
    types: { context: {} as { sum: number }, events: {} as { type: 'ADD'; n: number } },
  }).createMachine({
    context: { sum: 0 },
    on: { ADD: { actions: assign({ sum: ({ context, event }) => context.sum + event.n }) } },
  }),
});

const world = useWorld();
beforeAll(() => world.node([counter]));
beforeEach(() => printLogOnFailure(world));

test('bug: a message whose commit Postgres refuses held up its shard for ever, and nothing showed it', async () => {
  const [neighbour = '', poison = ''] = world.neighbours('counter', 'a', 2);
  await world.client.start(counter, { id: neighbour, until: 'committed' });
  // A history without its actor, as somebody leaves it who deletes the one and not the other.
  await world.sql.query(
    `INSERT INTO transition (seq, epoch, at, actions, type, id, node_id, event_type, event_id, origin, to_state, edges, event, snapshot)
     SELECT seq, epoch, at, actions, type, $2, node_id, event_type, NULL, origin, to_state, edges, event, snapshot
       FROM transition WHERE type = 'counter' AND id = $1`,
    [neighbour, poison],
  );
  await world.client.start(counter, { id: poison });
  for (const n of [1, 2, 3]) await world.client.send(counter, neighbour, { type: 'ADD', n });
  const refusals = () => world.log.filter(({ msg }) => msg === 'commit: refused by Postgres');
  const [refusal] = await eventually(() => refusals().length > 0 && refusals(), {
    what: 'it is refused',
  });
  const { shard } = refusal as unknown as { shard: number };
  await eventually(
    async () =>
      (
        await world.sql.query('SELECT crashes FROM shard WHERE shard = $1 AND crashes >= 2', [
          shard,
        ])
      ).length,
    { what: 'the shard is under suspicion' },
  );
  const letter = await eventually(
    async () => (await world.deadLetters(`jobs.counter.${poison}`))[0],
    { what: 'a dead letter', timeoutMs: 30_000 },
  );
  expect(letter).toMatchObject({ reason: 'event_quarantined' });
  // What waited behind it is done, once and in its order.
  await eventually(
    async () => ((await world.actor('counter', neighbour)) as { seq: number }).seq === 4,
    {
      what: 'the neighbour goes on',
    },
  );
  expect(await world.actor('counter', neighbour)).toMatchObject({ context: { sum: 6 } });
  expect(refusals().length).toBeLessThanOrEqual(8);
}, 60_000);
