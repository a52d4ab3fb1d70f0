import { expect, test } from 'vitest';
import { bundled, unbundled } from '../../src/actors/bundle.ts';
import type { OutboxRow, OutboxWrite } from '../../src/store/store.ts';

// Outcomes of one commit share an outbox row.

const outcome = (id: string, body = `{"id":"${id}"}`): OutboxRow => ({
  shard: 3,
  messageId: `order/${id}/2/outcome`,
  kind: 'outcome',
  type: 'order',
  id,
  body,
});
const send: OutboxRow = { ...outcome('s'), kind: 'send', messageId: 'order/s/2/0' };
const asRead = (row: OutboxWrite): OutboxRow => ({ ...row, shard: 3 });
const without = ({ bundle: _, ...row }: OutboxRow) => row;

test('outcomes of one commit are one row, messages and what is alone or long have their own', () => {
  const long = outcome('long', JSON.stringify('x'.repeat(3_000)));
  const rows = [outcome('a'), send, outcome('b'), long];
  const written = bundled(rows);
  expect(written.map(({ messageId, kind }) => [messageId, kind])).toEqual([
    ['order/s/2/0', 'send'],
    ['order/long/2/outcome', 'outcome'],
    ['order/a/2/outcome', 'outcomes'],
  ]);
  expect(written.map(asRead).flatMap(unbundled).map(without)).toEqual([
    send,
    long,
    outcome('a'),
    outcome('b'),
  ]);
  expect(bundled([send, outcome('a')])).toEqual([send, outcome('a')]);
});
