import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { assign, fromPromise, setup } from 'xstate';
import { defineActor, invocation } from '../../src/index.ts';
import { haul, tick } from '../support/actorsCluster.ts';
import { hold } from '../support/actorsJournal.ts';
import { tally1, teller } from '../support/actorsParked.ts';
import { Journal } from '../support/cluster.ts';
import { openWorld, printLogOnFailure, type World } from '../support/clusterWorld.ts';
import type { JournalLine } from '../support/history.ts';
import { eventually } from '../support/services.ts';

// Actors that are paused and resumed on real servers, in nodes that are killed.

const support = (file: string) => join(import.meta.dirname, '../support', file);
const COMMITTED = { until: 'committed' } as const;

let world: World;
let close: () => Promise<void>;

beforeEach(async () => {
  ({ world, close } = await openWorld());
  printLogOnFailure(world);
});
afterEach(() => close());

const counted = async (sql: string) => (await world.sql.query(sql)).length;
const paused = () => counted('SELECT FROM actors WHERE paused_at IS NOT NULL');
const waiting = () => counted('SELECT FROM parked_messages');
const until = (what: string, isSo: () => Promise<boolean>) =>
  eventually(isSo, { what, timeoutMs: 20_000, everyMs: 2 });

test('nodes are killed while actors are paused and resumed: nothing is lost, doubled or out of order', async () => {
  const spawn = () =>
    world.spawn({}, { PERDURE_TEST_VERSION: '1' }, support('actorsParkedNode.ts'));
  const ids = Array.from({ length: 24 }, (_, n) => `a${n}`);
  const nodes = [await spawn(), await spawn()];
  const killOne = async () => {
    await nodes.shift()?.kill('SIGKILL');
    nodes.push(await spawn());
  };
  for (const id of ids) await world.client.start(tally1, { id, ...COMMITTED });
  let sent = 0;
  const add = async (count: number) => {
    for (let n = sent; n < sent + count; n++)
      for (const id of ids)
        await world.publish(`events.tally.${id}`, JSON.stringify({ type: 'ADD', n }), {
          'Nats-Msg-Id': `tally-${id}-${n}`,
        });
    sent += count;
  };
  const tell = async (act: 'pause' | 'resume') => {
    for (const id of ids) await world.client[act]('tally', id);
  };
  const saw = async (numbers: number) => {
    for (const id of ids)
      expect((await world.actor('tally', id))?.context).toEqual({
        seen: Array.from({ length: numbers }, (_, n) => n),
      });
    return true;
  };
  for (let round = 0; round < 3; round++) {
    await add(2);
    const before = sent;
    await tell('pause');
    const adding = add(3);
    await until('some are paused', async () => (await paused()) > round * 8);
    await killOne();
    await adding;
    await until('all are paused', async () => (await paused()) === ids.length);
    await until('all of it waits', async () => (await waiting()) === 3 * ids.length);
    await saw(before);
    await tell('resume');
    await until('some go on', async () => (await waiting()) < (3 - round) * ids.length);
    await killOne();
    await until('all go on', async () => (await waiting()) === 0 && (await paused()) === 0);
    await eventually(() => saw(sent), { what: `all saw ${sent}`, timeoutMs: 20_000 });
  }
  expect(await world.sql.query('SELECT reason, detail FROM dead_letters')).toEqual([]);
  const events = ids.flatMap((id) =>
    Array.from({ length: sent }, (_, n) => ({ type: 'tally', id, eventId: `tally-${id}-${n}` })),
  );
  expect(await world.check({ types: [tally1, teller], expected: { events } })).toEqual([]);
}, 90_000);

test('what runs is aborted, begins on no other node, and runs again under its key when it is resumed', async () => {
  const spawn = () => world.spawn({}, {}, support('actorsCluster.ts'));
  const journal = () => new Journal<JournalLine>(join(world.dir, 'journal.jsonl')).read();
  const phases = (key: string) =>
    journal().flatMap((line) => (line.kind === 'invoke' && line.key === key ? [line.phase] : []));
  const key = 'haul/h/0.(machine).working/1';
  const first = await spawn();
  await world.client.start(tick, { id: 't', ...COMMITTED });
  hold(world.dir, first.pid);
  await world.client.start(haul, { id: 'h', input: { ms: 50 }, ...COMMITTED });
  await until('it runs', async () => phases(key).length === 1);
  await world.client.pause(haul, 'h', COMMITTED);
  await world.client.pause(tick, 't', COMMITTED);
  await until('it is aborted', async () => phases(key).length === 2);
  const { seq } = await world.client.query(tick, 't');
  await first.kill('SIGKILL');
  await spawn();
  // Another one moves on that node, so what would have begun there has.
  await world.client.start(haul, { id: 'other', input: { ms: 400 }, ...COMMITTED });
  await world.client.outcome(haul, 'other', { timeoutMs: 20_000 });
  expect(phases(key)).toEqual(['start', 'abort']);
  expect(await world.client.query(tick, 't')).toMatchObject({ seq, paused: true });
  await world.client.resume(haul, 'h', COMMITTED);
  await world.client.resume(tick, 't', COMMITTED);
  expect(await world.client.outcome(haul, 'h', { timeoutMs: 20_000 })).toMatchObject({
    status: 'done',
  });
  expect(phases(key)).toEqual(['start', 'abort', 'start', 'end']);
  await world.settled('tick', 't', seq + 4);
  expect(await world.check({ types: [haul, tick] })).toEqual([]);
}, 60_000);

test('receipts say what became of it, and a client can ask', async () => {
  await world.node([tally1, teller]);
  const actor = await world.client.start(tally1, { id: 'a', ...COMMITTED });
  expect(await actor.pause(COMMITTED)).toMatchObject({ seq: 1, status: 'active', paused: true });
  expect(await world.client.query(tally1, 'a')).toMatchObject({ seq: 1, paused: true });
  await expect(actor.pause(COMMITTED)).rejects.toMatchObject({ code: 'already_paused' });
  await actor.send({ type: 'ADD', n: 1 });
  expect(await actor.resume(COMMITTED)).toMatchObject({ seq: 1, paused: false });
  await expect(actor.resume(COMMITTED)).rejects.toMatchObject({ code: 'not_paused' });
  await actor.waitFor(({ context }) => context.seen.length === 1);
  await expect(world.client.pause(tally1, 'b', COMMITTED)).rejects.toMatchObject({
    code: 'unknown_actor',
  });
  await actor.pause(COMMITTED);
  await actor.send({ type: 'ADD', n: 2 });
  await actor.cancel(COMMITTED);
  await until('what waited is refused', async () => (await waiting()) === 0);
  expect(await world.deadLetters(`${world.namespace}.events.tally.a`)).toEqual([]);
  const reasons = await world.sql.query<{ reason: string }>(
    'SELECT reason FROM dead_letters ORDER BY dead_letter_id',
  );
  expect(reasons.map(({ reason }) => reason)).toEqual([
    'already_paused',
    'not_paused',
    'unknown_actor',
    'actor_finished',
  ]);
  expect(await world.client.query(tally1, 'a')).not.toHaveProperty('paused');
});

test('many are resumed at once: each goes on, and nobody else is held up for long', async () => {
  const node = await world.node([tally1, teller]);
  const ids = Array.from({ length: 600 }, (_, n) => `m${n}`);
  await Promise.all(ids.map((id) => world.client.start(tally1, { id })));
  await Promise.all(ids.map((id) => world.client.pause(tally1, id)));
  await until('all are paused', async () => (await paused()) === ids.length);
  await Promise.all(ids.map((id) => world.client.send(tally1, id, { type: 'ADD', n: 1 })));
  await until('all of it waits', async () => (await waiting()) === ids.length);
  await Promise.all(ids.map((id) => world.client.resume(tally1, id)));
  await until('all go on', async () => (await waiting()) === 0 && (await paused()) === 0);
  expect(await counted(`SELECT FROM actors WHERE seq = 2`)).toBe(ids.length);
  expect(node.status().shards).toHaveLength(64);
  expect(await world.sql.query('SELECT reason, detail FROM dead_letters')).toEqual([]);
}, 60_000);

test('bug: what had ended just before ran again when a neighbour was resumed', async () => {
  const runs = new Map<string, number>();
  const worker = defineActor('worker', {
    machine: setup({
      types: { context: {} as { left: number }, input: {} as { rounds: number } },
      actors: {
        work: fromPromise(async ({ self }) => {
          const { idempotencyKey: key } = invocation(self);
          runs.set(key, (runs.get(key) ?? 0) + 1);
        }),
      },
      guards: { isEnough: ({ context }) => context.left === 0 },
    }).createMachine({
      context: ({ input }) => ({ left: input.rounds }),
      initial: 'looking',
      states: {
        looking: { always: [{ guard: 'isEnough', target: 'resting' }, 'working'] },
        working: {
          invoke: {
            src: 'work',
            onDone: {
              target: 'looking',
              actions: assign({ left: ({ context }) => context.left - 1 }),
            },
          },
        },
        resting: {},
      },
    }),
  });
  await world.node([worker]);
  // Slow enough that steps wait for the commit before theirs.
  await world.sql.query(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$`);
  await world.sql.query(
    'CREATE TRIGGER slow AFTER INSERT ON transition FOR EACH STATEMENT EXECUTE FUNCTION slow()',
  );
  const [rester = '', ...workers] = world.neighbours('worker', 'w', 9);
  await world.client.start(worker, { id: rester, input: { rounds: 0 }, ...COMMITTED });
  const rounds = 40;
  for (const id of workers) await world.client.start(worker, { id, input: { rounds } });
  const areDone = async () =>
    (await counted(`SELECT FROM actors WHERE seq = ${rounds + 1}`)) === workers.length;
  let resumed = 0;
  for (; !(await areDone()); resumed++) {
    await world.client.pause(worker, rester, COMMITTED);
    await world.client.resume(worker, rester, COMMITTED);
  }
  expect(resumed).toBeGreaterThan(5);
  expect(runs.size).toBe(rounds * workers.length);
  expect([...runs].filter(([, times]) => times > 1)).toEqual([]);
}, 60_000);
