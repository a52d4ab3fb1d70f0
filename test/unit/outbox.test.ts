import { expect, test } from 'vitest';
import { bundled } from '../../src/actors/bundle.ts';
import { Outbox } from '../../src/actors/outbox.ts';
import type { Bus } from '../../src/bus/bus.ts';
import { systemClock } from '../../src/clock.ts';
import { LIMITS, namespace } from '../../src/config.ts';
import { type ErrorCode, PerdureError } from '../../src/errors.ts';
import { createLogger } from '../../src/log.ts';
import type { OutboxRow, OutboxWrite } from '../../src/store/store.ts';
import { eventually } from '../support/services.ts';

// What one actor sends another reaches the log in the order it was sent, whatever fails on the way (G5).

/** A bus whose publishes end when the test says so. */
function hangingBus() {
  interface Asked {
    body: string;
    messageId: string;
    headers?: object;
    done: () => void;
    fails: () => void;
  }
  const asked: Asked[] = [];
  const bus = {
    publish: (
      _subject: string,
      body: string,
      { headers = {}, messageId }: { headers?: object; messageId: string },
    ) =>
      new Promise((resolve, reject) =>
        asked.push({
          body,
          messageId,
          headers,
          done: () => resolve({ seq: 1, duplicate: false }),
          fails: () => reject(new Error('no')),
        }),
      ),
  } as unknown as Bus;
  return { bus, asked, bodies: () => asked.map(({ body }) => body) };
}

const outboxOn = (bus: Bus, more: Partial<ConstructorParameters<typeof Outbox>[0]> = {}) =>
  new Outbox({
    bus,
    clock: systemClock,
    limits: LIMITS,
    namespace: namespace(),
    log: createLogger({ level: 'silent' }),
    published: () => {},
    refused: () => {},
    ...more,
  });

const row = (sender: string, place: string, to: string): OutboxRow => ({
  shard: 1,
  messageId: `order/${sender}/${place}`,
  kind: 'send',
  type: 'mail',
  id: to,
  body: `${sender} ${place}`,
});

test('the next message of a pair waits until the log has the one before; other pairs do not', async () => {
  const { bus, asked, bodies } = hangingBus();
  const outbox = outboxOn(bus);
  outbox.relay([
    row('a', '1/0', 'm'),
    row('a', '1/1', 'm'),
    row('a', '1/2', 'n'),
    row('b', '1/0', 'm'),
  ]);
  expect(bodies()).toEqual(['a 1/0', 'a 1/2', 'b 1/0']);
  // One that fails is tried again before anything behind it is.
  asked[0]?.fails();
  await eventually(() => asked.length === 4, { what: 'it is tried again' });
  expect(bodies().at(-1)).toBe('a 1/0');
  asked[3]?.done();
  await eventually(() => asked.length === 5, { what: 'the next one goes' });
  expect(bodies().at(-1)).toBe('a 1/1');
  outbox.stop();
});

test('bug: a publish that throws at once was never tried again, and held up all behind it', async () => {
  const { bus: hanging, asked, bodies } = hangingBus();
  let throws = 1;
  const bus = {
    publish: (...given: Parameters<Bus['publish']>) => {
      if (throws-- > 0) throw new Error('at once');
      return hanging.publish(...given);
    },
  } as Bus;
  const outbox = outboxOn(bus);
  outbox.relay([row('a', '1/0', 'm'), row('b', '1/0', 'n')]);
  expect(bodies()).toEqual(['b 1/0']);
  await eventually(() => asked.length === 2, { what: 'it is tried again' });
  for (const one of asked) one.done();
  await eventually(() => outbox.held === 0, { what: 'both are out' });
  outbox.stop();
});

test('what an earlier owner has left is published in the order it was sent', async () => {
  const { bus, asked, bodies } = hangingBus();
  const outbox = outboxOn(bus);
  outbox.resume([row('a', '10/0', 'm'), row('a', '9/10', 'm'), row('a', '9/2', 'm')]);
  for (const n of [0, 1, 2]) {
    await eventually(() => asked.length === n + 1, { what: `message ${n}` });
    asked[n]?.done();
  }
  expect(bodies()).toEqual(['a 9/2', 'a 9/10', 'a 10/0']);
  await eventually(() => outbox.held === 0, { what: 'all are out' });
  outbox.stop();
});

test('a message carries on the trace of what sent it, also one that an earlier owner has left', async () => {
  const { bus, asked } = hangingBus();
  const outbox = outboxOn(bus, { traceOf: async ({ messageId }) => `of-${messageId} a=1` });
  outbox.relay([{ ...row('a', '1/0', 'm'), trace: 'known' }, row('b', '1/0', 'n')]);
  await eventually(() => asked.length === 2, { what: 'both are on their way' });
  const headers = Object.fromEntries(asked.map(({ body, headers }) => [body, headers]));
  expect(headers).toEqual({
    'a 1/0': { 'Perdure-Outbox': 'order/a/1/0', traceparent: 'known' },
    'b 1/0': { 'Perdure-Outbox': 'order/b/1/0', traceparent: 'of-order/b/1/0', tracestate: 'a=1' },
  });
  outbox.stop();
});

test('while JetStream takes less than is committed the outbox is full, until it has caught up', async () => {
  const { bus, asked } = hangingBus();
  const outbox = outboxOn(bus);
  const outcomes = Array.from(
    { length: 16_000 },
    (_, n): OutboxRow => ({ ...row(`a${n}`, '2/outcome', 'm'), kind: 'outcome' }),
  );
  outbox.relay(outcomes.slice(1));
  expect(outbox.isFull).toBe(false);
  outbox.relay(outcomes.slice(0, 1));
  expect(outbox.isFull).toBe(true);
  asked[0]?.done();
  await eventually(() => outbox.held < 16_000, { what: 'one is published' });
  expect(outbox.isFull).toBe(true);
  for (let n = 1; outbox.held >= 8_000; n++) {
    await eventually(() => asked.length > n, { what: `publish ${n}` });
    asked[n]?.done();
  }
  expect(outbox.isFull).toBe(false);
  outbox.stop();
});

test('a sweep that has not seen all rows forgets none of those that were left in Postgres', async () => {
  const { bus, asked, bodies } = hangingBus();
  const outbox = outboxOn(bus, { limits: { ...LIMITS, outboxRepublishMs: 0 } });
  const early = Array.from({ length: 20_000 }, (_, n) => row(`a${n}`, '1/0', 'm'));
  outbox.relay([...early, row('z', '1/0', 'm')]);
  outbox.relayAgain(early.slice(0, 10), false);
  asked[0]?.done();
  await eventually(() => outbox.held < 20_000, { what: 'there is room' });
  // It comes behind the one that only a sweep finds again.
  outbox.relay([row('z', '1/1', 'm')]);
  expect(outbox.held).toBe(19_999);
  expect(bodies()).not.toContain('z 1/1');
  outbox.stop();
});

const outcome = (id: string): OutboxRow => ({
  ...row(id, '2/outcome', id),
  kind: 'outcome',
  type: 'order',
  body: id,
});
const asRead = (written: OutboxWrite): OutboxRow => ({ ...written, shard: 1 });

/** An outbox, and the rows it lets go. */
function outboxThatLetsGo() {
  const gone: [shard: number, messageId: string][] = [];
  const { bus, asked, bodies } = hangingBus();
  const outbox = outboxOn(bus, { published: (...given) => gone.push(given) });
  const publish = (id: string) => asked.find(({ body }) => body === id)?.done();
  return { outbox, asked, bodies, publish, gone };
}

test('the row of several outcomes goes when the last of them is published, and not before', async () => {
  const { outbox, publish, gone } = outboxThatLetsGo();
  const rows = [outcome('a'), outcome('b')];
  bundled(rows);
  outbox.relay(rows);
  publish('b');
  await eventually(() => outbox.held === 1, { what: 'one is published' });
  expect(gone).toEqual([]);
  publish('a');
  await eventually(() => gone.length > 0, { what: 'the row may go' });
  expect(gone).toEqual([[1, 'order/a/2/outcome']]);
  outbox.stop();
});

test('outcomes that have stayed too long are published again without those that were published', async () => {
  const { outbox, bodies, publish, gone } = outboxThatLetsGo();
  const rows = [outcome('a'), outcome('b'), outcome('c')];
  const stale = bundled(rows).map(asRead);
  outbox.relay(rows);
  publish('a');
  await eventually(() => outbox.held === 2, { what: 'one is published' });
  outbox.relayAgain(stale, true);
  // The others are still on their way.
  expect(bodies()).toEqual(['a', 'b', 'c']);
  expect(gone).toEqual([]);
  outbox.stop();
});

test('outcomes that an earlier owner has left of a commit are all published', async () => {
  const { outbox, asked, gone } = outboxThatLetsGo();
  outbox.resume(bundled([outcome('a'), outcome('b')]).map(asRead));
  expect(asked.map(({ messageId }) => messageId)).toEqual([
    'order/a/2/outcome',
    'order/b/2/outcome',
  ]);
  for (const { done } of asked) done();
  await eventually(() => gone.length > 0, { what: 'the row may go' });
  expect(gone).toEqual([[1, 'order/a/2/outcome']]);
  outbox.stop();
});

test('rows that can never be published are handed on, and are not held: 16,000 of them stop nothing', async () => {
  const { bus, bodies } = hangingBus();
  const refused: string[] = [];
  const outbox = outboxOn(bus, {
    refused: ({ row, done, error }) => {
      expect({ done, code: error.code }).toEqual({ done: row.messageId, code: 'bad_subject' });
      refused.push(row.messageId);
    },
  });
  // As older versions left them.
  outbox.resume(
    Array.from({ length: 16_000 }, (_, n) => ({ ...row('a', `${n + 1}/0`, ''), type: 'a.b' })),
  );
  outbox.relay([row('a', '16001/0', 'm')]);
  await eventually(() => refused.length === 16_000, { what: 'all are refused' });
  await eventually(() => bodies().length === 1, { what: 'what can be published is' });
  expect({ held: outbox.held, full: outbox.isFull }).toEqual({ held: 1, full: false });
  outbox.stop();
});

test.each(['bad_subject', 'bad_event', 'body_too_large'] satisfies ErrorCode[])(
  'a message that JetStream refuses for good (%s) does not hold up the next one',
  async (code) => {
    const sent: string[] = [];
    const bus = {
      publish: async (_subject: string, body: string) => {
        sent.push(body);
        if (body === 'a 1/0') throw new PerdureError(code, 'never');
        return { seq: 1, duplicate: false };
      },
    } as unknown as Bus;
    const refused: unknown[] = [];
    const outbox = outboxOn(bus, { refused: ({ done }) => void refused.push(done) });
    outbox.relay([row('a', '1/0', 'm'), row('a', '1/1', 'm')]);
    await eventually(() => outbox.held === 0, { what: 'both have ended' });
    expect({ sent, refused }).toEqual({ sent: ['a 1/0', 'a 1/1'], refused: ['order/a/1/0'] });
    outbox.stop();
  },
);

test('a bundle goes when its last outcome is published or refused', async () => {
  const outcomes = ['x', 'y', 'z'].map(
    (id): OutboxRow => ({ ...row(id, '2/outcome', id), kind: 'outcome' }),
  );
  bundled(outcomes);
  const bus = {
    publish: async (subject: string) => {
      if (!subject.endsWith('.z')) throw new PerdureError('body_too_large', 'never');
      return { seq: 1, duplicate: false };
    },
  } as unknown as Bus;
  const done: unknown[] = [];
  const outbox = outboxOn(bus, {
    refused: (refused) => void done.push([refused.row.id, refused.done]),
    published: (_shard, messageId) => void done.push(['published', messageId]),
  });
  outbox.relay(outcomes);
  await eventually(() => outbox.held === 0, { what: 'all have ended' });
  expect(done).toEqual([
    ['x', undefined],
    ['y', undefined],
    ['published', 'order/x/2/outcome'],
  ]);
  outbox.stop();
});
