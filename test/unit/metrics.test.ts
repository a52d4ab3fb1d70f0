import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { emptyLoad, loadOf } from '../../src/actors/ring.ts';
import { surpriseReason } from '../../src/actors/surpriseReason.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import { type Breaker, type NodeState, readinessOf } from '../../src/inspect/health.ts';
import { createMetrics, type MetricsParts } from '../../src/inspect/metrics.ts';
import { startNodeServer } from '../../src/inspect/nodeServer.ts';
import { createLogger } from '../../src/log.ts';
import { parseMetrics } from '../support/metrics.ts';

const closed: Breaker = { state: 'closed', since: 1_000, error: null, reconnects: 0 };
const away: Breaker = { state: 'open', since: 5_000, error: 'ECONNREFUSED', reconnects: 2 };

const parts = (): MetricsParts => ({
  ownedShards: 64,
  parked: { messages: 3, ageMs: 4_000 },
  stalledShards: 1,
  lag: 7,
  timers: 3,
  mailbox: 6,
  invokes: { running: 3, waiting: 2 },
  outbox: { held: 2, published: 40, failed: 4 },
  commits: { commits: 9, unknown: 1, fenced: 6, deadLetters: new Map([['bad_body', 2]]) },
  waiting: { lease: 0, ownership: 0, commits: 1, loads: 5 },
});

function metricsOf(known: MetricsParts | undefined, leaseAgeMs?: number) {
  const load = emptyLoad();
  const metrics = createMetrics({
    load,
    parts: () => known,
    breakers: () => ({ nats: closed, postgres: away }),
    leaseAgeMs: () => leaseAgeMs,
  });
  return { load, metrics, read: async () => parseMetrics(await metrics.registry.metrics()) };
}

describe('metrics', () => {
  test('docs/telemetry.md has a row for every metric, with its labels, and no others', async () => {
    const page = readFileSync(
      join(resolve(import.meta.dirname, '../..'), 'docs/telemetry.md'),
      'utf8',
    );
    const rows = [...page.matchAll(/^\| `(perdure_\w+)`\s*\|([^|]*)\|([^|]*)\|/gm)];
    const told = rows.map(([, name, labels = '']) => [
      name,
      [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label),
    ]);
    const { metrics } = metricsOf(parts(), 1_500);
    const made = metrics.registry.getMetricsAsArray() as unknown as {
      name: string;
      labelNames: string[];
    }[];
    const ours = made.filter(({ name }) => name.startsWith('perdure_'));
    expect(told.sort()).toEqual(ours.map(({ name, labelNames }) => [name, labelNames]).sort());
    expect(ours.length).toBeGreaterThan(20);
    for (const [, name, , meaning = ''] of rows) expect(meaning.trim(), name).toMatch(/\.$/);
    const others = made.filter(({ name }) => !name.startsWith('perdure_'));
    for (const { name } of others) expect(name).toMatch(/^(process|nodejs)_/);
  });

  test('names are in base units, and what only grows ends in _total', async () => {
    const { metrics } = metricsOf(parts(), 1_500);
    for (const { name, type } of await metrics.registry.getMetricsAsJSON()) {
      if (!name.startsWith('perdure_')) continue;
      expect(name.endsWith('_total'), name).toBe((type as unknown) === 'counter');
      expect(name).not.toMatch(/_(ms|millis|kb|mb)\b/);
    }
  });

  test('tell what the counters are when they are asked, every time anew', async () => {
    const { load, metrics, read } = metricsOf(parts(), 1_500);
    load.transitions = 12;
    load.surprises.stalled = 3;
    Object.assign(loadOf(load, 'order'), {
      transitions: 9,
      started: 3,
      error: 1,
      failedAttempts: 2,
    });
    metrics.commitLanded(4, 12);
    metrics.messageCommitted(7);
    for (let scrape = 0; scrape < 2; scrape++) {
      const seen = await read();
      expect(seen.get('perdure_transitions_total')).toBe(12);
      expect(seen.get('perdure_surprises_total{reason="stalled"}')).toBe(3);
      expect(seen.get('perdure_type_transitions_total{type="order"}')).toBe(9);
      expect(seen.get('perdure_actors_started_total{type="order"}')).toBe(3);
      expect(seen.get('perdure_actors_ended_total{type="order",status="error"}')).toBe(1);
      expect(seen.get('perdure_invoke_failures_total{type="order"}')).toBe(2);
      expect(seen.get('perdure_mailbox_items')).toBe(6);
      expect(seen.get('perdure_surprises_total{reason="lease"}')).toBe(0);
      expect(seen.get('perdure_dead_letters_total{reason="bad_body"}')).toBe(2);
      expect(seen.get('perdure_connection_up{connection="nats"}')).toBe(1);
      expect(seen.get('perdure_connection_up{connection="postgres"}')).toBe(0);
      expect(seen.get('perdure_breaker_state{connection="postgres",state="open"}')).toBe(1);
      expect(seen.get('perdure_breaker_state{connection="postgres",state="closed"}')).toBe(0);
      expect(seen.get('perdure_reconnects_total{connection="postgres"}')).toBe(2);
      expect(seen.get('perdure_lease_age_seconds')).toBe(1.5);
      expect(seen.get('perdure_store_waiting{lane="loads"}')).toBe(5);
      expect(seen.get('perdure_commit_duration_seconds_count')).toBe(1);
      expect(seen.get('perdure_commit_duration_seconds_bucket{le="0.005"}')).toBe(1);
      expect(seen.get('perdure_commit_duration_seconds_bucket{le="0.002"}')).toBe(0);
      expect(seen.get('perdure_commit_transitions_sum')).toBe(12);
      expect(seen.get('perdure_message_latency_seconds_bucket{le="0.01"}')).toBe(1);
      expect(seen.get('perdure_message_latency_seconds_bucket{le="0.005"}')).toBe(0);
    }
    load.transitions = 13;
    expect((await read()).get('perdure_transitions_total')).toBe(13);
  });

  test('leave out what is not known yet', async () => {
    const seen = await metricsOf(undefined).read();
    expect(seen.has('perdure_lease_age_seconds')).toBe(false);
    expect(seen.has('perdure_shards_owned')).toBe(false);
    expect(seen.get('perdure_connection_up{connection="postgres"}')).toBe(0);
  });

  test('of two nodes in one process are kept apart', async () => {
    const [a, b] = [metricsOf(parts()), metricsOf(parts())];
    a.load.transitions = 1;
    expect((await a.read()).get('perdure_transitions_total')).toBe(1);
    expect((await b.read()).get('perdure_transitions_total')).toBe(0);
  });
});

test.each([
  ['fenced', 'fenced'],
  ['the epoch is another one', 'fenced'],
  ['commit refused: disk full', 'commit'],
  ['lease lost', 'lease'],
  ['the lease is over', 'lease'],
  ['the log was recreated', 'log'],
  ['delivery 5 is missing, got 7', 'delivery'],
  ['message 9 came again, its first delivery never arrived', 'delivery'],
  ['deliveries were lost with the connection', 'delivery'],
  ['the consumer is gone: no responders', 'consumer'],
  ['the server was silent for 5 heartbeats', 'consumer'],
  ['the subscription ended: permissions', 'consumer'],
  ['after a reconnect: JetStream: the consumer is gone.', 'consumer'],
  ['Postgres has been put back to an earlier state', 'restored'],
  ['stalled: pending 3, mailbox 0, no progress for 15000 ms', 'stalled'],
  ['Cannot read properties of undefined', 'other'],
])('a surprise in the words "%s" counts as %s', (words, reason) => {
  expect(surpriseReason(words)).toBe(reason);
});

describe('readiness', () => {
  const clock: Clock = { ...systemClock, now: () => 100_000 };
  const well: NodeState = {
    nodeId: 'n',
    phase: 'started',
    phaseSince: 1_000,
    nats: closed,
    postgres: closed,
    lease: { ageMs: 500, since: 2_000 },
    leaseMs: 8_000,
    stalled: [],
  };
  const of = (more: Partial<NodeState>) => readinessOf({ ...well, ...more }, clock);

  test('all is well', () => {
    const { ready, parts: seen } = of({});
    expect(ready).toBe(true);
    expect(seen.nats).toEqual({
      ok: true,
      state: 'closed',
      since: new Date(1_000).toISOString(),
      lastError: null,
    });
  });

  test.each([
    ['node', 'starting', { phase: 'starting' }],
    ['node', 'draining', { phase: 'draining' }],
    ['lease', 'none', { lease: undefined }],
    ['lease', 'lost', { lease: { ageMs: 8_000, since: 0 } }],
    ['nats', 'open', { nats: away }],
    ['postgres', 'half-open', { postgres: { ...away, state: 'half-open' } }],
  ] as const)('not ready when %s is %s, and it is named', (name, state, more) => {
    const { ready, parts: seen } = of(more);
    expect(ready).toBe(false);
    expect(seen[name]).toMatchObject({ ok: false, state });
    expect(Object.values(seen).filter(({ ok }) => !ok)).toHaveLength(1);
  });

  test('a lease that ran out is lost since then', () => {
    const { parts: seen } = of({ lease: { ageMs: 10_000, since: 0 } });
    expect(seen.lease.since).toBe(new Date(98_000).toISOString());
  });

  test('a shard that stands still is shown, and the node is ready', () => {
    const stall = {
      shard: 3,
      stalledMs: 20_000,
      pending: 5,
      mailbox: 0,
      commitInFlight: false,
      opening: false,
    };
    expect(of({ stalled: [stall] })).toMatchObject({ ready: true, degraded: [stall] });
  });
});

describe('the server of a node', () => {
  const log = createLogger({ level: 'silent' });
  const start = (more: { port?: number; host?: string } = {}) =>
    startNodeServer({
      port: 0,
      ...more,
      readiness: () => {
        throw new Error('asked for readiness');
      },
      metrics: metricsOf(undefined).metrics.registry,
      log,
    });

  test('answers GET and HEAD at three paths, by a name of this machine', async () => {
    const server = await start();
    try {
      expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
      const get = (path: string, init?: RequestInit) => fetch(server.url + path, init);
      expect(await (await get('/livez')).json()).toEqual({ live: true });
      const head = await get('/livez?x=1', { method: 'HEAD' });
      expect([head.status, await head.text()]).toEqual([200, '']);
      expect((await get('/livez', { method: 'POST' })).status).toBe(405);
      expect((await get('/secrets')).status).toBe(404);
      // What goes wrong while answering is told in the log, not to strangers.
      const failed = await get('/readyz');
      expect(failed.status).toBe(500);
      expect(await failed.text()).not.toContain('asked for readiness');
      const metrics = await get('/metrics');
      expect(metrics.headers.get('content-type')).toContain('text/plain');
      expect(parseMetrics(await metrics.text()).size).toBeGreaterThan(20);
      expect(await withHost(server.url, 'evil.example')).toBe(403);
      expect(await withHost(server.url, 'localhost')).toBe(200);
    } finally {
      await server.close();
    }
  });

  test('elsewhere than on loopback any name is answered, as probes use the address of a pod', async () => {
    const server = await start({ host: '0.0.0.0' });
    try {
      expect(await withHost(server.url, 'pod-7.example')).toBe(200);
    } finally {
      await server.close();
    }
  });

  test('a port that is taken, or is none, is a clear error', async () => {
    const server = await start();
    try {
      const port = Number(new URL(server.url).port);
      await expect(start({ port })).rejects.toMatchObject({
        code: 'bad_options',
        message: expect.stringMatching(new RegExp(`${port}.*taken`)),
      });
    } finally {
      await server.close();
    }
    await expect(start({ port: 70_000 })).rejects.toMatchObject({ code: 'bad_options' });
  });
});

/** `fetch` does not let one choose the host header. */
async function withHost(url: string, host: string): Promise<number | undefined> {
  const { request } = await import('node:http');
  const { port } = new URL(url);
  return new Promise((resolve, reject) => {
    const asked = request(
      { host: '127.0.0.1', port, path: '/livez', headers: { host } },
      (response) => {
        response.resume();
        resolve(response.statusCode);
      },
    );
    asked.on('error', reject).end();
  });
}
