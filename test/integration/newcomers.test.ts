import { createInbox } from '@nats-io/transport-node';
import { beforeEach, expect, test } from 'vitest';
import { Journal, type NodeProcess } from '../support/cluster.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';

// A start is taken without Postgres being asked whether the actor is there; the commit finds out (ADR 0018).

const world = useWorld();
beforeEach(() => printLogOnFailure(world));

async function publish(subject: string, body: string): Promise<Record<string, unknown>> {
  const reply = createInbox();
  const answer = world.nc.subscribe(reply, { max: 1 });
  await world.publish(subject, body, { 'Perdure-Reply': reply });
  for await (const message of answer) return message.json();
  throw new Error('no answer');
}

const add = (n: number) => JSON.stringify({ type: 'ADD', n });
const mistakes = (node: NodeProcess) =>
  node.stderr().split('mistaken: an actor whose start came is there already').length - 1;

/** As an orderly one: after a crash all are asked for, until their shard has got on. */
async function restart(node: NodeProcess): Promise<NodeProcess> {
  await node.kill('SIGTERM');
  return world.spawn();
}

test('who is there already and is started again keeps its state, and all that comes with it is done once', async () => {
  let node = await world.spawn();
  await publish('jobs.counter.a', 'null');
  expect(await publish('events.counter.a', add(1))).toMatchObject({ ok: true, seq: 2 });
  node = await restart(node);
  // In one go: others of the shard and of the node, before and behind it.
  const others = Array.from({ length: 300 }, (_, i) => `b${i}`);
  const answers = await Promise.all([
    ...others.slice(0, 150).map((id) => publish(`jobs.counter.${id}`, 'null')),
    publish('jobs.counter.a', '{"n":9}'),
    publish('events.counter.a', add(2)),
    ...others.slice(150).map((id) => publish(`jobs.counter.${id}`, 'null')),
    publish('jobs.counter.a', 'null'),
  ]);
  const [second, event, third] = [answers[150], answers[151], answers.at(-1)];
  expect(second).toMatchObject({ ok: false, error: { code: 'actor_exists' } });
  expect(third).toMatchObject({ ok: false, error: { code: 'actor_exists' } });
  expect(event).toMatchObject({ ok: true, seq: 3 });
  const started = answers.filter((answer) => answer.ok && answer !== event);
  expect(started.map(({ seq, duplicate }) => [seq, duplicate])).toEqual(
    others.map(() => [1, undefined]),
  );
  expect((await world.actor('counter', 'a'))?.context).toMatchObject({ seen: [1, 2] });
  expect((await world.transitions('counter', 'a')).map(({ seq }) => seq)).toEqual([1, 2, 3]);
  expect(mistakes(node)).toBe(1);
  // For a while it is asked first.
  node = await restart(node);
  expect(await publish('jobs.counter.b0', 'null')).toMatchObject({ ok: false });
  expect(await publish('jobs.counter.b1', 'null')).toMatchObject({ ok: false });
  expect(mistakes(node)).toBe(1);
});

test('nothing that runs is done again because somebody else was started twice', async () => {
  let node = await world.spawn();
  const old = Array.from({ length: 64 }, (_, i) => `old${i}`);
  await Promise.all(old.map((id) => publish(`jobs.counter.${id}`, 'null')));
  node = await restart(node);
  // In each shard some work ends while the next start is on its way.
  const work = Array.from({ length: 1_024 }, (_, i) => ({ id: `work${i}`, ms: i % 8 }));
  const putWork = ({ id, ms }: (typeof work)[number]) =>
    publish(`jobs.worker.${id}`, JSON.stringify({ ms }));
  await Promise.all([
    ...work.slice(0, 512).map(putWork),
    ...old.map((id) => publish(`jobs.counter.${id}`, 'null')),
    ...work.slice(512).map(putWork),
  ]);
  for (const { id } of work) await world.settled('worker', id, 2);
  const began = new Journal<{ key: string; phase: string }>(`${world.dir}/journal.jsonl`)
    .read()
    .filter(({ phase }) => phase === 'start')
    .map(({ key }) => key);
  expect(began.sort()).toEqual(work.map(({ id }) => `worker/${id}/work/1`).sort());
});

test('who has ended a moment ago is no newcomer', async () => {
  const node = await world.spawn();
  const before = mistakes(node);
  await publish('jobs.counter.e', 'null');
  await publish('events.counter.e', '{"type":"STOP"}');
  expect(await publish('jobs.counter.e', 'null')).toMatchObject({
    ok: false,
    error: { code: 'actor_exists' },
  });
  expect(mistakes(node)).toBe(before);
});
