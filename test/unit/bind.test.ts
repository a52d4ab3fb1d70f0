import { Writable } from 'node:stream';
import pg from 'pg';
import { expect, test } from 'vitest';
import { bindInPieces } from '../../src/store/bind.ts';

interface Bound {
  portal?: string;
  statement?: string;
  values?: unknown[];
  binary?: boolean;
  valueMapper?: (value: unknown) => unknown;
}

/** A client that is not connected: what it would send is kept. */
function clientOf() {
  const sent: Buffer[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      sent.push(Buffer.from(chunk));
      done();
    },
  });
  const client = new pg.Client({ stream: () => stream as never });
  const { connection } = client as unknown as { connection: { bind(bound: Bound): void } };
  return {
    client,
    /** Writes of one message. */
    bind(bound: Bound): Buffer[] {
      sent.length = 0;
      connection.bind(bound);
      return [...sent];
    },
    stream,
  };
}

const large = Buffer.alloc(100_000, 'x');

test.each<[string, Bound]>([
  [
    'a statement with a name',
    { statement: 'commit_7', values: ['n-1', large, Buffer.alloc(3, 1)] },
  ],
  ['one without', { values: [large] }],
  // Bug: the count of parameters was taken for a signed number.
  ['one with more parameters than 32,767', { values: [large, ...new Array(40_000).fill('x')] }],
  ['a name and a text that are not ASCII', { statement: 'ä', values: ['ßé', large, ''] }],
])('%s is the message pg would have sent, and its arrays are not copied', (_, bound) => {
  const { client, bind } = clientOf();
  const byPg = bind(bound);
  expect(byPg).toHaveLength(1);
  bindInPieces(client);
  const pieces = bind(bound);
  expect(pieces.length).toBeGreaterThan(2);
  expect(Buffer.concat(pieces).equals(byPg[0] as Buffer)).toBe(true);
});

test.each<[string, Bound]>([
  ['small values', { statement: 's', values: ['a', Buffer.alloc(100)] }],
  ['no values', { statement: 's' }],
  ['a value that is neither bytes nor text', { values: [large, null] }],
  ['results in binary', { values: [large], binary: true }],
])('%s are left to pg', (_, bound) => {
  const { client, bind } = clientOf();
  const byPg = bind(bound);
  bindInPieces(client);
  const sent = bind(bound);
  expect(sent).toHaveLength(1);
  expect(sent[0]?.equals(byPg[0] as Buffer)).toBe(true);
});

test('nothing is written to a connection that is gone', () => {
  const { client, bind, stream } = clientOf();
  bindInPieces(client);
  stream.destroy();
  expect(bind({ values: [large] })).toEqual([]);
});
