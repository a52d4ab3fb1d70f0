import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type NatsBus, openBus } from '../../src/bus/nats.ts';
import { subjects } from '../../src/bus/subjects.ts';
import { systemClock } from '../../src/clock.ts';
import { type Namespace, namespace } from '../../src/config.ts';
import { createLogger } from '../../src/log.ts';
import { freshNamespace, natsUrl } from '../support/services.ts';
import { record } from './bus.contract.ts';

const log = createLogger({ level: 'silent' });
const COUNT = 1_200;
let nc: NatsConnection;
const opened: { ns: Namespace; bus: NatsBus }[] = [];

beforeAll(async () => {
  nc = await connect({ servers: natsUrl() });
});
afterAll(async () => {
  const jsm = await jetstreamManager(nc);
  for (const { ns, bus } of opened) {
    await bus.close();
    for (const stream of [ns.jobsStream, ns.outcomesStream]) await jsm.streams.delete(stream);
  }
  await nc.close();
});

async function open() {
  const ns = namespace(freshNamespace());
  const bus = await openBus({
    natsUrl: natsUrl(),
    namespace: ns,
    shards: 1,
    clock: systemClock,
    log,
  });
  opened.push({ ns, bus });
  const put = (id: string, body = id) =>
    bus.publish(subjects.start(ns, 'order', id), body, { messageId: id });
  return { ns, bus, put };
}

/** Bodies by sequence, and how many of the messages came in batches. */
async function stored(ns: Namespace) {
  const jsm = await jetstreamManager(nc);
  const { state } = await jsm.streams.info(ns.jobsStream);
  const bodies = new Map<number, string>();
  let batched = 0;
  for (let seq = 1; seq <= state.last_seq; seq++) {
    const message = await jsm.streams.getMessage(ns.jobsStream, { seq });
    bodies.set(seq, message?.string() ?? '');
    if (message?.header.get('Nats-Batch-Id')) batched++;
  }
  return { bodies, batched };
}

const ids = (count: number) => Array.from({ length: count }, (_, i) => `j-${i}`);

test('what is published at the same time is stored in batches, each at the sequence its publisher is told', async () => {
  const { ns, put } = await open();
  const acks = await Promise.all(ids(COUNT).map((id) => put(id)));
  const { bodies, batched } = await stored(ns);
  expect(bodies.size).toBe(COUNT);
  expect(batched).toBe(COUNT);
  expect(acks.map(({ seq }) => bodies.get(seq))).toEqual(ids(COUNT));
  expect(acks.some(({ duplicate }) => duplicate)).toBe(false);
});

test('one message alone is stored as it is', async () => {
  const { ns, put } = await open();
  await put('j-1');
  expect(await stored(ns)).toEqual({ bodies: new Map([[1, 'j-1']]), batched: 0 });
});

test('a batch with an id that is stored already, and one twice: each is stored once, and who is late is told', async () => {
  const { ns, put } = await open();
  const first = await put('j-7');
  const acks = await Promise.all([...ids(20), 'j-3'].map((id) => put(id)));
  const { bodies } = await stored(ns);
  expect([...bodies.values()].sort()).toEqual(ids(20).sort());
  expect(acks[7]).toEqual({ seq: first.seq, duplicate: true });
  expect(acks.filter(({ duplicate }) => duplicate)).toHaveLength(2);
  expect(acks.map(({ seq }) => bodies.get(seq))).toEqual([...ids(20), 'j-3']);
});

test('a stream that takes no batches gets its messages one by one', async () => {
  const { ns, put } = await open();
  const jsm = await jetstreamManager(nc);
  await jsm.streams.update(ns.jobsStream, { allow_atomic: false });
  const acks = await Promise.all(ids(50).map((id) => put(id)));
  const { bodies, batched } = await stored(ns);
  expect(acks.map(({ seq }) => bodies.get(seq))).toEqual(ids(50));
  expect({ stored: bodies.size, batched }).toEqual({ stored: 50, batched: 0 });
});

test('an existing stream takes batches from the next node on', async () => {
  const { ns } = await open();
  const jsm = await jetstreamManager(nc);
  await jsm.streams.update(ns.jobsStream, { allow_atomic: false });
  const again = await openBus({
    natsUrl: natsUrl(),
    namespace: ns,
    shards: 1,
    clock: systemClock,
    log,
  });
  await again.close();
  expect((await jsm.streams.info(ns.jobsStream)).config.allow_atomic).toBe(true);
});

test('one that is too large takes nobody with it', async () => {
  const { ns, put } = await open();
  const large = 'x'.repeat((nc.info?.max_payload ?? 0) + 1);
  const results = await Promise.allSettled(ids(20).map((id, i) => put(id, i === 10 ? large : id)));
  const refused = results
    .map(({ status }, i) => (status === 'rejected' ? i : -1))
    .filter((i) => i >= 0);
  expect(refused).toEqual([10]);
  expect(results[10]).toMatchObject({ reason: { code: 'body_too_large' } });
  expect((await stored(ns)).bodies.size).toBe(19);
});

test('a reader sees nothing of the batch', async () => {
  const { bus, put } = await open();
  const seen = await record(bus, { shard: 0 });
  await Promise.all(ids(30).map((id) => put(id)));
  await expect.poll(() => seen.messages.length).toBe(30);
  for (const message of seen.messages)
    expect(Object.keys(message.headers())).toEqual(['Nats-Msg-Id']);
});
