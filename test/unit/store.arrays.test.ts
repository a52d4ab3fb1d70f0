import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { boolArray, byteaArray, int4Array, int8Array, textArray } from '../../src/store/arrays.ts';
import { freshDatabase } from '../support/services.ts';

let database: Awaited<ReturnType<typeof freshDatabase>>;
let client: pg.Client;
beforeAll(async () => {
  database = await freshDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await database.drop();
});

/** What Postgres makes of the array: its elements as text, null kept. */
async function elements(type: string, array: Buffer): Promise<(string | null)[]> {
  const { rows } = await client.query<{ element: string | null }>(
    `SELECT element::text FROM unnest($1::${type}[]) WITH ORDINALITY AS e (element, n) ORDER BY n`,
    [array],
  );
  return rows.map(({ element }) => element);
}

const same = <T>(value: T): T => value;

test('texts of any kind arrive as they are', async () => {
  const texts = [
    '',
    'plain',
    'a"b\'c',
    '\\',
    '{,}',
    'NULL',
    null,
    'é漢字🚀',
    ' \n\t ',
    'x'.repeat(70_000),
  ];
  expect(await elements('text', textArray(texts, same))).toEqual(texts);
  expect(await elements('text', textArray(['ä'], same))).toEqual(['ä']);
});

test('a raw NUL, which text cannot hold, becomes the replacement character', async () => {
  expect(await elements('text', textArray(['a\0b\0', '\\u0000'], same))).toEqual([
    'a\uFFFDb\uFFFD',
    '\\u0000',
  ]);
});

test('half of a surrogate pair becomes the replacement character', async () => {
  expect(await elements('text', textArray(['a\uD83Db'], same))).toEqual(['a\uFFFDb']);
});

test('whole numbers of every size arrive exactly', async () => {
  const numbers = [
    0,
    1,
    -1,
    2 ** 31,
    -(2 ** 31),
    2 ** 32,
    -(2 ** 32) - 1,
    2 ** 53 - 1,
    1 - 2 ** 53,
  ];
  expect(await elements('int8', int8Array(numbers, same))).toEqual(numbers.map(String));
  const small = [0, 7, -7, 2 ** 31 - 1, -(2 ** 31)];
  expect(await elements('int4', int4Array(small, same))).toEqual(small.map(String));
});

test('what is not a whole number below 2^53 is refused', () => {
  for (const number of [1.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY])
    expect(() => int8Array([number], same)).toThrow(RangeError);
});

test('booleans and bytes arrive as they are', async () => {
  expect(await elements('bool', boolArray([true, false], same))).toEqual(['true', 'false']);
  const bytes = [Uint8Array.of(0, 255, 0x5c), new Uint8Array(0)];
  expect(await elements('bytea', byteaArray(bytes, same))).toEqual(['\\x00ff5c', '\\x']);
});

test('an array of nothing is empty', async () => {
  const nothing: [string, Buffer][] = [
    ['text', textArray([], String)],
    ['int4', int4Array([], Number)],
    ['int8', int8Array([], Number)],
    ['bool', boolArray([], Boolean)],
    ['bytea', byteaArray([], () => new Uint8Array())],
  ];
  for (const [type, array] of nothing) {
    const { rows } = await client.query(`SELECT cardinality($1::${type}[]) AS size`, [array]);
    expect(rows).toEqual([{ size: 0 }]);
  }
});
