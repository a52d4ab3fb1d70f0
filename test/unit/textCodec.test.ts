import { describe, expect, test } from 'vitest';
import { compressing, encrypting } from '../../examples/codec.ts';
import { parse, stringify } from '../../src/actors/codec.ts';
import { isWrapped, type TextCodec, unwrap, unwrapValue, wrap } from '../../src/textCodec.ts';

const key = (name: string) => `${name}:${Buffer.alloc(32, name).toString('base64')}`;
const texts = ['{}', 'null', '"\\u0000\\ud800 ü 🎉"', JSON.stringify({ a: 'x'.repeat(5_000) })];

describe.each<[string, Required<TextCodec>]>([
  ['AES-GCM', encrypting(key('one'))],
  ['deflate', compressing],
])('%s', (_, codec) => {
  test.each(texts)('gives back %.40s, and is JSON in between', (text) => {
    const wrapped = wrap(codec, text);
    expect(isWrapped(wrapped)).toBe(true);
    expect(Object.keys(JSON.parse(wrapped))).toEqual(['$perdure', 'v']);
    expect(unwrap(codec, wrapped)).toBe(text);
    expect(unwrapValue(codec, JSON.parse(wrapped))).toEqual(JSON.parse(text));
  });
});

test('texts from before there was a codec are read as they are', () => {
  for (const text of texts) expect(unwrap(encrypting(key('one')), text)).toBe(text);
  expect(unwrapValue(compressing, { a: 1 })).toEqual({ a: 1 });
});

test('a new key writes, and the old one still reads', () => {
  const old = wrap(encrypting(key('one')), '{"a":1}');
  const both = encrypting(`${key('two')},${key('one')}`);
  expect(unwrap(both, old)).toBe('{"a":1}');
  expect(() => unwrap(encrypting(key('one')), wrap(both, '{}'))).toThrow(/no key two/);
});

const noise: TextCodec = { wrap: (text) => text, unwrap: () => '\u0001' };
test.each<[string, TextCodec | undefined, RegExp]>([
  ['no codec', undefined, /no codec here/],
  ['another key', encrypting(`one:${Buffer.alloc(32, 9).toString('base64')}`), /cannot be opened/],
  ['a codec that makes noise of it', noise, /no JSON/],
  ['one that answers no text', { ...noise, unwrap: () => ({}) as string }, /a string at once/],
])('%s is told as codec_failed', (_, codec, words) => {
  const wrapped = wrap(encrypting(key('one')), '{"a":1}');
  expect(() => unwrap(codec, wrapped)).toThrow(
    expect.objectContaining({ code: 'codec_failed', message: expect.stringMatching(words) }),
  );
});

test('a codec that cannot wrap says so', () => {
  expect(() => wrap(encrypting(''), '{}')).toThrow(
    expect.objectContaining({
      code: 'codec_failed',
      message: expect.stringMatching(/wrap a text: CODEC_KEYS is empty/),
    }),
  );
  const late = { wrap: async () => 'x', unwrap: () => '' } as unknown as Required<TextCodec>;
  expect(() => wrap(late, '{}')).toThrow(/a string at once/);
});

test('nothing of a user’s can look as if it was wrapped', () => {
  const forged = { $perdure: 'wrapped', v: 'x' };
  expect(() => stringify(forged, 'output', 64)).toThrow(/reserved key/);
  expect(() => parse(JSON.stringify({ type: 'PAY', data: forged }))).toThrow(
    expect.objectContaining({ code: 'codec_failed' }),
  );
});
