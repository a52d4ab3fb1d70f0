import { expect, test } from 'vitest';
import { type NeedFacts, needsOf } from '../../src/inspect/needs.ts';

const CALM: NeedFacts = {
  nodes: { live: 1, list: [{ live: true, nats_ok: true }] },
  shards: { ill: [] },
  dead_letters: { waiting: 0, more: false, reasons: {} },
  quarantined: 0,
  late: { waiting: 0, more: false, oldest: null },
  parked: [],
  population: [],
  still: [],
};

test('where all is well nothing needs anybody', () => expect(needsOf(CALM)).toEqual([]));

test('bug: without NATS nothing was said to need anybody', () => {
  const list = [
    { live: true, nats_ok: false },
    { live: false, nats_ok: false },
  ];
  expect(needsOf({ ...CALM, nodes: { live: 1, list } })).toMatchObject([
    { kind: 'no_nats', count: 1, what: 'without NATS', grave: true },
  ]);
});

test('what stands still comes before what has merely failed, and says of what it is made', () => {
  const failed = { type: 'order', status: 'error', state: 'paying', count: 3 };
  const facts = {
    ...CALM,
    dead_letters: { waiting: 10_000, more: true, reasons: { bad_body: 9_999, bad_subject: 1 } },
    shards: { ill: [1, 2, 3, 4].map((shard) => ({ shard, health: 'free' })) },
    population: [failed, { ...failed, status: 'active' }],
  };
  expect(needsOf(facts)).toMatchObject([
    {
      ...{ kind: 'dead_letters', count: 10_000, more: true, grave: true },
      detail: '9999 bad_body, 1 bad_subject',
    },
    { kind: 'shards', count: 4, detail: '1 free, 2 free, 3 free, …', grave: true },
    { kind: 'failed', count: 3, grave: false },
  ]);
});

test('what is not counted yet is not judged', () =>
  expect(needsOf({ ...CALM, parked: null, population: null, still: null })).toEqual([]));
