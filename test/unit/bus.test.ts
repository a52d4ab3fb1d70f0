import { describe, expect, test } from 'vitest';
import type { LogMessage, ReaderOptions } from '../../src/bus/bus.ts';
import { clientOptions } from '../../src/bus/connection.ts';
import { createMemoryLog } from '../../src/bus/memory.ts';
import { DeliveryParser } from '../../src/bus/message.ts';
import { assertToken, shardOf } from '../../src/bus/subjects.ts';
import { assertServerVersion, streamConfigs } from '../../src/bus/topology.ts';
import { systemClock } from '../../src/clock.ts';
import { namespace } from '../../src/config.ts';
import { createLogger } from '../../src/log.ts';
import { eventually } from '../support/services.ts';

const log = createLogger({ level: 'silent' });

describe('server version', () => {
  test.each(['2.10.0', '2.15.1', '2.16.0-dev', 'v2.11.3', '3.0.0'])('%s will do', (version) => {
    expect(() => assertServerVersion(version)).not.toThrow();
  });
  test.each(['2.9.25', '1.4.1', '0.0', ''])('%s is too old', (version) => {
    expect(() => assertServerVersion(version)).toThrow(
      expect.objectContaining({
        code: 'server_too_old',
        message: `The NATS server is version ${version}; Perdure needs 2.10.0 or newer.`,
      }),
    );
  });
});

describe('delivery parser', () => {
  test('reads both forms of acknowledgement subjects', () => {
    const old = new DeliveryParser();
    expect(old.parse('$JS.ACK.JOBS.s1-e1.1.42.7.1700000000000000000.3')).toEqual({
      count: 1,
      seq: 42,
      consumerSeq: 7,
    });
    expect(old.parse('$JS.ACK.JOBS.s1-e1.2.43.8.1700000000000000000.0')).toEqual({
      count: 2,
      seq: 43,
      consumerSeq: 8,
    });
    const v2 = new DeliveryParser();
    for (const end of ['', '.random'])
      expect(v2.parse(`$JS.ACK._.hash.JOBS.s1-e1.1.9007199254740991.7.17.3${end}`)).toEqual({
        count: 1,
        seq: 9007199254740991,
        consumerSeq: 7,
      });
  });
  test('anything else is none', () => {
    for (const reply of ['', '_INBOX.x', '$JS.ACK.JOBS', '$JS.API.a.b.c.d.e.f.g'])
      expect(new DeliveryParser().parse(reply)).toBeNull();
  });
});

describe('client options', () => {
  const options = (natsUrl: string) => clientOptions({ natsUrl, clock: systemClock, log });
  test('takes credentials out of the URL', () => {
    expect(options('nats://ann:s%40cret@a:4223,b')).toMatchObject({
      servers: ['a:4223', 'b:4222'],
      user: 'ann',
      pass: 's@cret',
    });
    expect(options('nats://t0ken@a')).toMatchObject({ token: 't0ken' });
    expect(options('tls://a')).toMatchObject({ tls: {} });
    expect(options('nats://[::1]:4222').servers).toEqual(['[::1]:4222']);
  });
  test('never gives up', () => {
    expect(options('a')).toMatchObject({ maxReconnectAttempts: -1, ignoreAuthErrorAbort: true });
  });
  test('refuses what is no URL without repeating its password', () => {
    expect(() => options('nats://ann:s3cret@:::')).toThrow(
      expect.objectContaining({ code: 'bad_options' }),
    );
    expect(() => options('nats://ann:s3cret@:::')).not.toThrow(/s3cret/);
  });
});

test('the streams of two namespaces share no name and no subject', () => {
  const [a, b] = [namespace(), namespace('x')].map((ns) => streamConfigs(ns, { shards: 64 }));
  const all = [...(a ?? []), ...(b ?? [])];
  expect(new Set(all.map((config) => config.name)).size).toBe(4);
  expect(all.flatMap((config) => config.subjects)).toEqual([
    'jobs.*.*',
    'events.*.*',
    'outcomes.*.*',
    'x.jobs.*.*',
    'x.events.*.*',
    'x.outcomes.*.*',
  ]);
});

test('shardOf: known values, every shard reached', () => {
  // Taken from nats-server 2.15.1.
  expect(shardOf('order', 'o-1', 64)).toBe(42);
  expect(shardOf('order', 'o-1', 7)).toBe(5);
  const reached = new Set(Array.from({ length: 2_000 }, (_, i) => shardOf('order', `o-${i}`, 64)));
  expect(reached.size).toBe(64);
});

test('assertToken names the part and what is allowed', () => {
  assertToken('id', 'o-1_A');
  expect(() => assertToken('id', 'a@b')).toThrow(/The id "a@b" is not allowed/);
  expect(() => assertToken('type', '')).toThrow(/The type "" is not allowed/);
  expect(() => assertToken('id', 'x'.repeat(129))).toThrow(/1 to 128/);
});

describe('the faults of the log in memory', () => {
  const subject = 'jobs.order.o-1';
  const shard = shardOf('order', 'o-1', 64);
  function setup() {
    const memory = createMemoryLog({ clock: systemClock, shards: 64 });
    const bus = memory.connect();
    const messages: LogMessage[] = [];
    const surprises: string[] = [];
    const read = (more: Partial<ReaderOptions> = {}) =>
      bus.openReader({
        shard,
        epoch: 1,
        startSeq: 1,
        pendingMax: 10,
        ackWaitMs: 100,
        onMessage: (message) => messages.push(message),
        onSurprise: (reason) => surprises.push(reason),
        ...more,
      });
    return { memory, bus, messages, surprises, read };
  }

  test('a cut bus waits, and goes on where it was', async () => {
    const { bus, memory, messages, surprises, read } = setup();
    const changes: boolean[] = [];
    bus.onConnectionChange((connected) => changes.push(connected));
    await read();
    bus.setConnected(false);
    await expect(bus.publish(subject, 'x', { timeoutMs: 50 })).rejects.toMatchObject({
      code: 'bus_unavailable',
    });
    await expect(bus.logId()).rejects.toMatchObject({ code: 'bus_unavailable' });
    const waits = bus.publish(subject, '1');
    await memory.connect().publish(subject, '2');
    expect(messages).toEqual([]);
    bus.setConnected(true);
    await waits;
    await eventually(() => messages.length === 2, { what: 'both' });
    expect(surprises).toEqual([]);
    expect(changes).toEqual([false, true]);
    await bus.close();
  });

  test('an acknowledgement that got lost is asked for again', async () => {
    const { bus, messages, surprises, read } = setup();
    await read({ pendingMax: 1 });
    await bus.publish(subject, '1');
    await bus.publish(subject, '2');
    await eventually(() => messages.length === 1, { what: 'the first' });
    bus.setConnected(false);
    messages[0]?.ack();
    bus.setConnected(true);
    await eventually(() => messages.length === 2, { what: 'the second' });
    expect(surprises).toEqual([]);
    await bus.close();
  });

  test('a lost delivery, a lost consumer and a restart are surprises, once', async () => {
    const { bus, memory, messages, surprises, read } = setup();
    await read();
    memory.loseNext(shard);
    await bus.publish(subject, '1');
    await eventually(() => surprises.length === 1, { what: 'after ack-wait' });
    expect(messages).toEqual([]);
    await read({ epoch: 2 });
    memory.loseNext(shard);
    await bus.publish(subject, '2');
    await bus.publish(subject, '3');
    await eventually(() => surprises.length === 2, { what: 'at the next message' });
    await read({ epoch: 3 });
    memory.surprise(shard, 'because');
    await eventually(() => surprises[2] === 'because', { what: 'the reason' });
    await read({ epoch: 4 });
    memory.setDown(true);
    expect(bus.connected).toBe(false);
    memory.setDown(false);
    await eventually(() => surprises.length === 4, { what: 'the restart' });
    await bus.close();
  });

  test('a message published without an answer is stored once when it has an id', async () => {
    const { bus, memory } = setup();
    const lost = bus.publish(subject, '1', { messageId: 'm' });
    const without = bus.publish(subject, '2');
    await new Promise((resolve) => setImmediate(resolve)); // stored, the answers on their way
    bus.setConnected(false);
    await expect(without).rejects.toMatchObject({ code: 'timeout' });
    bus.setConnected(true);
    expect(await lost).toEqual({ seq: 1, duplicate: true });
    expect(memory.end).toBe(2);
  });

  test('a full log says so', async () => {
    const memory = createMemoryLog({ clock: systemClock, shards: 64, messagesMax: 1 });
    const bus = memory.connect();
    await bus.publish(subject, '1');
    await expect(bus.publish(subject, '2')).rejects.toMatchObject({ code: 'log_full' });
    await bus.trimLog(1);
    await bus.publish(subject, '3');
  });
});
