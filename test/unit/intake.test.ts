import { describe, expect, test } from 'vitest';
import { eventProblem, type Refusal, type Request, readMessage } from '../../src/actors/intake.ts';
import type { LogMessage } from '../../src/bus/bus.ts';
import { LIMITS } from '../../src/config.ts';

const limits = { ...LIMITS, bodyMaxBytes: 1_000, nestingMax: 5 };

function read(
  subject: string,
  body: string | Uint8Array,
  given: { messageId?: string; headers?: Record<string, string> } = {},
): Request | Refusal {
  const headers = given.headers ?? {};
  const message: LogMessage = {
    shard: 3,
    seq: 77,
    subject,
    body: typeof body === 'string' ? Buffer.from(body) : body,
    messageId: given.messageId ?? null,
    publishedAt: null,
    header: (name) => headers[name] ?? null,
    headers: () => headers,
    ack() {},
  };
  return readMessage(message, 'cafe0123', limits);
}

test('a start, with and without input', () => {
  expect(read('jobs.order.o-1', '{"total":30}', { messageId: 'm' })).toEqual({
    ok: true,
    kind: 'start',
    address: { type: 'order', id: 'o-1' },
    eventId: 'm',
    outboxId: null,
    text: '{"total":30}',
    value: { total: 30 },
  });
  expect(read('jobs.order.o-1', '')).toMatchObject({ ok: true, text: '', value: undefined });
  expect(read('jobs.order.o-1', 'null')).toMatchObject({ ok: true, text: 'null', value: null });
  expect(read('jobs.order.o-1', '"just text"')).toMatchObject({ ok: true, value: 'just text' });
});

test('an event; what codes a value JSON has no word for is decoded', () => {
  expect(
    read(
      'events.order.o-1',
      '{"type":"AT","when":{"$perdure":"Date","v":"2026-01-01T00:00:00.000Z"}}',
    ),
  ).toMatchObject({
    ok: true,
    kind: 'event',
    value: { type: 'AT', when: new Date('2026-01-01T00:00:00.000Z') },
  });
});

test('what an event is known by: the sender’s row, the message id, or its place in the log', () => {
  const body = '{"type":"A"}';
  expect(read('events.a.b', body)).toMatchObject({ eventId: 'cafe0123.77' });
  expect(read('events.a.b', body, { messageId: 'm' })).toMatchObject({ eventId: 'm' });
  expect(
    read('events.a.b', body, { messageId: 'm', headers: { 'Perdure-Outbox': 'x/y/3/0' } }),
  ).toMatchObject({ eventId: 'x/y/3/0', outboxId: 'x/y/3/0' });
});

describe('refused:', () => {
  test.each([
    ['another first word', 'tasks.order.o-1', '{}', 'bad_subject'],
    ['a word too many', 'jobs.order.o.1', '{}', 'bad_subject'],
    ['a word too few', 'jobs.order', '{}', 'bad_subject'],
    ['an empty id', 'jobs.order.', '{}', 'bad_subject'],
    ['a type with a strange letter', 'jobs.örder.o-1', '{}', 'bad_subject'],
    ['an id with an @', 'jobs.order.a@b', '{}', 'bad_subject'],
    ['an id that is too long', `jobs.order.${'x'.repeat(129)}`, '{}', 'bad_subject'],
    ['a body that is too long', 'jobs.order.a', `"${'x'.repeat(999)}"`, 'body_too_large'],
    ['half a body', 'jobs.order.a', '{"a":', 'bad_body'],
    ['a body after the body', 'jobs.order.a', '{} {}', 'bad_body'],
    ['bytes that are no text', 'jobs.order.a', Uint8Array.of(0x22, 0xc3, 0x22), 'bad_body'],
    ['a body that is too deep', 'jobs.order.a', '[[[[[[1]]]]]]', 'bad_body'],
    [
      'a map that is too deep',
      'jobs.order.a',
      '{"$perdure":"Map","v":[[1,[[[[[[]]]]]]]]}',
      'bad_body',
    ],
    ['__proto__', 'jobs.order.a', '{"a":{"__proto__":{}}}', 'bad_body'],
    ['__proto__ in an array', 'jobs.order.a', '[{"__proto__":1}]', 'bad_body'],
    ['__proto__, escaped', 'jobs.order.a', '{"\\u005f_proto__":1}', 'bad_body'],
    [
      'a tag that does not hold what it says',
      'jobs.order.a',
      '{"$perdure":"BigInt","v":"x"}',
      'bad_body',
    ],
    ['an event without a body', 'events.order.a', '', 'bad_body'],
    ['an event that is a list', 'events.order.a', '[]', 'bad_event'],
    ['an event without a type', 'events.order.a', '{}', 'bad_event'],
    ["XState's own", 'events.order.a', '{"type":"xstate.init"}', 'bad_event'],
    ["Perdure's own", 'events.order.a', '{"type":"perdure.fail"}', 'bad_event'],
  ])('%s', (_, subject, body, reason) => {
    const refusal = read(subject, body);
    expect(refusal).toMatchObject({ ok: false, reason });
    expect((refusal as Refusal).detail.length).toBeGreaterThan(10);
    expect((refusal as Refusal).detail.length).toBeLessThan(500);
  });

  test.each([
    ['', false],
    ['m'.repeat(513), true],
    ['a\nb', true],
    ['!timer:1:x', true],
  ] as const)('the message id %j: %s', (messageId, refused) => {
    expect(read('jobs.order.a', '{}', { messageId }).ok).toBe(!refused);
  });

  test('a refused message of another actor still says whose it was', () => {
    expect(read('events.order.a', '{', { headers: { 'Perdure-Outbox': 'x/y/1/0' } })).toMatchObject(
      {
        ok: false,
        outboxId: 'x/y/1/0',
      },
    );
  });
});

test('what is at the limit is taken', () => {
  expect(read('jobs.order.a', `"${'x'.repeat(998)}"`).ok).toBe(true);
  expect(read('jobs.order.a', '[[[[[1]]]]]').ok).toBe(true);
  expect(read(`jobs.${'x'.repeat(128)}.${'y'.repeat(128)}`, '{}').ok).toBe(true);
});

test('the one event of ours that may come from outside is the cancel', () => {
  expect(eventProblem({ type: 'perdure.cancel' })).toBeUndefined();
  for (const type of [
    'perdure.fail',
    'perdure.send',
    'perdure.x',
    'xstate.stop',
    '*',
    '',
    'a\u0000',
  ])
    expect(eventProblem({ type })).toBeTypeOf('string');
  expect(eventProblem({ type: 'x'.repeat(256) })).toBeUndefined();
  expect(eventProblem({ type: 'x'.repeat(257) })).toBeTypeOf('string');
});

test('a reference to what can be no actor is refused, wherever it stands', () => {
  const ref = (to: object) => ({ $perdure: 'Ref', v: to });
  const bad = [
    { type: 'a.b', id: '../' },
    { type: 'order', id: '' },
    { type: 'mailer', id: 'user@example.com' },
    { type: 'order', id: 'o-1.child', child: 'c' },
    { type: 'order', id: '*', child: 'c' },
    { type: 'order', id: '>', invoke: { id: 'i', seq: 1 } },
    { type: 'x'.repeat(129), id: 'o-1' },
    { type: 'order', id: 'o'.repeat(129) },
  ];
  for (const to of bad) {
    const refused = {
      ok: false,
      reason: 'bad_body',
      detail: expect.stringContaining('no actor can be'),
    };
    expect(read('jobs.order.o-1', JSON.stringify(ref(to)))).toMatchObject(refused);
    const event = { type: 'TELL', deep: [{ $perdure: 'Set', v: [ref(to)] }] };
    expect(read('events.order.o-1', JSON.stringify(event))).toMatchObject(refused);
    const sent = { type: 'perdure.for', to: ref(to), event: { type: 'A' } };
    const headers = { 'Perdure-Outbox': 'order/o-2/1/0' };
    expect(read('events.order.o-1', JSON.stringify(sent), { headers })).toMatchObject(refused);
  }
  const good = [
    { type: 'order', id: 'o-1' },
    { type: 'order', id: 'o-1.mid:1~002f-12.low-3', child: 'any / one' },
    { type: 'order', id: 'o-1', invoke: { id: '0.order.paying', seq: 3 } },
  ];
  for (const to of good)
    expect(read('events.order.o-1', JSON.stringify({ type: 'TELL', to: ref(to) }))).toMatchObject({
      ok: true,
    });
});

test('what is for one of a family is taken on the subject of that family alone', () => {
  const to = { $perdure: 'Ref', v: { type: 'order', id: 'o-1.mid-2' } };
  const body = JSON.stringify({ type: 'perdure.for', to, event: { type: 'A' } });
  const headers = { 'Perdure-Outbox': 'order/o-2/1/0' };
  expect(read('events.order.o-1', body, { headers })).toMatchObject({
    ok: true,
    address: { type: 'order', id: 'o-1.mid-2' },
  });
  for (const subject of ['events.order.o-2', 'events.shop.o-1'])
    expect(read(subject, body, { headers })).toMatchObject({ ok: false, reason: 'bad_event' });
});
