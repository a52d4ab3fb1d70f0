import { expect, test } from 'vitest';
import { bundled, unbundled } from '../../src/actors/bundle.ts';
import { Outbox } from '../../src/actors/outbox.ts';
import type { Bus } from '../../src/bus/bus.ts';
import { systemClock } from '../../src/clock.ts';
import { LIMITS, namespace } from '../../src/config.ts';
import { createLogger } from '../../src/log.ts';
import type { OutboxRow, OutboxWrite } from '../../src/store/store.ts';
import { eventually } from '../support/services.ts';

// Outcomes of one commit share an outbox row, and each still reaches JetStream at least once.

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

/** An outbox whose publishes end when the test says so. */
function outboxWith() {
  const asked = new Map<string, { done(): void; fails(): void; messageId: string }>();
  const bus = {
    publish: (_subject: string, body: string, { messageId }: { messageId: string }) =>
      new Promise((resolve, reject) =>
        asked.set(JSON.parse(body).id, {
          done: () => resolve({ seq: 1, duplicate: false }),
          fails: () => reject(new Error('no')),
          messageId,
        }),
      ),
  } as unknown as Bus;
  const gone: [shard: number, messageId: string][] = [];
  const outbox = new Outbox({
    bus,
    clock: systemClock,
    limits: LIMITS,
    namespace: namespace(),
    log: createLogger({ level: 'silent' }),
    published: (...row) => gone.push(row),
  });
  return { outbox, asked, gone };
}

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

test('the row goes when the last of its outcomes is published, and not before', async () => {
  const { outbox, asked, gone } = outboxWith();
  const rows = [outcome('a'), outcome('b')];
  bundled(rows);
  outbox.relay(rows);
  asked.get('b')?.done();
  await eventually(() => outbox.held === 1, { what: 'one is published' });
  expect(gone).toEqual([]);
  asked.get('a')?.done();
  await eventually(() => gone.length > 0, { what: 'the row may go' });
  expect(gone).toEqual([[3, 'order/a/2/outcome']]);
  outbox.stop();
});

test('a row that has stayed too long is published again without what was published already', async () => {
  const { outbox, asked, gone } = outboxWith();
  const rows = [outcome('a'), outcome('b'), outcome('c')];
  const stale = bundled(rows).map(asRead);
  outbox.relay(rows);
  asked.get('a')?.done();
  await eventually(() => outbox.held === 2, { what: 'one is published' });
  asked.clear();
  outbox.relayAgain(stale, true);
  // The others are still on their way.
  expect([...asked.keys()]).toEqual([]);
  expect(gone).toEqual([]);
  outbox.stop();
});

test('what an earlier owner has left of a commit is published whole', async () => {
  const { outbox, asked, gone } = outboxWith();
  outbox.resume(bundled([outcome('a'), outcome('b')]).map(asRead));
  expect([...asked.values()].map(({ messageId }) => messageId)).toEqual([
    'order/a/2/outcome',
    'order/b/2/outcome',
  ]);
  for (const { done } of asked.values()) done();
  await eventually(() => gone.length > 0, { what: 'the row may go' });
  expect(gone).toEqual([[3, 'order/a/2/outcome']]);
  outbox.stop();
});
