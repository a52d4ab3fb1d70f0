import { beforeEach, expect, test } from 'vitest';
import { counter } from '../support/actors.ts';
import { randomFrom } from '../support/cluster.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import { eventually, seed } from '../support/services.ts';

// Both were found by five minutes without Postgres under load: a history with a gap.

const world = useWorld();
beforeEach(() => printLogOnFailure(world));

const add = (n: number) => JSON.stringify({ type: 'ADD', n });

test('after a refused commit nothing is committed that follows from it', async () => {
  await world.node([counter]);
  // Several, of different shards: they wait to be opened again at the same time.
  const ids = ['r0', 'r1', 'r2', 'r3', 'r4'];
  for (const id of ids) await world.client.start(counter, { id, until: 'committed' });
  // Refuses most of the next fifty statements; a sequence does not roll back.
  await world.sql.query('CREATE SEQUENCE refusals');
  await world.sql.query(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF (SELECT nextval('refusals')) < 50 AND random() < 0.7 THEN RAISE EXCEPTION 'refused by a test'; END IF;
      RETURN NULL;
    END $$`);
  await world.sql.query(
    `CREATE TRIGGER refuse AFTER INSERT ON transition FOR EACH STATEMENT EXECUTE FUNCTION refuse()`,
  );
  const events = (id: string) =>
    Array.from({ length: 400 }, (_, n) => ({ type: 'counter', id, eventId: `${id}-${n}` }));
  const seq = async (id: string) => (await world.actor('counter', id))?.seq ?? 0;
  await Promise.all(
    ids.map(async (id) => {
      for (const [n, { eventId }] of events(id).entries()) {
        await world.publish(`events.counter.${id}`, add(n), { 'Nats-Msg-Id': eventId });
        if (n % 20 === 0)
          await eventually(async () => n < 100 || (await seq(id)) > n / 2, {
            what: 'it goes on',
            timeoutMs: 30_000,
          });
      }
    }),
  );
  // Some twenty refusals, with up to two seconds before their shards are opened again.
  for (const id of ids)
    await eventually(async () => (await seq(id)) === 401, {
      what: 'all are applied',
      timeoutMs: 60_000,
    });
  expect(world.log.some(({ msg }) => msg === 'commit: refused by Postgres')).toBe(true);
  expect(
    await world.check({ types: [counter], expected: { events: ids.flatMap(events) } }),
  ).toEqual([]);
  await world.sql.query('DROP TRIGGER refuse ON transition');
}, 120_000);

test('an event that comes again while its first commit lands is applied once, however few ids are in memory', async () => {
  const random = randomFrom(seed());
  await world.node([counter], { eventIdsInMemory: 1 });
  const ids = world.neighbours('counter', 'x', 40);
  await Promise.all(ids.map((id) => world.client.start(counter, { id, until: 'committed' })));
  const refusedBefore = world.log.filter(({ msg }) => msg === 'commit: refused by Postgres').length;
  // The same event id twice, a few messages apart: as a message of another actor, which JetStream does not know.
  const twice = Array.from({ length: 1_500 }, (_, n) => [
    { n, at: n },
    { n, at: n + random() * 120 },
  ]).flat();
  twice.sort((a, b) => a.at - b.at);
  const sent = twice.map(({ n }) => {
    const id = ids[n % 3] as string;
    return world.publish(`events.counter.${id}`, add(n), { 'Perdure-Outbox': `s/x/${n}/0` });
  });
  // Others come and go, so that turns have something to load.
  const others = ids
    .slice(3)
    .map((id, n) => world.publish(`events.counter.${id}`, add(n), { 'Nats-Msg-Id': `o-${n}` }));
  await Promise.all([...sent, ...others]);
  for (const id of ids.slice(0, 3)) await world.settled('counter', id, 501);
  const refused = world.log.filter(({ msg }) => msg === 'commit: refused by Postgres').length;
  expect(refused).toBe(refusedBefore);
  for (const id of ids.slice(0, 3)) expect((await world.actor('counter', id))?.seq).toBe(501);
}, 60_000);
