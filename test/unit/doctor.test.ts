import { expect, test } from 'vitest';
import { streamConfigs } from '../../src/bus/topology.ts';
import { namespace, SHARDS } from '../../src/config.ts';
import {
  type ClusterFacts,
  clusterFindings,
  lagFinding,
} from '../../src/inspect/clusterFindings.ts';
import type { Finding } from '../../src/inspect/finding.ts';
import type { NatsFacts, StreamFacts } from '../../src/inspect/natsFacts.ts';
import { natsFindings } from '../../src/inspect/natsFindings.ts';
import type { PostgresFacts } from '../../src/inspect/postgresFacts.ts';
import { postgresFindings } from '../../src/inspect/postgresFindings.ts';
import { syncFinding } from '../../src/inspect/syncFindings.ts';
import { VERSION } from '../../src/version.ts';

const POSTGRES: PostgresFacts = {
  version: '18.1',
  versionNumber: 180_001,
  fsync: 'on',
  synchronousCommit: 'on',
  fullPageWrites: 'on',
  synchronousStandbys: '',
  standbys: 0,
  autovacuum: 'on',
  role: 'perdure',
  maxConnections: 100,
  reservedConnections: 3,
  connections: 10,
  nodes: 2,
  idleInTransaction: 0,
  clockAheadMs: 3,
  clockErrorMs: 1,
  schema: { version: 1 },
  missingPrivileges: [],
};

const space = namespace('shop');

function streams(): [StreamFacts, StreamFacts] {
  return streamConfigs(space, { shards: SHARDS }).map((config) => ({
    config: { max_age: 0, max_msgs: -1, max_msgs_per_subject: -1, max_msg_size: -1, ...config },
    bytes: 0,
    messages: 0,
    copiesBehind: 0,
  })) as unknown as [StreamFacts, StreamFacts];
}

function nats(changes: Partial<NatsFacts> = {}): NatsFacts {
  const [jobs, outcomes] = streams();
  return {
    version: '2.11.4',
    cluster: null,
    maxPayload: 1_048_576,
    jetStreamTrouble: undefined,
    jobs,
    outcomes,
    refusals: [],
    waiting: 0,
    consumers: SHARDS,
    ...changes,
  };
}

/** The facts with one setting of the log changed. */
function natsWith(setting: Record<string, unknown>, rest: Partial<StreamFacts> = {}): NatsFacts {
  const facts = nats();
  const jobs = facts.jobs as StreamFacts;
  return { ...facts, jobs: { ...jobs, ...rest, config: { ...jobs.config, ...setting } } };
}

const NODE = {
  node_id: 'n1',
  name: 'a/1',
  host: 'a',
  pid: 1,
  version: VERSION,
  started_at: '2030-01-01T00:00:00.000Z',
  expires_at: '2030-01-01T00:00:08.000Z',
  lease_left_ms: 8_000,
  live: true,
  shards: 2,
  draining: false,
  nats_ok: true,
  refused_commits: 0,
};
const shard = (number: number, owner: string | null) => ({
  shard: number,
  owner,
  epoch: 1,
  cursor: 0,
  commit_no: 0,
  opened_at: null,
  owned_since: null,
  crashes: 0,
  suspect_seq: null as number | null,
});
const CLUSTER: ClusterFacts = {
  nodes: [NODE],
  shards: [shard(0, 'n1')],
  deadLetters: [],
  quarantined: [],
  parked: [],
  late: [],
};
const QUARANTINED = {
  type: 'order',
  id: 'o-1',
  state: 'paying',
  version: '1',
  seq: 3,
  shard: 0,
  crashes: 5,
  quarantined_at: '2030-01-01T00:00:00.000Z',
};

const levels = (findings: Finding[]) => [...new Set(findings.map(({ level }) => level))];
const named = (findings: Finding[], check: string) =>
  findings.find((finding) => finding.check === check);

test('what is in order is ok, and asks for nothing', () => {
  const all = [
    ...postgresFindings(POSTGRES),
    ...natsFindings(nats(), space),
    ...clusterFindings(CLUSTER),
  ];
  expect(levels(all)).toEqual(['ok']);
  expect(all.filter(({ advice }) => advice !== undefined)).toEqual([]);
});

test.each<[string, Partial<PostgresFacts>, string, 'warn' | 'fail']>([
  ['an old server', { version: '13.9', versionNumber: 130_009 }, 'postgres version', 'fail'],
  ['fsync off', { fsync: 'off' }, 'postgres fsync', 'fail'],
  ['synchronous_commit off', { synchronousCommit: 'off' }, 'postgres synchronous_commit', 'warn'],
  [
    'commits that standbys need not have',
    { synchronousCommit: 'local', synchronousStandbys: 'b' },
    'postgres synchronous_commit',
    'warn',
  ],
  ['standbys that commits do not wait for', { standbys: 1 }, 'postgres standbys', 'warn'],
  [
    'a standby that commits wait for in vain',
    { synchronousStandbys: 'b' },
    'postgres standbys',
    'fail',
  ],
  ['full_page_writes off', { fullPageWrites: 'off' }, 'postgres full_page_writes', 'warn'],
  ['autovacuum off', { autovacuum: 'off' }, 'postgres autovacuum', 'warn'],
  ['room for one node only', { connections: 88 }, 'postgres connections', 'warn'],
  ['no room for a node', { connections: 95 }, 'postgres connections', 'fail'],
  ['no room for twice the nodes', { nodes: 7 }, 'postgres connections', 'warn'],
  ['a transaction left open', { idleInTransaction: 1 }, 'postgres idle transactions', 'warn'],
  ['a clock ahead', { clockAheadMs: 5_000 }, 'clocks', 'warn'],
  ['a clock behind', { clockAheadMs: -5_000 }, 'clocks', 'warn'],
  [
    'a newer schema',
    { schema: { error: { code: 'schema_newer', message: 'newer' } } },
    'schema',
    'fail',
  ],
  [
    'a role without rights',
    { missingPrivileges: ['INSERT on actor'] },
    'postgres privileges',
    'fail',
  ],
])('Postgres: %s', (_what, facts, check, level) => {
  const finding = named(postgresFindings({ ...POSTGRES, ...facts }), check);
  expect(finding).toMatchObject({ level, advice: expect.any(String) });
});

test('a standby that commits wait for is as it should be', () => {
  const facts = { ...POSTGRES, synchronousStandbys: 'b', standbys: 1 };
  expect(named(postgresFindings(facts), 'postgres standbys')?.level).toBe('ok');
});

test('a slow answer is no wrong clock', () => {
  const facts = { ...POSTGRES, clockAheadMs: 2_500, clockErrorMs: 900 };
  expect(named(postgresFindings(facts), 'clocks')?.level).toBe('ok');
});

test.each<[string, NatsFacts, string, 'warn' | 'fail']>([
  ['an old server', nats({ version: '2.9.25' }), 'nats version', 'fail'],
  ['a small max_payload', nats({ maxPayload: 65_536 }), 'nats max_payload', 'fail'],
  ['no JetStream', nats({ jetStreamTrouble: 'no responders' }), 'jetstream', 'fail'],
  ['no streams yet', nats({ jobs: undefined }), 'stream JOBS_shop', 'warn'],
  [
    'another number of shards',
    natsWith({ subject_transform: { src: 'a', dest: 'b' } }),
    'stream JOBS_shop',
    'fail',
  ],
  ['a log that forgets by age', natsWith({ max_age: 1 }), 'stream JOBS_shop', 'fail'],
  [
    'a log that forgets by subject',
    natsWith({ max_msgs_per_subject: 1 }),
    'stream JOBS_shop',
    'fail',
  ],
  ['a log that makes room', natsWith({ discard: 'old' }), 'stream JOBS_shop', 'fail'],
  ['a log in memory', natsWith({ storage: 'memory' }), 'stream JOBS_shop', 'fail'],
  ['other subjects', natsWith({ subjects: ['jobs.>'] }), 'stream JOBS_shop', 'fail'],
  [
    'a log nearly full',
    natsWith({ max_bytes: 100 }, { bytes: 90 }),
    'stream JOBS_shop room',
    'warn',
  ],
  ['one copy in a cluster', nats({ cluster: 'c' }), 'stream JOBS_shop copies', 'warn'],
  [
    'a copy behind',
    natsWith({ num_replicas: 3 }, { copiesBehind: 1 }),
    'stream JOBS_shop copies',
    'warn',
  ],
  ['missing permissions', nats({ refusals: ['cannot publish'] }), 'nats permissions', 'fail'],
])('NATS: %s', (_what, facts, check, level) => {
  const finding = named(natsFindings(facts, space), check);
  expect(finding).toMatchObject({ level, advice: expect.any(String) });
});

test.each<[string, Partial<ClusterFacts>, string, 'warn' | 'fail']>([
  ['no node', { nodes: [{ ...NODE, live: false }] }, 'nodes', 'warn'],
  ['no node has the shards', { nodes: [] }, 'shards', 'warn'],
  ['a shard without owner', { shards: [shard(0, 'n1'), shard(1, null)] }, 'shards', 'fail'],
  ['a shard of the dead', { shards: [shard(0, 'n1'), shard(1, 'n0')] }, 'shards', 'fail'],
  [
    'a node without NATS',
    { nodes: [NODE, { ...NODE, node_id: 'n2', nats_ok: false }] },
    'nodes on NATS',
    'warn',
  ],
  ['no node on NATS', { nodes: [{ ...NODE, nats_ok: false }] }, 'nodes on NATS', 'fail'],
  [
    'a shard whose owners die',
    { shards: [{ ...shard(0, 'n1'), crashes: 3 }] },
    'crashing shards',
    'warn',
  ],
  [
    'a message tried alone',
    { shards: [{ ...shard(0, 'n1'), suspect_seq: 17 }] },
    'crashing shards',
    'warn',
  ],
  ['an actor in quarantine', { quarantined: [QUARANTINED] }, 'quarantine', 'warn'],
  ['a mixed deploy', { nodes: [{ ...NODE, version: '0.0.1' }] }, 'node versions', 'warn'],
])('cluster: %s', (_what, facts, check, level) => {
  const finding = named(clusterFindings({ ...CLUSTER, ...facts }), check);
  expect(finding).toMatchObject({ level, advice: expect.any(String) });
});

test('dead letters are counted by reason, the most frequent first', () => {
  const deadLetters = [
    { reason: 'unknown_type', count: 2 },
    { reason: 'bad_body', count: 1 },
  ];
  const finding = named(clusterFindings({ ...CLUSTER, deadLetters }), 'dead letters');
  expect(finding).toMatchObject({ level: 'warn', found: '3 wait: 2 unknown_type, 1 bad_body' });
});

test('a long log lag is a warning, unless nobody reads at all', () => {
  expect(lagFinding(100, 64).level).toBe('ok');
  expect(lagFinding(100_000, 64).level).toBe('warn');
  expect(lagFinding(0, 0).level).toBe('ok');
});

test('when acknowledged publishes are on disk', () => {
  expect(syncFinding({ always: true, intervalMs: 0 }).level).toBe('ok');
  expect(syncFinding({ always: false, intervalMs: 120_000 })).toMatchObject({
    level: 'warn',
    found: expect.stringContaining('120 s'),
  });
  expect(syncFinding({ trouble: 'refused' }).found).toContain('refused');
  expect(syncFinding(undefined).advice).toContain('--monitor');
});

test.each([
  [{}, {}, 'the owner of the shard it is for has not applied it'],
  [{ kind: 'outcomes' }, {}, 'JetStream has not taken it'],
  [{ type: 'a.b', id: '' }, {}, 'no actor can have this address'],
  [{}, { nats_ok: false }, 'no node reaches NATS'],
  [{}, { live: false }, 'no node runs'],
])(
  'an outbox that something has stayed in is shown, with the oldest and why (%j, %j)',
  (row, node, why) => {
    const late = {
      ...{ message_id: 'order/o-1/3/0', kind: 'send', type: 'mail', id: 'm-1', shard: 0 },
      created_at: '2030-01-01T00:00:00.000Z',
      ...row,
    };
    const facts = { ...CLUSTER, nodes: [{ ...NODE, ...node }], late: [late, late] };
    expect(named(clusterFindings(facts), 'outbox')).toMatchObject({
      level: 'warn',
      found: `2 messages or outcomes of actors have not arrived for over 60 s; the oldest, order/o-1/3/0 (${late.type}/${late.id}), since 2030-01-01T00:00:00.000Z: ${why}`,
    });
  },
);
