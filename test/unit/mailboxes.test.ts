import { expect, test } from 'vitest';
import { Mailbox } from '../../src/actors/mailbox.ts';
import { answerMailboxes } from '../../src/actors/mailboxes.ts';
import type { Ring } from '../../src/actors/ring.ts';
import type { Shard } from '../../src/actors/shard.ts';
import type { LogMessage } from '../../src/bus/bus.ts';
import { createMemoryLog } from '../../src/bus/memory.ts';
import { shardOf, subjects } from '../../src/bus/subjects.ts';
import { systemClock } from '../../src/clock.ts';

// What waits for one actor in the memory of its node.

const SHARDS = 4;
const ours = shardOf('order', 'o-1', SHARDS);
const message = (subject: string) => ({ subject }) as LogMessage;

function mailbox(): Mailbox {
  const box = new Mailbox();
  for (const subject of ['jobs.order.o-1', 'events.order.o-1', 'events.order.oo-1', 'events.x.o-1'])
    box.push({ kind: 'message', message: message(subject) });
  const address = { type: 'order', id: 'o-1' };
  box.push({ kind: 'acted', address, seq: 1 });
  box.push({ kind: 'acted', address: { type: 'order', id: 'o-1.ship-2' }, seq: 1 });
  box.push({ kind: 'published', messageId: 'order/o-1/1/0' });
  return box;
}

test('both lanes are looked through, for this actor and no other', () => {
  const box = mailbox();
  expect(box.waitingFor({ type: 'order', id: 'o-1' })).toBe(3);
  expect(box.waitingFor({ type: 'order', id: 'o-1.ship-2' })).toBe(1);
  expect(box.waitingFor({ type: 'order', id: '1' })).toBe(0);
});

test('the node that owns the shard says how much, one that does not says that it does not know', async () => {
  const log = createMemoryLog({ clock: systemClock, shards: SHARDS });
  const bus = log.connect();
  const { namespace } = log;
  const box = mailbox();
  const shard = { waitingFor: box.waitingFor.bind(box) } as unknown as Shard;
  const stop = answerMailboxes(
    { bus, namespace, nodeId: 'n-1' } as unknown as Ring,
    new Map([[ours, shard]]),
    SHARDS,
  );
  const ask = async (body: string) => {
    const answer = await bus.request(subjects.mailbox(namespace, 'n-1'), body, 1_000);
    return JSON.parse(Buffer.from(answer).toString()) as unknown;
  };
  const elsewhere = ['a', 'b', 'c', 'd', 'e'].find((id) => shardOf('order', id, SHARDS) !== ours);
  expect(await ask('{"type":"order","id":"o-1"}')).toEqual({ waiting: 3 });
  // A machine of its family is in the same shard.
  expect(await ask('{"type":"order","id":"o-1.ship-2"}')).toEqual({ waiting: 1 });
  expect(await ask(JSON.stringify({ type: 'order', id: elsewhere }))).toEqual({ waiting: null });
  expect(await ask('{}')).toEqual({ waiting: null });
  expect(await ask('{')).toEqual({ waiting: null });
  stop();
  await bus.close();
});
