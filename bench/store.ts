/**
 * Micro-benchmark of the store's commit: batches of transitions, one for each of as many actors, two statements in
 * flight over disjoint shards. Prints transitions per second, and CPU seconds of this process and of Postgres.
 *
 *   node bench/store.ts [postgres-url] [batch] [batches] [actors]
 *
 * `actors` is how many take turns: equal to batch × batches, every commit inserts; smaller, it mostly updates.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import pg from 'pg';
import { LIMITS, namespace } from '../src/config.ts';
import { createLogger } from '../src/log.ts';
import { migrate } from '../src/store/migrate.ts';
import { openStore } from '../src/store/postgres.ts';
import type { ActorWrite, ShardCommit, TransitionWrite } from '../src/store/store.ts';

const databaseUrl = process.argv[2] ?? 'postgres://127.0.0.1:5432/perdure';
const batch = Number(process.argv[3] ?? 500);
const batches = Number(process.argv[4] ?? 100);
const actors = Number(process.argv[5] ?? batch * batches);
const space = namespace(`bench_${Date.now().toString(36)}`);
const log = createLogger({ level: 'warn' });

await migrate({ databaseUrl, namespace: space, shards: 64, log });
const admin = new pg.Client({ connectionString: databaseUrl });
await admin.connect();
const store = await openStore({ databaseUrl, namespace: space, limits: LIMITS, log });
const nodeId = crypto.randomUUID();
await store.register({ nodeId, name: 'bench', host: 'bench', pid: 0, version: '0' }, 600_000);
const opened = await store.claim(nodeId, 64);

const envelope = JSON.stringify({
  machine: 'order',
  version: '1',
  xstate: '5.33.3',
  snapshot: {
    status: 'active',
    value: 'paying',
    context: { total: 30, items: ['a', 'b'] },
    children: {},
  },
});
const seqs = new Map<number, number>();
const shards = opened.map((shard) => ({ ...shard }));

/** The n-th batch, over every other shard, so that two can be in flight. */
function commits(n: number): ShardCommit[] {
  const half = shards.filter((shard) => shard.shard % 2 === n % 2);
  const parts = half.map((shard): ShardCommit => {
    return {
      shard: shard.shard,
      epoch: shard.epoch,
      commitNo: 0,
      cursor: 0,
      actors: [],
      transitions: [],
      timersArmed: [],
      timersDropped: [],
      outboxAdded: [],
      outboxDone: [],
      deadLetters: [],
      parked: [],
      unparked: [],
      paused: [],
    };
  });
  for (let i = 0; i < batch; i++) {
    // Actors of even and odd batches are different ones: an actor has one shard.
    const number = (Math.floor(n / 2) * batch + i) % Math.max(1, Math.floor(actors / 2));
    const key = number * 2 + (n % 2);
    const seq = (seqs.get(key) ?? 0) + 1;
    seqs.set(key, seq);
    const part = parts[number % parts.length] as ShardCommit;
    const id = `order-${((key * 2654435761) >>> 0).toString(36)}-${key}`;
    part.actors.push(actor(id, seq));
    part.transitions.push(transition(id, seq));
  }
  const written = parts.filter((part) => part.actors.length > 0);
  for (const part of written) {
    const shard = shards[part.shard] as (typeof shards)[number];
    part.commitNo = ++shard.commitNo;
    part.cursor = shard.cursor += 10;
  }
  return written;
}

const actor = (id: string, seq: number): ActorWrite => ({
  type: 'order',
  id,
  version: '1',
  path: null,
  status: 'active',
  state: '"paying"',
  tags: '[]',
  seq,
  output: null,
  error: null,
  busy: true,
  actedSeq: 0,
  retries: null,
});

const transition = (id: string, seq: number): TransitionWrite => ({
  type: 'order',
  id,
  seq,
  eventType: 'PAY',
  event: '{"type":"PAY","total":30}',
  eventId: crypto.randomUUID(),
  origin: 'event',
  fromState: '"idle"',
  toState: '"paying"',
  edges: '["#order.idle|PAY|#order.paying"]',
  actions: 0,
  snapshot: envelope,
});

const TICKS = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** CPU seconds of every Postgres backend that is ours, where /proc tells. */
async function postgresCpu(): Promise<number> {
  const { rows } = await admin.query<{ pid: number }>('SELECT pid FROM pg_stat_activity');
  const here = new Set(readdirSync('/proc'));
  return rows
    .filter(({ pid }) => here.has(String(pid)))
    .map(({ pid }) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [])
    .reduce((sum, fields) => sum + (Number(fields[11]) + Number(fields[12])) / TICKS, 0);
}

const postgresBefore = await postgresCpu();
const cpuBefore = process.cpuUsage();
const from = performance.now();
const latencies: number[] = [];
await Promise.all(
  [0, 1].map(async (lane) => {
    for (let n = lane; n < batches; n += 2) {
      const part = commits(n);
      const sent = performance.now();
      const { committed } = await store.commit(nodeId, part);
      latencies.push(performance.now() - sent);
      if (committed.size !== part.length) throw new Error('fenced');
    }
  }),
);
const seconds = (performance.now() - from) / 1_000;
const cpu = process.cpuUsage(cpuBefore);
const postgres = (await postgresCpu()) - postgresBefore;
const rows = batch * batches;
latencies.sort((a, b) => a - b);
const at = (share: number) => (latencies[Math.floor(latencies.length * share)] ?? 0).toFixed(1);
console.log(
  `batch ${batch}, actors ${actors}: ${Math.round(rows / seconds).toLocaleString('en')} transitions/s` +
    `  commit p50 ${at(0.5)} ms p99 ${at(0.99)} ms` +
    `  node ${(((cpu.user + cpu.system) / 1e6 / rows) * 1_000).toFixed(4)} CPU-s/1000` +
    `  postgres ${((postgres / rows) * 1_000).toFixed(4)} CPU-s/1000`,
);
await store.unregister(nodeId);
await store.close();
await admin.query(`DROP SCHEMA ${space.schema} CASCADE`);
await admin.end();
