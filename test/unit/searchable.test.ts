import { expect, test } from 'vitest';
import { searchableIn } from '../../src/actors/searchable.ts';

const address = { type: 'order', id: 'o-1' };
const found = (fields: string[], input: unknown) =>
  Object.fromEntries(
    searchableIn(fields, address, input).map(({ field, value }) => [field, value]),
  );

test('texts, numbers and booleans are written as people type them', () => {
  const input = { id: 'c-1', total: 30.5, gift: false, other: 'no' };
  expect(found(['id', 'total', 'gift'], input)).toEqual({
    id: 'c-1',
    total: '30.5',
    gift: 'false',
  });
});

test('what nobody could type is left out, and the rest is found all the same', () => {
  const input = { none: null, list: [1], deep: { id: 1 }, empty: '', long: 'x'.repeat(257) };
  expect(found([...Object.keys(input), 'missing', 'id'], { ...input, id: 7 })).toEqual({ id: '7' });
  expect(found(['max'], { max: 'x'.repeat(256) })).toEqual({ max: 'x'.repeat(256) });
  for (const nothing of [undefined, null, 'text', 7])
    expect(found(['length'], nothing)).toEqual({});
});

test('what an object inherits is none of its fields', () => {
  expect(found(['constructor', '__proto__', 'toString'], {})).toEqual({});
});
