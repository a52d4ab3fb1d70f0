import { beforeEach, expect, test } from 'vitest';
import { relay } from '../support/actorsRelay.ts';
import { Journal } from '../support/cluster.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import type { JournalLine } from '../support/history.ts';
import { eventually } from '../support/services.ts';

// The row of an actor for which something runs may lag behind its history (docs/adr/0019): nobody notices.

const world = useWorld();
beforeEach(() => printLogOnFailure(world));

const file = `${import.meta.dirname}/../support/actorsRelay.ts`;
const spawn = (hold?: string) =>
  world.spawn({}, hold === undefined ? {} : { PERDURE_TEST_HOLD: hold }, file);
const start = (id: string, input?: { ms?: number; failures?: number }) =>
  world.client.start(relay, { id, ...(input && { input }), until: 'committed' });

/** As it stands in its table. */
async function row(id: string) {
  const [found] = await world.sql.query(
    `SELECT seq::int, state, busy, crashes, tags FROM actor WHERE type = 'relay' AND id = $1`,
    [id],
  );
  return found;
}

async function comesTo(id: string, state: string): Promise<void> {
  await eventually(async () => (await world.actor('relay', id))?.state === state, {
    what: `${id} is in ${state}`,
  });
}

/** How often each leg began, by key. */
function began(id: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const line of new Journal<JournalLine>(`${world.dir}/journal.jsonl`).read())
    if (line.kind === 'invoke' && line.phase === 'start' && line.key.startsWith(`relay/${id}/`))
      counts[line.key] = (counts[line.key] ?? 0) + 1;
  return counts;
}

test('an actor that goes on while something runs for it is found where it is, and goes on there after a crash', async () => {
  const first = await spawn('three');
  await start('r-1');
  await comesTo('r-1', 'three');
  expect(await row('r-1')).toMatchObject({ seq: 1, state: '"one"', busy: true });
  expect(await world.client.query(relay, 'r-1')).toMatchObject({ seq: 3, state: 'three' });
  expect(await world.actor('relay', 'r-1')).toMatchObject({ seq: 3, context: { legs: 2 } });

  await first.kill('SIGKILL');
  const next = await spawn();
  await world.settled('relay', 'r-1');
  expect(began('r-1')).toEqual({
    'relay/r-1/0.relay.one/1': 1,
    'relay/r-1/0.relay.two/2': 1,
    'relay/r-1/0.relay.three/3': 2,
    'relay/r-1/0.relay.four/4': 1,
  });
  expect(await row('r-1')).toMatchObject({ seq: 5, state: '"over"', busy: false, crashes: 0 });
  expect(await world.actor('relay', 'r-1')).toMatchObject({ status: 'done', output: { legs: 4 } });
  await next.kill();
});

test('its row says at once that it has other tags, that an attempt has failed, and that it has got on after a crash', async () => {
  const first = await spawn('four');
  await start('r-2');
  await comesTo('r-2', 'four');
  expect(await row('r-2')).toMatchObject({ seq: 4, tags: '["last"]' });
  await start('r-3', { failures: 1 });
  await comesTo('r-3', 'four');
  const [{ seqs } = {}] = await world.sql.query<{ seqs: number[] }>(
    `SELECT array_agg(started_seq::int) AS seqs FROM failed_attempts WHERE id = 'r-3'`,
  );
  expect(seqs).toEqual([2]);
  await first.kill('SIGKILL');

  const second = await spawn('two');
  await start('r-4');
  await comesTo('r-4', 'two');
  expect(await row('r-4')).toMatchObject({ seq: 1 });
  await second.kill('SIGKILL');
  const third = await spawn('three');
  await comesTo('r-4', 'three');
  expect(await row('r-4')).toMatchObject({ seq: 3, state: '"three"', crashes: 0 });
  await third.kill('SIGKILL');

  const last = await spawn();
  for (const id of ['r-2', 'r-3', 'r-4']) await world.settled('relay', id);
  await last.kill();
});

test('three hundred of them outlive three nodes, each leg in its order', async () => {
  const ids = Array.from({ length: 300 }, (_, n) => `m-${n}`);
  let node = await spawn();
  await Promise.all(ids.map((id) => start(id, { ms: 150 })));
  const reached = (seq: number, count: number) =>
    eventually(
      async () => {
        const [got] = await world.sql.query<{ n: number }>(
          `SELECT count(*)::int AS n FROM actors WHERE id LIKE 'm-%' AND seq >= $1`,
          [seq],
        );
        return (got?.n ?? 0) >= count;
      },
      { what: `${count} are at transition ${seq}`, timeoutMs: 20_000 },
    );
  for (const seq of [2, 3, 4]) {
    await reached(seq, 60);
    await node.kill('SIGKILL');
    node = await spawn();
  }
  await reached(5, ids.length);
  const quiescent = async () => (await world.check({ types: [relay], quiescent: true })).length;
  await eventually(async () => (await quiescent()) === 0, { what: 'rest' });
  expect(await world.check({ types: [relay], quiescent: true })).toEqual([]);
  await node.kill();
});
