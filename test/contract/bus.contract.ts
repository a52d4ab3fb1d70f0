import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Bus, LogMessage, LogReader, ReaderOptions } from '../../src/bus/bus.ts';
import { shardOf, subjects } from '../../src/bus/subjects.ts';
import type { Namespace } from '../../src/config.ts';
import { eventually } from '../support/services.ts';

/** What the suite needs of an implementation. */
export interface BusUnderTest {
  readonly namespace: Namespace;
  readonly shards: number;
  /** Another bus on the same log. */
  open(): Promise<Bus>;
  /** Loses the stream and makes it again, empty. */
  recreateLog(): Promise<void>;
  /** Bytes a message must not have. */
  readonly tooLarge: number;
  close(): Promise<void>;
}

/** A reader that writes down what it is given. */
export interface Recorder {
  readonly messages: LogMessage[];
  readonly surprises: string[];
  readonly reader: LogReader;
  seqs(): number[];
}

export async function record(
  bus: Bus,
  options: Partial<ReaderOptions> & { shard: number },
  onMessage: (message: LogMessage) => void = () => {},
): Promise<Recorder> {
  const messages: LogMessage[] = [];
  const surprises: string[] = [];
  const reader = await bus.openReader({
    epoch: 1,
    startSeq: 1,
    pendingMax: 256,
    ackWaitMs: 1_000,
    ...options,
    onMessage(message) {
      messages.push(message);
      onMessage(message);
    },
    onSurprise: (reason) => surprises.push(reason),
  });
  return { messages, surprises, reader, seqs: () => messages.map((message) => message.seq) };
}

const text = (body: Uint8Array) => new TextDecoder().decode(body);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** B1 to B5 of `Bus`, and what core NATS gives. Both implementations pass it. */
export function busContract(name: string, make: () => Promise<BusUnderTest>): void {
  describe(`Bus: ${name}`, () => {
    let it: BusUnderTest;
    let bus: Bus;
    let nextId = 0;

    beforeAll(async () => {
      it = await make();
      bus = await it.open();
    });
    afterAll(async () => {
      await bus?.close();
      await it?.close();
    });

    /** An id nobody used whose actor lives in a shard nobody used. */
    function fresh(): { id: string; shard: number; subject: string; event: string } {
      const id = `a-${nextId++}`;
      const shard = shardOf('order', id, it.shards);
      if (taken.has(shard)) return fresh();
      taken.add(shard);
      return {
        id,
        shard,
        subject: subjects.start(it.namespace, 'order', id),
        event: subjects.event(it.namespace, 'order', id),
      };
    }
    const taken = new Set<number>();

    async function publishMany(subject: string, count: number): Promise<number[]> {
      const acks = await Promise.all(
        Array.from({ length: count }, (_, i) => bus.publish(subject, String(i))),
      );
      return acks.map((ack) => ack.seq);
    }

    test('B1 a shard comes in the order of the log, each message once', async () => {
      const { shard, event } = fresh();
      const published = await publishMany(event, 500);
      const seen = await record(bus, { shard }, (message) => message.ack());
      published.push(...(await publishMany(event, 500)));
      await eventually(() => seen.messages.length >= 1_000, { what: '1,000 messages' });
      await pause(50);
      expect(seen.seqs()).toEqual([...published].sort((a, b) => a - b));
      expect(seen.surprises).toEqual([]);
      await seen.reader.stop();
    });

    test('B1 a reader starts where it is told', async () => {
      const { shard, event } = fresh();
      const published = await publishMany(event, 10);
      const seen = await record(bus, { shard, startSeq: published[4] ?? 0 });
      await eventually(() => seen.messages.length >= 6, { what: 'six messages' });
      expect(seen.seqs()).toEqual(published.slice(4));
      await seen.reader.stop();
    });

    test('a message says what was published: subject, body, id, headers', async () => {
      const { shard, subject, id } = fresh();
      const binary = Uint8Array.from({ length: 256 }, (_, i) => i);
      await bus.publish(subject, binary, {
        messageId: 'm 1/ü',
        headers: { 'Perdure-Reply': '_INBOX.x', 'x-Tenant': 'a b' },
      });
      await bus.publish(subject, '');
      const seen = await record(bus, { shard });
      await eventually(() => seen.messages.length >= 2, { what: 'two messages' });
      const [first, second] = seen.messages;
      expect(first?.shard).toBe(shard);
      expect(first?.subject).toBe(`jobs.order.${id}`);
      expect(Uint8Array.from(first?.body ?? [])).toEqual(binary);
      expect(first?.messageId).toBe('m 1/ü');
      // The clocks of both are this machine's.
      expect(Math.abs((first?.publishedAt ?? 0) - Date.now())).toBeLessThan(60_000);
      expect(first?.header('Perdure-Reply')).toBe('_INBOX.x');
      expect(first?.header('nope')).toBeNull();
      expect(first?.headers()).toEqual({
        'Nats-Msg-Id': 'm 1/ü',
        'Perdure-Reply': '_INBOX.x',
        'x-Tenant': 'a b',
      });
      expect(second?.messageId).toBeNull();
      expect(second?.header('x-Tenant')).toBeNull();
      expect(second?.headers()).toEqual({});
      expect(second?.body.length).toBe(0);
      await seen.reader.stop();
    });

    test('a subject with a bad token is delivered all the same', async () => {
      const seen = await Promise.all(
        Array.from({ length: it.shards }, (_, shard) =>
          record(bus, { shard, startSeq: 1, epoch: 1 }),
        ),
      );
      await bus.publish(`${it.namespace.subjectPrefix}jobs.order.a@b`, '{}');
      await eventually(
        () => seen.some(({ messages }) => messages.some((m) => m.subject === 'jobs.order.a@b')),
        { what: 'the message' },
      );
      await Promise.all(seen.map(({ reader }) => reader.stop()));
    });

    test('B3 what was not acknowledged comes back to the next reader', async () => {
      const { shard, event } = fresh();
      const published = await publishMany(event, 6);
      const first = await record(bus, { shard });
      await eventually(() => first.messages.length === 6, { what: 'six messages' });
      for (const message of first.messages.slice(0, 3)) message.ack();
      await first.reader.stop();
      const second = await record(bus, { shard, epoch: 2, startSeq: published[3] ?? 0 });
      await eventually(() => second.messages.length >= 3, { what: 'three messages' });
      expect(second.seqs()).toEqual(published.slice(3));
      await second.reader.stop();
    });

    test('a stopped reader hands over nothing more', async () => {
      const { shard, event } = fresh();
      const seen = await record(bus, { shard });
      await publishMany(event, 1);
      await eventually(() => seen.messages.length === 1, { what: 'one message' });
      await seen.reader.stop();
      seen.messages[0]?.ack();
      await publishMany(event, 5);
      await pause(200);
      expect(seen.messages).toHaveLength(1);
      expect(seen.surprises).toEqual([]);
    });

    test('B2 a reader of a later epoch replaces the earlier one, which says so once', async () => {
      const { shard, event } = fresh();
      const other = await it.open();
      const old = await record(other, { shard, epoch: 3 });
      await publishMany(event, 2);
      await eventually(() => old.messages.length === 2, { what: 'two messages' });
      const next = await record(bus, { shard, epoch: 4 }, (message) => message.ack());
      await publishMany(event, 20);
      await eventually(() => next.messages.length === 22, { what: 'all messages' });
      await eventually(() => old.surprises.length > 0, { what: 'a surprise' });
      await pause(200);
      expect(old.messages).toHaveLength(2);
      expect(old.surprises).toHaveLength(1);
      expect(next.surprises).toEqual([]);
      await next.reader.stop();
      await other.close();
    });

    test('a reader can be opened again at the same epoch', async () => {
      const { shard, event } = fresh();
      const first = await record(bus, { shard, epoch: 7 });
      await first.reader.stop();
      const second = await record(bus, { shard, epoch: 7 });
      await publishMany(event, 1);
      await eventually(() => second.messages.length === 1, { what: 'one message' });
      await second.reader.stop();
    });

    test('B4 at most pendingMax messages wait for their acknowledgement', async () => {
      const { shard, event } = fresh();
      await publishMany(event, 50);
      const seen = await record(bus, { shard, pendingMax: 8 });
      await eventually(() => seen.messages.length === 8, { what: 'eight messages' });
      await pause(300);
      expect(seen.messages).toHaveLength(8);
      // Those before it are done with it.
      seen.messages[2]?.ack();
      await eventually(() => seen.messages.length === 11, { what: 'three more' });
      await pause(100);
      expect(seen.messages).toHaveLength(11);
      for (let done = 0; done < 50; done++) {
        await eventually(() => seen.messages[done], { what: `message ${done}` });
        seen.messages[done]?.ack();
      }
      expect(seen.seqs()).toEqual([...seen.seqs()].sort((a, b) => a - b));
      expect(seen.surprises).toEqual([]);
      await seen.reader.stop();
    });

    test('B4 waiting longer than ack-wait is no surprise and brings no second copy', async () => {
      const { shard, event } = fresh();
      await publishMany(event, 5);
      const seen = await record(bus, { shard, ackWaitMs: 900 });
      await eventually(() => seen.messages.length === 5, { what: 'five messages' });
      await pause(3_000);
      expect(seen.messages).toHaveLength(5);
      for (const message of seen.messages) message.ack();
      await publishMany(event, 5);
      await eventually(() => seen.messages.length >= 10, { what: 'five more' });
      for (const message of seen.messages) message.ack();
      await pause(1_200);
      expect(seen.messages).toHaveLength(10);
      expect(new Set(seen.seqs()).size).toBe(10);
      expect(seen.surprises).toEqual([]);
      await seen.reader.stop();
    });

    test('lag counts what waits for the reader', async () => {
      const { shard, event } = fresh();
      const published = await publishMany(event, 20);
      const seen = await record(bus, { shard, pendingMax: 5, startSeq: published[0] ?? 0 });
      await eventually(() => seen.messages.length === 5, { what: 'five messages' });
      const lag = await seen.reader.lag();
      expect(lag.waiting).toBe(15);
      expect(lag.logEnd).toBeGreaterThanOrEqual(published.at(-1) ?? 0);
      await seen.reader.stop();
    });

    test('B5 publish answers with the sequence, and says when the id was known', async () => {
      const { event } = fresh();
      const first = await bus.publish(event, '1', { messageId: `id-${event}` });
      const again = await bus.publish(event, '2', { messageId: `id-${event}` });
      const other = await bus.publish(event, '3', { messageId: `id2-${event}` });
      expect(first.duplicate).toBe(false);
      expect(again).toEqual({ seq: first.seq, duplicate: true });
      expect(other).toEqual({ seq: first.seq + 1, duplicate: false });
      expect(await bus.logEnd()).toBe(other.seq);
    });

    test('outcomes go to a stream of their own and to whoever listens', async () => {
      const { id } = fresh();
      const subject = subjects.outcome(it.namespace, 'order', id);
      const heard: string[] = [];
      const end = await bus.logEnd();
      const stop = bus.listen(subject, (_, body) => heard.push(text(body)));
      const ack = await bus.publish(subject, 'done', { messageId: `o-${subject}` });
      expect(ack.seq).toBeGreaterThan(0);
      await eventually(() => heard.length === 1, { what: 'the outcome' });
      expect(heard).toEqual(['done']);
      expect(await bus.logEnd()).toBe(end);
      stop();
    });

    test('publish refuses what can never be stored', async () => {
      const { event } = fresh();
      const prefix = it.namespace.subjectPrefix;
      await expect(bus.publish(event, new Uint8Array(it.tooLarge))).rejects.toMatchObject({
        code: 'body_too_large',
      });
      for (const subject of [
        'jobs.order',
        'jobs.order.a.b',
        'nonsense.a.b',
        'jobs.*.a',
        'jobs.a b.c',
        'jobs..a',
        '',
      ])
        await expect(bus.publish(prefix + subject, 'x'), subject).rejects.toMatchObject({
          code: 'bad_subject',
        });
      // The connection survives it.
      await bus.publish(event, 'x');
    });

    test('broadcast reaches who listens now, with wildcards, until they stop', async () => {
      const prefix = `${it.namespace.subjectPrefix}transitions`;
      const other = await it.open();
      const heard: string[] = [];
      const stop = other.listen(`${prefix}.order.*`, (subject, body) =>
        heard.push(`${subject.slice(prefix.length)}=${text(body)}`),
      );
      await eventually(
        () => {
          bus.broadcast(`${prefix}.order.ready`, '?');
          return heard.length > 0;
        },
        { what: 'the subscription' },
      );
      heard.length = 0;
      bus.broadcast(`${prefix}.order.a`, 'one');
      bus.broadcast(`${prefix}.other.a`, 'two');
      bus.broadcast(`${prefix}.order.b`, Uint8Array.from([51]));
      await eventually(() => heard.includes('.order.b=3'), { what: 'the last' });
      expect(heard.filter((line) => !line.startsWith('.order.ready'))).toEqual([
        '.order.a=one',
        '.order.b=3',
      ]);
      stop();
      await pause(50);
      heard.length = 0;
      bus.broadcast(`${prefix}.order.c`, 'x');
      await pause(50);
      expect(heard).toEqual([]);
      await other.close();
    });

    test('a listener that throws does not stop the next message', async () => {
      const inbox = bus.inbox();
      const heard: string[] = [];
      const stop = bus.listen(inbox, (_, body) => {
        heard.push(text(body));
        if (heard.length === 1) throw new Error('a bad listener');
      });
      bus.broadcast(inbox, '1');
      bus.broadcast(inbox, '2');
      await eventually(() => heard.length === 2, { what: 'both' });
      stop();
      expect(bus.inbox()).not.toBe(inbox);
    });

    test('a request is answered by one of those who can', async () => {
      const prefix = `${it.namespace.subjectPrefix}queries`;
      const other = await it.open();
      let answered = 0;
      const handler = async (subject: string, body: Uint8Array) => {
        answered++;
        return `${subject.slice(prefix.length)}:${text(body)}`;
      };
      const stops = [bus.answer(`${prefix}.*.*`, handler), other.answer(`${prefix}.*.*`, handler)];
      const asker = await it.open();
      await eventually(async () => (await asker.request(`${prefix}.a.b`, '', 500)).length > 0, {
        what: 'the subscriptions',
      });
      answered = 0;
      expect(text(await asker.request(`${prefix}.order.o-1`, 'x', 10_000))).toBe('.order.o-1:x');
      await pause(50);
      expect(answered).toBe(1);
      for (const stop of stops) stop();
      await other.close();
      await asker.close();
    });

    test('a request nobody answers fails at once; a slow answer is a timeout; a failed one says why', async () => {
      const subject = `${it.namespace.subjectPrefix}queries.slow.${nextId++}`;
      const from = performance.now();
      await expect(bus.request(subject, '', 20_000)).rejects.toMatchObject({
        code: 'bus_unavailable',
      });
      expect(performance.now() - from).toBeLessThan(5_000);
      const stop = bus.answer(subject, async (_, body) => {
        if (text(body) === 'fail') throw new Error('no such actor');
        await pause(500);
        return 'late';
      });
      await expect(bus.request(subject, 'slow', 100)).rejects.toMatchObject({ code: 'timeout' });
      await expect(bus.request(subject, 'fail', 10_000)).rejects.toThrow(/no such actor/);
      stop();
    });

    test('trimLog drops what is done and nothing else', async () => {
      const { shard, event } = fresh();
      const published = await publishMany(event, 10);
      await bus.trimLog(published[5] ?? 0);
      const seen = await record(bus, { shard });
      await eventually(() => seen.messages.length >= 4, { what: 'the rest' });
      expect(seen.seqs()).toEqual(published.slice(6));
      expect(await bus.logEnd()).toBe(published.at(-1));
      await seen.reader.stop();
    });

    test('a closed bus refuses', async () => {
      const { event } = fresh();
      const other = await it.open();
      const published = other.publish(event, 'last');
      await other.close();
      await expect(published).resolves.toMatchObject({ duplicate: false });
      await expect(other.publish(event, 'x')).rejects.toMatchObject({ code: 'bus_unavailable' });
    });

    // The last one: it loses the log.
    test('logId is stable until the log is made again, which surprises the readers', async () => {
      const { shard } = fresh();
      const other = await it.open();
      const before = await bus.logId();
      expect(await other.logId()).toBe(before);
      const seen = await record(bus, { shard });
      await it.recreateLog();
      await eventually(() => seen.surprises.length > 0, { what: 'a surprise' });
      expect(await bus.logId()).not.toBe(before);
      expect(await other.logId()).toBe(await bus.logId());
      await other.close();
    });
  });
}
