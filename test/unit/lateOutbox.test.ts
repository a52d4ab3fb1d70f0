import { expect, test } from 'vitest';
import type { Ring } from '../../src/actors/ring.ts';
import type { Shard } from '../../src/actors/shard.ts';
import { StallWatch } from '../../src/actors/stallWatch.ts';
import type { NatsSide } from '../../src/cli/natsSide.ts';
import { lookAtAll, Rates } from '../../src/cli/topView.ts';
import { systemClock } from '../../src/clock.ts';
import { LIMITS } from '../../src/config.ts';
import type { Counts } from '../../src/inspect/counts.ts';
import { standing } from '../../src/inspect/overview.ts';
import type { LateRow, ReadStore } from '../../src/store/read.ts';
import { eventually } from '../support/services.ts';

// An outbox that does not empty is seen by people before it stops anything.

const LATE: LateRow = {
  ...{ message_id: 'order/o-1/3/0', kind: 'send', type: 'a.b', id: '', shard: 1 },
  created_at: '2030-01-01T00:00:00.000Z',
};

function storeWith(late: LateRow[]): ReadStore {
  const none = async () => [];
  const nodes = async () => [{ live: true, nats_ok: true, shards: 0 }];
  const lateOutbox = async () => late;
  return { nodes, shards: none, deadLetterReasons: none, quarantined: none, lateOutbox } as never;
}

test('the overview says how many rows are late, the oldest, and why', async () => {
  expect((await standing(storeWith([LATE, LATE]))).late).toEqual({
    waiting: 2,
    more: false,
    oldest: {
      message_id: 'order/o-1/3/0',
      of: 'a.b/',
      since: '2030-01-01T00:00:00.000Z',
      why: 'no actor can have this address',
    },
  });
  expect((await standing(storeWith([]))).late).toEqual({ waiting: 0, more: false, oldest: null });
  expect((await standing(storeWith(Array(1_000).fill(LATE)))).late.more).toBe(true);
});

test('perdure top has late rows among what needs somebody', async () => {
  const population = { counted_at: '2030-01-01T00:00:00.000Z', rows: [] };
  const counts = { population: async () => population, parked: async () => [] };
  const nats = { readers: async () => undefined, trouble: undefined };
  const look = (late: LateRow[]) =>
    lookAtAll('shop', {
      store: storeWith(late),
      counts: counts as unknown as Counts,
      nats: nats as unknown as NatsSide,
      rates: new Rates(),
    });
  expect((await look([LATE])).needs).toEqual([
    {
      count: 1,
      more: false,
      what: 'messages are late',
      detail:
        'the oldest, for a.b/, since 2030-01-01T00:00:00.000Z: no actor can have this address',
      next: 'perdure doctor',
    },
  ]);
  expect((await look([])).needs).toEqual([]);
});

test('a shard that stands still because the outbox is full says so, and is not opened again', async () => {
  const lines: [level: string, fields: { full?: boolean }, text: string][] = [];
  const say = (level: string) => (fields: object, text: string) =>
    void lines.push([level, fields, text]);
  const surprises: string[] = [];
  const ring = {
    clock: systemClock,
    limits: { ...LIMITS, stallMs: 15 },
    load: { busyActors: 0, stalls: 0 },
    outbox: { isFull: true },
    log: { warn: say('warn'), error: say('error') },
    surprise: (_shard: number, reason: string) => void surprises.push(reason),
  };
  const shard = { number: 3, cursor: 0, commitNo: 0, mailboxSize: 1, reader: { lag: () => ({}) } };
  const shards = new Map([[3, shard as unknown as Shard]]);
  const watch = new StallWatch(ring as unknown as Ring, { shards }, () => ({
    nats: 'closed',
    postgres: 'closed',
  }));
  watch.start();
  await eventually(() => lines.length > 0, { what: 'it is told' });
  expect(lines).toMatchObject([['warn', { full: true, mailbox: 1 }, 'shard: stalled']]);
  expect(surprises).toEqual([]);
  ring.outbox.isFull = false;
  await eventually(() => surprises.length > 0, { what: 'without a cause it is opened again' });
  watch.stop();
});
