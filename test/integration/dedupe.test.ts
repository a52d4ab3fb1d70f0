import { jetstreamManager } from '@nats-io/jetstream';
import { createInbox, nanos } from '@nats-io/transport-node';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { capture, counter } from '../support/actors.ts';
import { type NodeProcess, pause } from '../support/cluster.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';

// JetStream forgets message ids after its window; an actor must not, as long as its row is kept (design §5).

const EVENT_IDS_IN_MEMORY = 4;
const world = useWorld();
let node: NodeProcess;

beforeAll(async () => {
  node = await world.spawn({ eventIdsInMemory: EVENT_IDS_IN_MEMORY });
  // The shortest window there is; an operator may tune it by hand.
  const jsm = await jetstreamManager(world.nc);
  await jsm.streams.update(`JOBS_${world.namespace}`, { duplicate_window: nanos(100) });
});
beforeEach(() => printLogOnFailure(world));

const add = (n: number) => JSON.stringify({ type: 'ADD', n });

/** Publishes with an id until JetStream has forgotten the one before, so that it really stands in the log again. */
async function publishAgain(subject: string, body: string, id: string) {
  for (;;) {
    const reply = createInbox();
    const answer = world.nc.subscribe(reply, { max: 1 });
    const { duplicate } = await world.publish(subject, body, {
      'Nats-Msg-Id': id,
      'Perdure-Reply': reply,
    });
    if (duplicate) {
      answer.unsubscribe();
      await pause(20);
      continue;
    }
    for await (const message of answer) return message.json<Record<string, unknown>>();
  }
}

async function seen(id: string): Promise<number[]> {
  return (
    ((await world.actor('counter', id))?.context as { seen: number[] } | undefined)?.seen ?? []
  );
}

test('an event published twice within the window is applied once', async () => {
  await publishAgain('jobs.counter.a', 'null', 'start-a');
  // On one connection, one right behind the other: the window is short.
  const publish = () => world.publish('events.counter.a', add(1), { 'Nats-Msg-Id': 'a-1' });
  const [first, second] = await Promise.all([publish(), publish()]);
  expect([first.duplicate, second.duplicate]).toEqual([false, true]);
  await publishAgain('events.counter.a', add(2), 'a-2');
  expect(await seen('a')).toEqual([1, 2]);
});

test('an event that JetStream has forgotten is applied once all the same, and the reply says so', async () => {
  await publishAgain('jobs.counter.b', 'null', 'start-b');
  expect(await publishAgain('events.counter.b', add(1), 'b-1')).toMatchObject({ ok: true, seq: 2 });
  expect(await publishAgain('events.counter.b', add(1), 'b-1')).toEqual({
    ok: true,
    type: 'counter',
    id: 'b',
    duplicate: true,
  });
  expect(await publishAgain('events.counter.b', add(2), 'b-2')).toMatchObject({ ok: true, seq: 3 });
  expect(await seen('b')).toEqual([1, 2]);
});

test('a start that JetStream has forgotten is no second start', async () => {
  await publishAgain('jobs.counter.c', 'null', 'start-c');
  await publishAgain('events.counter.c', add(1), 'c-1');
  expect(await publishAgain('jobs.counter.c', 'null', 'start-c')).toMatchObject({
    ok: true,
    duplicate: true,
  });
  expect(await world.deadLetters('jobs.counter.c')).toEqual([]);
  expect(await seen('c')).toEqual([1]);
});

test('an event older than the ids in memory is still known', async () => {
  await publishAgain('jobs.counter.d', 'null', 'start-d');
  const count = 3 * EVENT_IDS_IN_MEMORY;
  for (let n = 0; n < count; n++)
    await world.publish('events.counter.d', add(n), { 'Nats-Msg-Id': `d-${n}` });
  for (let n = 0; n < count; n++)
    expect(await publishAgain('events.counter.d', add(n), `d-${n}`)).toMatchObject({
      duplicate: true,
    });
  expect(await seen('d')).toEqual(Array.from({ length: count }, (_, n) => n));
});

test('two copies that reach the node in one go are one event', async () => {
  await publishAgain('jobs.counter.e', 'null', 'start-e');
  // JetStream looks at Nats-Msg-Id alone; this is the id of a message between actors, published again.
  for (let n = 0; n < 20; n++)
    for (let copy = 0; copy < 3; copy++)
      void world.publish('events.counter.e', add(n), { 'Perdure-Outbox': `sender/x/${n}/0` });
  await publishAgain('events.counter.e', add(99), 'e-99');
  expect(await seen('e')).toEqual([...Array.from({ length: 20 }, (_, n) => n), 99]);
});

test('after kill -9 and a restart nothing is applied a second time', async () => {
  await publishAgain('jobs.counter.f', 'null', 'start-f');
  const count = 3 * EVENT_IDS_IN_MEMORY;
  for (let n = 0; n < count; n++) await publishAgain('events.counter.f', add(n), `f-${n}`);
  await node.kill('SIGKILL');
  // In the log while no node runs.
  for (let n = 0; n < count; n++)
    await world.publish('events.counter.f', add(n), { 'Nats-Msg-Id': `f-${n}` });
  node = await world.spawn({ eventIdsInMemory: EVENT_IDS_IN_MEMORY });
  for (let n = 0; n < count; n++)
    expect(await publishAgain('events.counter.f', add(n), `f-${n}`)).toMatchObject({
      duplicate: true,
    });
  expect(await publishAgain('jobs.counter.f', 'null', 'start-f')).toMatchObject({
    duplicate: true,
  });
  await publishAgain('events.counter.f', add(99), 'f-99');
  expect(await seen('f')).toEqual([...Array.from({ length: count }, (_, n) => n), 99]);
});

test('an actor that has ended knows its events, too', async () => {
  await publishAgain('jobs.counter.g', 'null', 'start-g');
  await publishAgain('events.counter.g', add(1), 'g-1');
  await publishAgain('events.counter.g', '{"type":"STOP"}', 'g-stop');
  for (const [body, id] of [
    [add(1), 'g-1'],
    ['{"type":"STOP"}', 'g-stop'],
  ] as const)
    expect(await publishAgain('events.counter.g', body, id)).toMatchObject({ duplicate: true });
  expect(await publishAgain('jobs.counter.g', 'null', 'start-g')).toMatchObject({
    duplicate: true,
  });
  expect(await world.deadLetters('events.counter.g')).toEqual([]);
});

test('the client is told of a duplicate, whether JetStream knows it or only the actor', async () => {
  const start = { id: 'h', messageId: 'start-h', until: 'committed' } as const;
  await world.client.start(counter, start);
  expect(await world.client.start(counter, start)).toMatchObject({ duplicate: true });
  await publishAgain('events.counter.h', add(1), 'h-1');
  await publishAgain('events.counter.h', add(1), 'h-1');
  expect(
    await world.client.send(
      counter,
      'h',
      { type: 'ADD', n: 1 },
      { messageId: 'h-1', until: 'committed' },
    ),
  ).toMatchObject({ duplicate: true });
  expect(await seen('h')).toEqual([1]);
});

test('the history is sound', async () => {
  // What the copies claim to be was never sent by an actor.
  const violations = await world.check({ types: [counter], capture });
  expect(violations.filter((text) => !/counter\/e#.*never sent/.test(text))).toEqual([]);
});
