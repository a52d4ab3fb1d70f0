/**
 * One-dimensional Postgres arrays in binary format. pg sends a Buffer parameter as binary, which spares both
 * sides the quoting and parsing of array literals: the larger part of a commit's cost otherwise.
 *
 * Layout (PostgreSQL, src/backend/utils/adt/arrayfuncs.c, array_recv): dimensions, has-null flag, element oid,
 * then length and lower bound of each dimension, then each element as length (-1: null) and bytes.
 */

const BOOL = 16;
const BYTEA = 17;
const INT8 = 20;
const INT4 = 23;
const TEXT = 25;
const HEADER_BYTES = 20;
/** Bytes of a UTF-16 unit: counting them beforehand costs as much as writing them, and what is not touched takes no memory. */
const UTF8_MAX = 3;
const TWO_POW_32 = 2 ** 32;

function empty(elementOid: number): Buffer {
  const buffer = Buffer.alloc(12);
  buffer.writeInt32BE(elementOid, 8);
  return buffer;
}

function header(elementOid: number, count: number, hasNull: boolean, dataBytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(HEADER_BYTES + dataBytes);
  buffer.writeInt32BE(1, 0);
  buffer.writeInt32BE(hasNull ? 1 : 0, 4);
  buffer.writeInt32BE(elementOid, 8);
  buffer.writeInt32BE(count, 12);
  buffer.writeInt32BE(1, 16);
  return buffer;
}

export function int4Array<Row>(rows: readonly Row[], value: (row: Row) => number): Buffer {
  if (rows.length === 0) return empty(INT4);
  const buffer = header(INT4, rows.length, false, rows.length * 8);
  let at = HEADER_BYTES;
  for (const row of rows) {
    at = buffer.writeInt32BE(4, at);
    at = buffer.writeInt32BE(value(row), at);
  }
  return buffer;
}

/** Whole numbers of either sign below 2^53. @throws RangeError for anything else. */
export function int8Array<Row>(rows: readonly Row[], value: (row: Row) => number): Buffer {
  if (rows.length === 0) return empty(INT8);
  const buffer = header(INT8, rows.length, false, rows.length * 12);
  let at = HEADER_BYTES;
  for (const row of rows) {
    const number = value(row);
    if (!Number.isSafeInteger(number)) throw new RangeError(`${number} is not a whole number.`);
    at = buffer.writeInt32BE(8, at);
    const high = Math.floor(number / TWO_POW_32);
    at = buffer.writeInt32BE(high, at);
    at = buffer.writeUInt32BE(number - high * TWO_POW_32, at);
  }
  return buffer;
}

export function boolArray<Row>(rows: readonly Row[], value: (row: Row) => boolean): Buffer {
  if (rows.length === 0) return empty(BOOL);
  const buffer = header(BOOL, rows.length, false, rows.length * 5);
  let at = HEADER_BYTES;
  for (const row of rows) {
    at = buffer.writeInt32BE(1, at);
    at = buffer.writeUInt8(value(row) ? 1 : 0, at);
  }
  return buffer;
}

/** A raw NUL, which Postgres' text cannot hold, becomes U+FFFD: one odd header must not block a commit for ever. */
export function textArray<Row>(rows: readonly Row[], value: (row: Row) => string | null): Buffer {
  if (rows.length === 0) return empty(TEXT);
  const texts: (string | null)[] = new Array(rows.length);
  let hasNull = false;
  let bytesMax = rows.length * 4;
  for (let i = 0; i < rows.length; i++) {
    let text = value(rows[i] as Row);
    if (text === null) hasNull = true;
    else {
      if (text.includes('\0')) text = text.replaceAll('\0', '\uFFFD');
      bytesMax += text.length * UTF8_MAX;
    }
    texts[i] = text;
  }
  const buffer = header(TEXT, rows.length, hasNull, bytesMax);
  let at = HEADER_BYTES;
  for (const text of texts) {
    if (text === null) at = buffer.writeInt32BE(-1, at);
    else {
      const written = buffer.write(text, at + 4);
      buffer.writeInt32BE(written, at);
      at += 4 + written;
    }
  }
  return buffer.subarray(0, at);
}

export function byteaArray<Row>(rows: readonly Row[], value: (row: Row) => Uint8Array): Buffer {
  if (rows.length === 0) return empty(BYTEA);
  const bytes = rows.reduce((sum, row) => sum + 4 + value(row).byteLength, 0);
  const buffer = header(BYTEA, rows.length, false, bytes);
  let at = HEADER_BYTES;
  for (const row of rows) {
    const data = value(row);
    at = buffer.writeInt32BE(data.byteLength, at);
    buffer.set(data, at);
    at += data.byteLength;
  }
  return buffer;
}
