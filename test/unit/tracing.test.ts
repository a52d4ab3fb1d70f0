import type { SpanContext } from '@opentelemetry/api';
import { describe, expect, test } from 'vitest';
import { traceHeaders, traceIn, traceOfRow, withTrace } from '../../src/actors/tracing.ts';
import { startTracing } from '../../src/nodeTracing.ts';
import type { StoredTransition } from '../../src/store/store.ts';
import { publishTraced, readTrace, traceOfHeaders, writeTrace } from '../../src/tracing.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SPAN = 'b7ad6b7169203331';
const PARENT = `00-${TRACE}-${SPAN}-01`;
const ENVELOPE = '{"machine":"m","snapshot":{"context":{"trace":"a","b":"c"}}}';

describe('a trace in an envelope', () => {
  test('is found again, also with what JSON has to escape', () => {
    const trace = `${PARENT} shop="1"\\,b=2`;
    const written = withTrace(ENVELOPE, trace);
    expect(traceIn(written)).toBe(trace);
    expect(JSON.parse(written)).toEqual({ ...JSON.parse(ENVELOPE), trace });
  });

  test('is not what looks like one in a context', () => expect(traceIn(ENVELOPE)).toBeUndefined());

  test('tells of an outbox row that an earlier owner has left where it belongs', async () => {
    const asked: unknown[] = [];
    const store = {
      transitions: async (...given: unknown[]) => {
        asked.push(given);
        return [{ snapshot: withTrace(ENVELOPE, PARENT) } as StoredTransition];
      },
    };
    const row = { messageId: 'order/o-1/7/0', kind: 'send', type: 'mail', id: 'm' } as const;
    expect(await traceOfRow(store, { ...row, body: '{}', shard: 1 })).toBe(PARENT);
    expect(asked).toEqual([[{ type: 'order', id: 'o-1' }, 7, 1]]);
  });
});

describe('headers of a trace', () => {
  test('are read and written as W3C has them', () => {
    const text = traceOfHeaders(PARENT, 'a=1,b=2');
    expect(text).toBe(`${PARENT} a=1,b=2`);
    const context = readTrace(text) as SpanContext;
    expect(context).toMatchObject({ traceId: TRACE, spanId: SPAN, traceFlags: 1, isRemote: true });
    expect(writeTrace(context)).toBe(text);
    expect(traceHeaders(text as string)).toEqual({ traceparent: PARENT, tracestate: 'a=1,b=2' });
    expect(traceHeaders(PARENT)).toEqual({ traceparent: PARENT });
    expect(writeTrace({ traceId: TRACE, spanId: SPAN, traceFlags: 0 })).toBe(
      `00-${TRACE}-${SPAN}-00`,
    );
  });

  test('of a newer version are read as far as they are known', () => {
    const text = traceOfHeaders(`01-${TRACE}-${SPAN}-01-more`, null);
    expect(readTrace(text)).toMatchObject({ traceId: TRACE, spanId: SPAN });
  });

  test.each([
    ['nothing', null],
    ['words', 'hello'],
    ['zeros', `00-${'0'.repeat(32)}-${SPAN}-01`],
    ['the version there will never be', `ff-${TRACE}-${SPAN}-01`],
    ['capitals', `00-${TRACE.toUpperCase()}-${SPAN}-01`],
    ['too much', `${PARENT}${'0'.repeat(10)}`],
    ['two lines', `${PARENT}\n${PARENT}`],
  ])('that hold %s are none', (_, parent) => expect(traceOfHeaders(parent, 'a=1')).toBeUndefined());

  test('drop a state that is too long', () =>
    expect(traceOfHeaders(PARENT, `a=${'1'.repeat(600)}`)).toBe(PARENT));
});

test('without an SDK there is no tracing to call, and a client adds nothing to what it publishes', async () => {
  expect(startTracing('n')).toBeUndefined();
  const about = { type: 'order', id: 'o', messageId: 'm', subject: 's' };
  expect(await publishTraced(about, async (headers) => headers)).toBeUndefined();
});
