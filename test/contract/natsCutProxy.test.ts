import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type NatsBus, openBus } from '../../src/bus/nats.ts';
import { shardOf, subjects } from '../../src/bus/subjects.ts';
import { systemClock } from '../../src/clock.ts';
import { type Namespace, namespace } from '../../src/config.ts';
import { createLogger } from '../../src/log.ts';
import { type NatsCutProxy, startNatsCutProxy } from '../support/natsCutProxy.ts';
import { eventually, freshNamespace, natsUrl } from '../support/services.ts';
import { record } from './bus.contract.ts';

const log = createLogger({ level: process.env.PERDURE_LOG_LEVEL ?? 'silent' });

let nc: NatsConnection;
let line: NatsCutProxy;
let ns: Namespace;
let bus: NatsBus;

beforeAll(async () => {
  nc = await connect({ servers: natsUrl() });
});
afterAll(() => nc?.close());

beforeEach(async () => {
  line = await startNatsCutProxy(natsUrl());
  ns = namespace(freshNamespace());
  bus = await openBus({ natsUrl: line.url, namespace: ns, shards: 64, clock: systemClock, log });
});
afterEach(async () => {
  await bus.close();
  await line.close();
  const jsm = await jetstreamManager(nc);
  for (const stream of [ns.jobsStream, ns.outcomesStream]) await jsm.streams.delete(stream);
});

test('a publish whose PubAck got lost is sent again and stored once', async () => {
  line.drop('pubAck');
  const ack = await bus.publish(subjects.start(ns, 'order', 'o-1'), '{}', { messageId: 'm-1' });
  expect(line.dropped).toEqual({ pubAck: 1, ack: 0 });
  expect(ack).toEqual({ seq: 1, duplicate: true });
  expect(await bus.logEnd()).toBe(1);
});

test('without a message id it is not sent again, and says that it may be stored', async () => {
  line.drop('pubAck');
  const publish = bus.publish(subjects.start(ns, 'order', 'o-1'), '{}', { timeoutMs: 500 });
  await expect(publish).rejects.toMatchObject({ code: 'timeout' });
  await eventually(() => line.dropped.pubAck === 1, { what: 'its PubAck, which may be late' });
  expect(line.dropped).toEqual({ pubAck: 1, ack: 0 });
  expect(await bus.logEnd()).toBe(1);
});

test('a message whose acknowledgement got lost comes back and is not handed over again', async () => {
  const seen = await record(
    bus,
    { shard: shardOf('order', 'o-1', 64), ackWaitMs: 500 },
    (message) => message.ack(),
  );
  line.drop('ack');
  // Large enough to come in pieces.
  await bus.publish(subjects.start(ns, 'order', 'o-1'), new Uint8Array(900_000));
  const jsm = await jetstreamManager(nc);
  const consumer = (await jsm.consumers.list(ns.jobsStream).next())[0]?.name ?? '';
  const info = () => jsm.consumers.info(ns.jobsStream, consumer);
  await eventually(async () => (await info()).delivered.consumer_seq >= 2, {
    what: 'the second delivery',
  });
  await eventually(async () => (await info()).ack_floor.stream_seq === 1, {
    what: 'the acknowledgement of it',
  });
  expect(line.dropped).toEqual({ pubAck: 0, ack: 1 });
  const after = await bus.publish(subjects.event(ns, 'order', 'o-1'), '{}');
  await eventually(() => seen.seqs().includes(after.seq), { what: 'the next message' });
  expect(seen.seqs()).toEqual([1, 2]);
  expect(seen.surprises).toEqual([]);
});

test('two at once are dropped, and no third', async () => {
  line.drop('pubAck', 2);
  const acks = await Promise.all(
    [1, 2, 3].map((i) =>
      bus.publish(subjects.event(ns, 'order', 'o-1'), '{}', {
        messageId: `m-${i}`,
        // Enough for being sent again twice, also where this process stands still between.
        timeoutMs: 20_000,
      }),
    ),
  );
  // That of the batch the three were stored in, and that of one of them alone.
  expect(acks.map((ack) => ack.duplicate)).toEqual([true, true, true]);
  expect(line.dropped.pubAck).toBe(2);
  expect(await bus.logEnd()).toBe(3);
});
