import { jetstreamManager } from '@nats-io/jetstream';
import { createInbox } from '@nats-io/transport-node';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { assign, setup } from 'xstate';
import { defineActor } from '../../src/index.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import { eventually } from '../support/services.ts';

// Everything here is done as a client in any other language would do it: with nothing but NATS.

const order = defineActor('order', {
  machine: setup({
    types: {
      input: {} as { total: number },
      context: {} as { total: number; paid: number },
      events: {} as { type: 'PAY'; amount: number },
      output: {} as { paid: number },
    },
  }).createMachine({
    context: ({ input }) => ({ total: input.total, paid: 0 }),
    initial: 'open',
    states: {
      open: {
        tags: 'unpaid',
        always: { guard: ({ context }) => context.paid >= context.total, target: 'paid' },
        on: {
          PAY: { actions: assign({ paid: ({ context, event }) => context.paid + event.amount }) },
        },
      },
      paid: { type: 'final' },
    },
    output: ({ context }) => ({ paid: context.paid }),
  }),
  version: '2',
});

const world = useWorld();
beforeAll(() => world.node([order]));
beforeEach(() => printLogOnFailure(world));

/** Publishes with a reply subject and returns the answer. */
async function publishAndHear(subject: string, body: string, headers: Record<string, string> = {}) {
  const inbox = createInbox();
  const subscription = world.nc.subscribe(inbox, { max: 1 });
  await world.publish(subject, body, { ...headers, 'Perdure-Reply': inbox });
  for await (const message of subscription) return message.json<Record<string, unknown>>();
  throw new Error('no reply');
}

async function query(type: string, id: string, body = '') {
  const answer = await world.nc.request(`${world.namespace}.queries.${type}.${id}`, body, {
    timeout: 10_000,
  });
  return answer.json<{ ok: boolean; actor: Record<string, unknown>; error: { code: string } }>();
}

test('a plain publish starts an actor, and its life is in the views and in OUTCOMES', async () => {
  const { nc, namespace } = world;
  nc.publish(`${namespace}.jobs.order.plain`, '{"total":30}');
  nc.publish(`${namespace}.events.order.plain`, '{"type":"PAY","amount":10}');
  nc.publish(`${namespace}.events.order.plain`, '{"type":"PAY","amount":20}');
  await world.settled('order', 'plain');

  const [row] = await world.sql.query(`SELECT * FROM actors WHERE type = 'order' AND id = 'plain'`);
  expect(row).toMatchObject({
    type: 'order',
    id: 'plain',
    status: 'done',
    state: 'paid',
    version: '2',
    seq: '3',
    tags: [],
    output: { paid: 30 },
    error: null,
  });
  const transitions = await world.transitions('order', 'plain');
  expect(
    transitions.map(({ seq, event_type, from_state, to_state }) => [
      seq,
      event_type,
      from_state,
      to_state,
    ]),
  ).toEqual([
    [1, 'xstate.init', null, 'open'],
    [2, 'PAY', 'open', 'open'],
    [3, 'PAY', 'open', 'paid'],
  ]);
  // Without a Nats-Msg-Id an event's place in the log is its id.
  expect(new Set(transitions.map(({ event_id }) => event_id)).size).toBe(3);

  const jsm = await jetstreamManager(nc);
  const outcome = await eventually(
    () =>
      jsm.streams.getMessage(`OUTCOMES_${namespace}`, {
        last_by_subj: `${namespace}.outcomes.order.plain`,
      }),
    { what: 'the outcome' },
  );
  expect(outcome.json()).toEqual({
    type: 'order',
    id: 'plain',
    seq: 3,
    status: 'done',
    output: { paid: 30 },
    error: null,
  });
  // Published and acknowledged, so nothing is left to do.
  await eventually(
    async () =>
      (await world.sql.query(`SELECT FROM outbox WHERE type = 'order' AND id = 'plain'`)).length ===
      0,
    { what: 'the outbox is empty' },
  );
});

test('Perdure-Reply is answered once the transition is in Postgres', async () => {
  const started = await publishAndHear('jobs.order.replied', '{"total":5}', {
    'Nats-Msg-Id': 'start-replied',
  });
  expect(started).toEqual({
    ok: true,
    type: 'order',
    id: 'replied',
    seq: 1,
    status: 'active',
    state: 'open',
  });
  for (let n = 2; n <= 4; n++) {
    const reply = await publishAndHear('events.order.replied', '{"type":"PAY","amount":1}');
    // Asked at once, on another connection: what was answered can be seen.
    const [row] = await world.sql.query<{ seq: string }>(
      `SELECT seq FROM actors WHERE type = 'order' AND id = 'replied'`,
    );
    expect(reply).toMatchObject({ ok: true, seq: n });
    expect(Number(row?.seq)).toBe(n);
  }
  expect(await publishAndHear('events.order.replied', '{"type":"PAY","amount":9}')).toMatchObject({
    ok: true,
    seq: 5,
    status: 'done',
    state: 'paid',
  });
});

test('Perdure-Reply says why a message was refused, and the dead letter says the same', async () => {
  const reply = await publishAndHear('events.order.nobody', '{"type":"PAY","amount":1}');
  expect(reply).toMatchObject({ ok: false, error: { code: 'unknown_actor' } });
  const [letter] = await world.deadLetters('events.order.nobody');
  expect(letter).toMatchObject({
    reason: 'unknown_actor',
    detail: (reply.error as { message: string }).message,
  });
});

test('a query answers with the committed row', async () => {
  await publishAndHear('jobs.order.asked', '{"total":7}', { 'Nats-Msg-Id': 'start-asked' });
  await publishAndHear('events.order.asked', '{"type":"PAY","amount":2}', {
    'Nats-Msg-Id': 'pay-1',
  });
  const { ok, actor } = await query('order', 'asked');
  expect(ok).toBe(true);
  expect(actor).toMatchObject({
    type: 'order',
    id: 'asked',
    status: 'active',
    state: 'open',
    version: '2',
    seq: 2,
    tags: ['unpaid'],
    output: null,
    error: null,
  });
  expect(JSON.parse(actor.snapshot as string).snapshot.context).toEqual({ total: 7, paid: 2 });
  expect((await query('order', 'asked', '{"eventId":"pay-1"}')).actor.applied).toBe(true);
  expect((await query('order', 'asked', '{"eventId":"pay-2"}')).actor.applied).toBe(false);
});

test('a query for nobody says not_found', async () => {
  expect(await query('order', 'missing')).toMatchObject({
    ok: false,
    error: { code: 'not_found' },
  });
  expect(await query('nothing', 'missing')).toMatchObject({
    ok: false,
    error: { code: 'not_found' },
  });
});

test('the live feed tells each committed transition, in order', async () => {
  const heard: Record<string, unknown>[] = [];
  const subscription = world.nc.subscribe(`${world.namespace}.transitions.order.fed`, {
    callback: (_error, message) => void heard.push(message.json()),
  });
  await world.nc.flush();
  await publishAndHear('jobs.order.fed', '{"total":2}');
  await publishAndHear('events.order.fed', '{"type":"PAY","amount":2}');
  await eventually(() => heard.length === 2, { what: 'two entries of the feed' });
  subscription.unsubscribe();
  expect(heard).toMatchObject([
    {
      type: 'order',
      id: 'fed',
      seq: 1,
      event: 'xstate.init',
      from: null,
      to: 'open',
      status: 'active',
    },
    { type: 'order', id: 'fed', seq: 2, event: 'PAY', from: 'open', to: 'paid', status: 'done' },
  ]);
});

test('what was published while no node ran is done when one comes', async () => {
  const other = { namespace: `${world.namespace}_l` };
  const { prepare } = await import('../support/cluster.ts');
  await prepare({ ...world, ...other });
  // The streams of a namespace are made by its first node.
  const first = await world.node([order], {}, other);
  await first.stop();
  const published = await world.js.publish(`${other.namespace}.jobs.order.early`, '{"total":0}');
  expect(published.seq).toBe(1);
  await world.node([order], {}, other);
  await eventually(
    async () =>
      (
        await world.sql.query(
          `SELECT status FROM perdure_${other.namespace}.actors WHERE id = 'early'`,
        )
      )[0]?.status === 'done',
    { what: 'the early job is done' },
  );
});

test('the history is sound', async () => {
  expect(await world.check({ types: [order] })).toEqual([]);
});
