import type { Writable } from 'node:stream';
import type pg from 'pg';

/**
 * A commit's arrays go to the socket as they are. pg would copy them into one message first, in a buffer that grows by half
 * whenever it is full: megabytes copied three times for each commit. What is given must stay as it is until the statement is
 * answered. It looks inside of pg 8.23, and leaves everything to pg where
 * that looks otherwise. Source of the layout: PostgreSQL, Frontend/Backend Protocol, Message Formats, Bind.
 */
export function bindInPieces(client: pg.Client): void {
  const { connection } = client as unknown as { connection?: Connection };
  const whole = connection?.bind;
  if (!connection || !whole) return;
  connection.bind = (bound) => {
    const pieces = isLarge(bound) ? piecesOf(bound) : undefined;
    const { stream } = connection;
    if (!pieces || !stream) return whole.call(connection, bound);
    if (!stream.writable) return;
    // pg holds them back until the statement is complete: they are one write.
    for (const piece of pieces) stream.write(piece);
  };
}

interface Connection {
  bind?: (bound: Bound) => void;
  /** The socket, or TLS on top of it. */
  stream?: Writable;
}

/** What pg binds to a statement. */
interface Bound {
  portal?: string;
  statement?: string;
  values?: unknown[];
  binary?: boolean;
}

/** Below that pg's way is as good. Bytes. */
const LARGE = 16 * 1024;
const [TEXT, BINARY] = [0, 1];

function isLarge({ values = [] }: Bound): boolean {
  let bytes = 0;
  for (const value of values) if (value instanceof Buffer) bytes += value.length;
  return bytes >= LARGE;
}

/** Undefined for what only pg can write: other values than bytes and text, and binary results. */
function piecesOf({
  portal = '',
  statement = '',
  values = [],
  binary,
}: Bound): Buffer[] | undefined {
  if (binary) return undefined;
  const parameters: Buffer[] = [];
  for (const value of values)
    if (value instanceof Buffer) parameters.push(value);
    else if (typeof value === 'string') parameters.push(Buffer.from(value));
    else return undefined;
  const names = Buffer.from(`${portal}\0${statement}\0`);
  const head = Buffer.alloc(5 + names.length + 2 + 2 * values.length + 2);
  const tail = Buffer.alloc(4);
  tail.writeInt16BE(1, 0);
  tail.writeInt16BE(TEXT, 2);
  const bytes = parameters.reduce((sum, parameter) => sum + 4 + parameter.length, 0);
  head.write('B');
  head.writeInt32BE(head.length - 1 + bytes + tail.length, 1);
  let at = 5 + names.copy(head, 5);
  at = head.writeUInt16BE(values.length, at);
  for (const value of values) at = head.writeInt16BE(typeof value === 'string' ? TEXT : BINARY, at);
  head.writeUInt16BE(values.length, at);
  return [head, ...parameters.flatMap((parameter) => [lengthOf(parameter), parameter]), tail];
}

function lengthOf(parameter: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(parameter.length, 0);
  return length;
}
