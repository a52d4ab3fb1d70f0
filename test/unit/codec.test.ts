import { describe, expect, test } from 'vitest';
import { encode, errorSummary, parse, stringify } from '../../src/actors/codec.ts';
import { asError, PerdureError } from '../../src/errors.ts';
import { randomFrom } from '../support/cluster.ts';
import { seed } from '../support/services.ts';

const NESTING = 64;
const roundTrip = (value: unknown) => parse(stringify(value, 'value', NESTING));

describe('what a row can hold comes back as it was', () => {
  test.each([
    ['null', null],
    ['text', 'a "quoted" \u0000 \u2028 ü 😀'],
    ['numbers', [0, 1.5, -1e300, Number.MAX_SAFE_INTEGER]],
    ['not a number', [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]],
    ['big integers', { a: 10n ** 40n, b: -1n }],
    ['dates', { at: new Date('2026-02-28T12:00:00.123Z'), never: new Date(Number.NaN) }],
    [
      'maps',
      new Map<unknown, unknown>([
        ['a', 1],
        [{ k: 1 }, new Map([[1, new Date(0)]])],
      ]),
    ],
    ['sets', new Set([1, 'a', { b: new Set([2n]) }])],
    [
      'bytes',
      {
        a: new Uint8Array([0, 255, 7]),
        none: new Uint8Array(),
        b: new DataView(new ArrayBuffer(2)),
      },
    ],
    ['a part of a buffer', new Uint8Array([1, 2, 3, 4]).subarray(1, 3)],
    [
      'typed arrays',
      [new Float64Array([0.1, Number.NaN]), new BigInt64Array([-5n]), new Uint16Array([1, 65535])],
    ],
    ['an array buffer', new Uint8Array([1, 2, 3]).buffer],
    ['nested', { a: [{ b: { c: [[], {}, [null]] } }] }],
    ['a word that looks like the tag', { text: '"$perdure"', list: ['$perdure'] }],
    ['odd keys', { '': 1, constructor: 2, toString: 3, 'a.b': 4, 7: 5 }],
  ])('%s', (_, value) => {
    expect(roundTrip(value)).toEqual(value);
    // Twice gives the same bytes: histories are compared by them.
    expect(stringify(roundTrip(value), 'value', NESTING)).toBe(stringify(value, 'value', NESTING));
  });

  test('an error, with what it carries', () => {
    const cause = new RangeError('below');
    const error = Object.assign(new TypeError('above', { cause }), {
      code: 'E_X',
      details: { at: new Date(5) },
      handler: () => 1,
    });
    const back = roundTrip(error) as TypeError & { code: string; details: unknown };
    expect(back).toBeInstanceOf(Error);
    expect(back).toMatchObject({ name: 'TypeError', message: 'above', code: 'E_X' });
    expect(back.details).toEqual({ at: new Date(5) });
    expect(back.stack).toBe(error.stack);
    expect((back.cause as Error).message).toBe('below');
    // What cannot be carried is left out; the error still counts.
    expect('handler' in back).toBe(false);
  });

  test('bug: errors that hang below themselves, or below each other, took for ever', () => {
    const own = new Error('own') as Error & { more?: unknown; self?: unknown; meta?: unknown };
    own.more = 1;
    own.self = own;
    own.cause = own;
    own.meta = { error: own };
    expect(roundTrip(own)).toMatchObject({ message: 'own', more: 1 });
    const [a, b] = [new Error('a'), new Error('b')] as (Error & Record<string, unknown>)[];
    Object.assign(a as Error, { cause: b, other: b });
    Object.assign(b as Error, { cause: a, other: a });
    const back = roundTrip(a) as Error & { other: Error };
    expect([back.message, (back.cause as Error).message, back.other.message]).toEqual([
      'a',
      'b',
      'b',
    ]);
    let chain: Error & { inner?: Error } = new Error('0');
    for (let n = 1; n < 40; n++) {
      const above: Error & { inner?: Error } = new Error(String(n));
      // Assigned it is listed among its own properties as well.
      above.cause = chain;
      above.inner = chain;
      chain = above;
    }
    const from = performance.now();
    expect(roundTrip(chain)).toMatchObject({ message: '39' });
    expect(performance.now() - from).toBeLessThan(5_000);
  });

  test('an object without a prototype', () => {
    expect(roundTrip(Object.assign(Object.create(null), { a: 1 }))).toEqual({ a: 1 });
  });

  test('values made at random', () => {
    const random = randomFrom(seed());
    const whole = (below: number) => Math.floor(random() * below);
    const made = (room: number): unknown => {
      switch (whole(room > 0 ? 11 : 7)) {
        case 0:
          return null;
        case 1:
          return random() < 0.5;
        case 2:
          return (random() - 0.5) * 10 ** whole(300);
        case 3:
          return String.fromCharCode(...Array.from({ length: whole(6) }, () => 1 + whole(0xd7fe)));
        case 4:
          return BigInt(whole(1e9)) ** BigInt(1 + whole(5));
        case 5:
          return new Date(whole(2 ** 40));
        case 6:
          return [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY][whole(3)];
        case 7:
          return Array.from({ length: whole(4) }, () => made(room - 1));
        case 8:
          return new Map(Array.from({ length: whole(4) }, () => [made(0), made(room - 1)]));
        case 9:
          return new Set(Array.from({ length: whole(4) }, () => made(room - 1)));
        default:
          return Object.fromEntries(
            Array.from({ length: whole(4) }, (_, n) => [`k${n}${whole(9)}`, made(room - 1)]),
          );
      }
    };
    for (let n = 0; n < 500; n++) {
      const value = made(4);
      expect(roundTrip(value)).toEqual(value);
    }
  });
});

test('nothing is copied where nothing had to change', () => {
  const plain = { a: [1, { b: 'x' }], c: null };
  expect(encode(plain, 'value', NESTING)).toBe(plain);
  const mixed = { plain, date: new Date(0) };
  const encoded = encode(mixed, 'value', NESTING) as typeof mixed;
  expect(encoded).not.toBe(mixed);
  expect(encoded.plain).toBe(plain);
  // And what was given is left alone.
  expect(mixed.date).toBeInstanceOf(Date);
});

class Point {
  x = 1;
}

describe('what no row can hold is refused, with its place', () => {
  const cycle: Record<string, unknown> = { deep: {} };
  (cycle.deep as Record<string, unknown>).back = cycle;
  test.each([
    ['a function', { a: [0, { f: () => 1 }] }, 'value.a[1].f is a function'],
    ['a symbol', { a: Symbol('s') }, 'value.a is a symbol'],
    ['an instance', { a: new Point() }, 'value.a is an instance of Point'],
    ['a promise', [Promise.resolve()], 'value[0] is an instance of Promise'],
    ['a weak map', { a: new WeakMap() }, 'value.a is an instance of WeakMap'],
    ['a regular expression', { a: /x/ }, 'value.a is an instance of RegExp'],
    [
      'a function in a map',
      { m: new Map([['k', () => 1]]) },
      'value.m.entries()[0][1] is a function',
    ],
    ['a function in a set', { s: new Set([() => 1]) }, 'value.s.values()[0] is a function'],
    ['a cycle', cycle, 'is nested too deeply, or contains itself'],
    ['the reserved key', { a: { $perdure: 1 } }, 'value.a has the reserved key $perdure'],
    ['an object of an anonymous class', { a: new (class {})() }, 'value.a is an instance of'],
  ])('%s', (_, value, words) => {
    const refusal = (() => {
      try {
        stringify(value, 'value', NESTING);
      } catch (error) {
        return error;
      }
    })();
    expect(refusal).toBeInstanceOf(PerdureError);
    expect(refusal).toMatchObject({ code: 'not_serialisable' });
    expect((refusal as Error).message).toContain(words);
  });

  test('nesting beyond the limit', () => {
    const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);
    expect(() => stringify(nested(NESTING), 'value', NESTING)).not.toThrow();
    expect(() => stringify(nested(NESTING + 1), 'value', NESTING)).toThrow(/nested too deeply/);
  });
});

describe('text from outside', () => {
  test.each([
    '{"$perdure":"Map","v":5}',
    '{"$perdure":"Set","v":7}',
    '{"$perdure":"BigInt","v":"x"}',
    '{"$perdure":"Error","v":null}',
    '{"$perdure":"Date","v":"nope"}',
    '{"$perdure":"Later","v":1}',
    '{"a":',
    '',
    'undefined',
  ])('%s is no JSON of ours and throws', (text) => {
    expect(() => parse(text)).toThrow();
  });

  test('an error cannot be given another prototype', () => {
    const text =
      '{"e":{"$perdure":"Error","v":{"name":"E","message":"m","__proto__":{"admin":true}}}}';
    let value: { e?: unknown } = {};
    try {
      value = parse(text) as { e: unknown };
    } catch {
      // Refusing it is as good.
    }
    expect((value.e as { admin?: boolean } | undefined)?.admin).toBeUndefined();
    if (value.e !== undefined) expect(value.e).toBeInstanceOf(Error);
  });
});

describe('a summary of what was thrown', () => {
  const hostile = (what: 'name' | 'message') =>
    Object.defineProperty(new Error('x'), what, {
      get() {
        throw new Error('no');
      },
    });

  test.each([
    ['an error', new TypeError('t'), { name: 'TypeError', message: 't' }],
    [
      'an error with a code',
      new PerdureError('timeout', 't'),
      { name: 'PerdureError', message: 't', code: 'timeout' },
    ],
    ['text', 'words', { name: 'Error', message: 'words' }],
    ['nothing', undefined, { name: 'Error', message: 'undefined' }],
    ['data', { a: 1 }, { name: 'Error', message: '{"a":1}' }],
  ])('%s', (_, thrown, summary) => {
    expect(errorSummary(thrown)).toEqual(summary);
  });

  test('is bounded, and never throws itself', () => {
    expect(errorSummary(new Error('x'.repeat(1e6))).message.length).toBeLessThan(5_000);
    expect(errorSummary('x'.repeat(1e6)).message.length).toBeLessThan(5_000);
    for (const thrown of [
      hostile('name'),
      hostile('message'),
      Object.create(null),
      Object.assign(new Error('x'), { name: 1n }),
      Object.assign(new Error('x'), { name: Symbol('s') }),
      new Proxy(
        {},
        {
          get() {
            throw new Error('no');
          },
          getPrototypeOf() {
            throw new Error('no');
          },
        },
      ),
    ]) {
      const summary = errorSummary(thrown);
      expect(typeof summary.name).toBe('string');
      expect(typeof summary.message).toBe('string');
      expect(() => asError(thrown)).not.toThrow();
    }
  });
});
