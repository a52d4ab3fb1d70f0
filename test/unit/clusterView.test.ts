import { expect, test } from 'vitest';
import { LIMITS } from '../../src/config.ts';
import { viewNodes, viewShards } from '../../src/inspect/clusterView.ts';
import { newestReaders } from '../../src/inspect/shardReaders.ts';

const node = (name: string, changes = {}) => ({
  node_id: `id-${name}`,
  name,
  host: 'h',
  pid: 1,
  version: '1',
  started_at: '2030-01-01T00:00:00.000Z',
  expires_at: '2030-01-01T00:00:08.000Z',
  lease_left_ms: 8_000,
  live: true,
  shards: 1,
  draining: false,
  nats_ok: true,
  refused_commits: 0,
  ...changes,
});

const shard = (changes = {}) => ({
  shard: 0,
  owner: 'id-a' as string | null,
  epoch: 3,
  cursor: 0,
  commit_no: 0,
  opened_at: null,
  owned_since: null,
  crashes: 0,
  suspect_seq: null,
  ...changes,
});

test.each([
  [{}, 'ok'],
  [{ draining: true, nats_ok: false }, 'draining'],
  [{ nats_ok: false }, 'no NATS'],
  [{ live: false, draining: true }, 'dead'],
])('a node with %j is %s', (changes, state) => {
  expect(viewNodes([node('a', changes)])).toMatchObject([{ name: 'a', state }]);
});

const reader = (epoch: number, lag = 0) => new Map([[0, { epoch, lag }]]);

test.each([
  ['read by its owner', {}, reader(3, 7), 'ok', 7],
  ['opened again since the record was read', {}, reader(4, 7), 'ok', 7],
  ['nobody owns', { owner: null }, new Map(), 'free', null],
  ['of a dead owner', { owner: 'id-dead' }, reader(3, 7), 'orphaned', 7],
  ['of an owner nobody remembers', { owner: 'id-x' }, reader(3, 7), 'orphaned', 7],
  ['nobody reads', {}, new Map(), 'no reader', null],
  ['only an earlier owner reads', {}, reader(2, 7), 'no reader', null],
  ['whose owners died', { crashes: 3 }, reader(3), 'suspect', 0],
  ['with a message on trial', { suspect_seq: 9 }, reader(3), 'suspect', 0],
  ['with few crashes', { crashes: 2 }, reader(3), 'ok', 0],
  ['full', {}, reader(3, LIMITS.shardPendingMax), 'ok', LIMITS.shardPendingMax],
  [
    'too far behind',
    {},
    reader(3, LIMITS.shardPendingMax + 1),
    'behind',
    LIMITS.shardPendingMax + 1,
  ],
  ['while NATS is not asked', {}, undefined, 'ok', null],
  ['of the dead while NATS is not asked', { owner: 'id-dead' }, undefined, 'orphaned', null],
])('a shard %s', (_what, changes, readers, health, lag) => {
  const nodes = [node('a'), node('dead', { live: false })];
  expect(viewShards([shard(changes)], nodes, readers)).toMatchObject([{ health, lag }]);
});

test('the newest reader of a shard counts, and strangers do not', () => {
  const consumer = (name: string, num_pending: number, num_ack_pending = 0) => ({
    name,
    num_pending,
    num_ack_pending,
  });
  const readers = newestReaders([
    consumer('s7-e12-abc', 5, 2),
    consumer('s7-e9-abc', 100),
    consumer('s8-e1-abc', 0),
    consumer('doctor-abc', 9),
  ]);
  expect([...readers]).toEqual([
    [7, { epoch: 12, lag: 7 }],
    [8, { epoch: 1, lag: 0 }],
  ]);
});
