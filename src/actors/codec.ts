import { PerdureError } from '../errors.ts';
import { cannotOpen } from '../textCodec.ts';
import { isPossible } from './kin.ts';
import { peer, type Target, targetOf } from './refs.ts';

/**
 * What crosses a process boundary is JSON, plus a few values JSON has no word for, written as
 * `{"$perdure": kind, "v": …}`: Date, BigInt, Map, Set, Error, ArrayBuffer and its views (as base64), NaN, ±Infinity,
 * undefined, and references to durable actors. Everything else (functions, symbols, class instances, cycles) is refused
 * with its path, rather than turned into something else.
 */
export const TAG = '$perdure';
const TAG_IN_TEXT = `"${TAG}"`;
const REF_IN_TEXT = `${TAG_IN_TEXT}:"Ref"`;

type Tagged = { [TAG]: string; v: unknown };

/**
 * A JSON-safe equivalent of `value`; the very same object where nothing had to change.
 * @throws PerdureError `not_serialisable` with the path of the value that cannot be carried.
 */
export function encode(value: unknown, path: string, nestingMax: number): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return value;
    case 'number':
      return Number.isFinite(value) ? value : tagged('Number', String(value));
    case 'bigint':
      return tagged('BigInt', String(value));
    case 'object':
      return value === null ? null : encodeObject(value, path, nestingMax);
    default:
      throw refusal(path, `is a ${typeof value}`);
  }
}

/** Encodes and writes as JSON text; `undefined` becomes null. @throws PerdureError `not_serialisable`. */
export function stringify(value: unknown, path: string, nestingMax: number): string {
  return JSON.stringify(encode(value, path, nestingMax)) ?? 'null';
}

/** An event as text that a row and a message can hold. @throws PerdureError `not_serialisable`, `body_too_large`. */
export function writeEvent(
  event: { type: string },
  { nestingMax, bodyMaxBytes }: { nestingMax: number; bodyMaxBytes: number },
): string {
  const text = stringify(event, 'event', nestingMax);
  // A UTF-16 unit is at most 3 bytes of UTF-8; counting them is left to what comes near the limit.
  if (text.length * 3 <= bodyMaxBytes || Buffer.byteLength(text) <= bodyMaxBytes) return text;
  throw new PerdureError(
    'body_too_large',
    `The event ${event.type} that is sent has ${Buffer.byteLength(text)} bytes; at most ${bodyMaxBytes} are allowed.`,
  );
}

/** Parses JSON text written by `stringify` (or by anybody). @throws SyntaxError for malformed JSON. */
export function parse(text: string): unknown {
  return text.includes(TAG_IN_TEXT) ? JSON.parse(text, revive) : JSON.parse(text);
}

/**
 * As `parse`, for what comes in. What has been recorded is read as it is.
 * @throws SyntaxError for malformed JSON; PerdureError `not_serialisable` for a reference that names what no actor can be
 */
export function parseGiven(text: string): unknown {
  return text.includes(TAG_IN_TEXT) ? JSON.parse(text, reviveGiven) : JSON.parse(text);
}

/**
 * What runs for an actor has told this, as `stringify` wrote it.
 * @throws PerdureError `not_serialisable` for a reference that names what no actor can be
 */
export function checkRefs(text: string): void {
  if (text.includes(REF_IN_TEXT)) JSON.parse(text, reviveGiven);
}

/** An error as plain data for rows and replies: name, message, code when it has one. */
export function errorSummary(error: unknown): { name: string; message: string; code?: string } {
  try {
    if (!(error instanceof Error)) return { name: 'Error', message: cut(describe(error)) };
    const code = (error as { code?: unknown }).code;
    return {
      name: cut(String(error.name)),
      message: cut(String(error.message)),
      ...(typeof code === 'string' ? { code: cut(code) } : {}),
    };
  } catch {
    // Getters that throw, a name that is no text: it still has to be told somehow.
    return { name: 'Error', message: 'an error that cannot be read' };
  }
}

/** Characters of an error's message that are kept. */
const MESSAGE_MAX = 4_096;

const cut = (text: string): string =>
  text.length <= MESSAGE_MAX ? text : `${text.slice(0, MESSAGE_MAX)}… (${text.length} characters)`;

function describe(value: unknown): string {
  if (typeof value === 'string') return value;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

function encodeObject(value: object, path: string, room: number): unknown {
  if (room <= 0) throw refusal(path, 'is nested too deeply, or contains itself');
  if (Array.isArray(value)) return encodeArray(value, path, room);
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return encodeRecord(value, path, room);
  if (value instanceof Date)
    return tagged('Date', Number.isNaN(value.getTime()) ? null : value.toISOString());
  if (value instanceof Error) return encodeError(value, path, room);
  if (value instanceof Map)
    return tagged('Map', encodeArray([...value.entries()], `${path}.entries()`, room));
  if (ArrayBuffer.isView(value)) return encodeView(value);
  if (value instanceof ArrayBuffer) return tagged('ArrayBuffer', base64(new Uint8Array(value)));
  if (value instanceof Set) return tagged('Set', encodeArray([...value], `${path}.values()`, room));
  const target = targetOf(value);
  if (target) return tagged('Ref', target);
  throw refusal(path, `is an instance of ${prototype.constructor?.name ?? 'a class'}`);
}

const VIEWS = {
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  DataView,
};

/** Bytes in the order of the machine: little-endian on every platform Node.js runs on. A Buffer comes back as Uint8Array. */
function encodeView(value: ArrayBufferView): Tagged {
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  return tagged(kind, base64(new Uint8Array(value.buffer, value.byteOffset, value.byteLength)));
}

const base64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');

function reviveBytes(kind: string, v: unknown): unknown {
  if (typeof v !== 'string') return undefined;
  const bytes = Buffer.from(v, 'base64');
  const own = new ArrayBuffer(bytes.length);
  new Uint8Array(own).set(bytes);
  if (kind === 'ArrayBuffer') return own;
  const View = VIEWS[kind as keyof typeof VIEWS] as (new (
    buffer: ArrayBuffer,
  ) => unknown) & {
    BYTES_PER_ELEMENT?: number;
  };
  return own.byteLength % (View.BYTES_PER_ELEMENT ?? 1) === 0 ? new View(own) : undefined;
}

function encodeArray(value: readonly unknown[], path: string, room: number): unknown[] {
  let copy: unknown[] | undefined;
  for (let i = 0; i < value.length; i++) {
    const item = value[i];
    const encoded = item === undefined ? UNDEFINED : encode(item, `${path}[${i}]`, room - 1);
    if (encoded === item) continue;
    copy ??= value.slice();
    copy[i] = encoded;
  }
  return copy ?? (value as unknown[]);
}

function encodeRecord(value: object, path: string, room: number): unknown {
  let copy: Record<string, unknown> | undefined;
  for (const key in value) {
    if (key === TAG) throw refusal(path, `has the reserved key ${TAG}`);
    const item = (value as Record<string, unknown>)[key];
    // Strings and numbers are most of what there is; they skip building a path.
    if (typeof item === 'string' || typeof item === 'boolean' || item === null) continue;
    if (typeof item === 'number' && Number.isFinite(item)) continue;
    // A key without a value is still a key: a machine may ask for it, and the order of keys is kept.
    const encoded = item === undefined ? UNDEFINED : encode(item, `${path}.${key}`, room - 1);
    if (encoded === item) continue;
    copy ??= { ...value } as Record<string, unknown>;
    copy[key] = encoded;
  }
  return copy ?? value;
}

/** An error as `encode` writes one, from its plain data. */
export const errorData = (summary: { name: string; message: string }): unknown =>
  tagged('Error', summary);

/** So many errors hang below one that is written, at most; what exceeds that is left out. */
const ERRORS_MAX = 1_000;
/** The error that is being written, and those it is written in. */
const within = new Set<Error>();
let written = 0;

/** @throws PerdureError for one that hangs below itself: it would be written again on every way to it, until there is no room */
function encodeError(error: Error, path: string, room: number): Tagged {
  if (within.has(error)) throw refusal(path, 'contains itself');
  if (within.size === 0) written = 0;
  if (++written > ERRORS_MAX) throw refusal(path, `is one of more than ${ERRORS_MAX} errors`);
  within.add(error);
  try {
    return encodeFields(error, path, room);
  } finally {
    within.delete(error);
  }
}

/** An error's own properties ride along when they can; one that cannot is left out, the error still counts. */
function encodeFields(error: Error, path: string, room: number): Tagged {
  const { name, message, stack } = error;
  const fields: Record<string, unknown> = { name, message };
  // Where in Perdure one of its own was made says nothing to a machine, and would be kept in its row.
  if (stack !== undefined)
    fields.stack = error instanceof PerdureError ? `${name}: ${message}` : stack;
  for (const key of new Set([...Object.keys(error), 'cause'])) {
    const item = (error as unknown as Record<string, unknown>)[key];
    if (item === undefined || key === TAG) continue;
    try {
      fields[key] = encode(item, `${path}.${key}`, room - 1);
    } catch (refused) {
      if (!(refused instanceof PerdureError)) throw refused;
    }
  }
  return tagged('Error', fields);
}

function tagged(kind: string, v: unknown): Tagged {
  return { [TAG]: kind, v };
}

function refusal(path: string, what: string): PerdureError {
  return new PerdureError(
    'not_serialisable',
    `${path} ${what}. An actor keeps only what survives a crash: JSON values, Date, Map, Set, BigInt, Error and typed arrays.`,
  );
}

const UNDEFINED: Tagged = { [TAG]: 'undefined', v: null };
/** Stands for undefined until the object that holds it is visited: a reviver that answers undefined deletes the key. */
const HOLE = {};

function revive(key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (TAG in value) {
    const revived = reviveTagged(value as Tagged);
    return revived === HOLE && key === '' ? undefined : revived;
  }
  for (const name in value) {
    const holder = value as Record<string, unknown>;
    if (holder[name] === HOLE) holder[name] = undefined;
  }
  return value;
}

function reviveGiven(key: string, value: unknown): unknown {
  const revived = revive(key, value);
  const isRef = typeof value === 'object' && value !== null && (value as Tagged)[TAG] === 'Ref';
  const target = isRef ? targetOf(revived as object) : undefined;
  if (!target || isPossible(target)) return revived;
  const { type, id } = target;
  const [named, of] = [id, type].map((part) => JSON.stringify(part.slice(0, 140)));
  throw new PerdureError(
    'not_serialisable',
    `There is a reference to actor ${named} of type ${of}, which no actor can be: type and id are 1 to 128 of A-Z a-z 0-9 _ and -.`,
  );
}

/**
 * @throws SyntaxError for a kind nobody writes, and for a value that does not fit its kind; PerdureError `codec_failed` for a
 *   text that is wrapped still
 */
function reviveTagged(value: Tagged): unknown {
  const { [TAG]: kind, v } = value;
  const wrong = () =>
    new SyntaxError(`{"${TAG}":${JSON.stringify(kind)}} has a value that is none`);
  switch (kind) {
    case 'undefined':
      return HOLE;
    case 'wrapped':
      throw cannotOpen('its codec is not here, or has another key');
    case 'Number':
      return Number(v);
    case 'BigInt':
      if (typeof v !== 'string' || !/^-?\d+$/.test(v)) throw wrong();
      return BigInt(v);
    case 'Date': {
      const date = new Date(v === null ? Number.NaN : (v as string));
      if (v !== null && Number.isNaN(date.getTime())) throw wrong();
      return date;
    }
    case 'Map':
      if (!Array.isArray(v) || !v.every((entry) => Array.isArray(entry))) throw wrong();
      return new Map(v as [unknown, unknown][]);
    case 'Set':
      if (!Array.isArray(v)) throw wrong();
      return new Set(v as unknown[]);
    case 'Error':
      if (typeof v !== 'object' || v === null) throw wrong();
      return reviveError(v as Record<string, unknown>);
    case 'Ref':
      if (!isTarget(v)) throw wrong();
      return peer(v);
    default:
      if (kind === 'ArrayBuffer' || Object.hasOwn(VIEWS, kind)) {
        const bytes = reviveBytes(kind, v);
        if (bytes === undefined) throw wrong();
        return bytes;
      }
      throw new SyntaxError(
        `{"${TAG}":${JSON.stringify(kind)}} is no kind of value this version knows`,
      );
  }
}

function isTarget(v: unknown): v is Target {
  if (typeof v !== 'object' || v === null) return false;
  const { type, id, child, invoke } = v as Record<keyof Target, unknown>;
  const { id: invokeId, seq } = (invoke ?? { id: '', seq: 1 }) as Record<string, unknown>;
  return (
    typeof type === 'string' &&
    typeof id === 'string' &&
    (child === undefined || typeof child === 'string') &&
    typeof invokeId === 'string' &&
    Number.isInteger(seq)
  );
}

/** Property by property: assigning a key `__proto__` would change what the error is. */
function reviveError(fields: Record<string, unknown>): Error {
  const error = new Error(String(fields.message));
  for (const [key, value] of Object.entries({ stack: undefined, ...fields })) {
    if (key === '__proto__') continue;
    const enumerable = key !== 'name' && key !== 'message' && key !== 'stack';
    Object.defineProperty(error, key, { value, enumerable, configurable: true, writable: true });
  }
  return error;
}
