import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { fromPromise, setup } from 'xstate';
import { shardOf } from '../../src/bus/subjects.ts';
import { createClient, type PerdureClient } from '../../src/client.ts';
import { systemClock } from '../../src/clock.ts';
import { type Limits, namespace, SHARDS } from '../../src/config.ts';
import { defineActor } from '../../src/index.ts';
import type { Readiness } from '../../src/inspect/health.ts';
import { createNode, type PerdureNode } from '../../src/node.ts';
import { Lane } from '../../src/store/lane.ts';
import { counter } from '../support/actors.ts';
import { type LogLine, openSql, type Place, prepare, recordingLogger } from '../support/cluster.ts';
import { parseMetrics } from '../support/metrics.ts';
import { eventually, freshNamespace, startOwnServices } from '../support/services.ts';

// What a node tells of itself while its servers come and go, and what it does about a shard that stands still.

/** Ends when it is let go. */
const letGo = new Map<string, () => void>();
const holder = defineActor('holder', {
  machine: setup({
    actors: {
      hold: fromPromise<void, { id: string }>(
        ({ input, signal }) =>
          new Promise((resolve) => {
            letGo.set(input.id, resolve);
            signal.addEventListener('abort', () => resolve());
          }),
      ),
    },
  }).createMachine({
    context: ({ input }) => input as unknown as { id: string },
    initial: 'holding',
    states: {
      holding: {
        invoke: {
          src: 'hold',
          input: ({ context }) => ({ id: (context as { id: string }).id }),
          onDone: 'done',
        },
      },
      done: { type: 'final' },
    },
  }),
});

let services: Awaited<ReturnType<typeof startOwnServices>>;
let place: Place;
let client: PerdureClient;
const nodes: PerdureNode[] = [];

beforeAll(async () => {
  services = await startOwnServices();
});
afterAll(async () => {
  await services?.stop();
});

async function freshPlace(): Promise<void> {
  place = {
    databaseUrl: services.postgres.url,
    natsUrl: services.nats.url,
    namespace: freshNamespace(),
  };
  await prepare(place);
  client = createClient({ ...place, logger: pino({ level: 'silent' }) });
}

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.stop()));
  await client?.close();
});

function build(limits: Partial<Limits> = {}): { node: PerdureNode; lines: LogLine[] } {
  const { logger, lines } = recordingLogger();
  const node = createNode({
    ...place,
    actors: [counter, holder],
    limits,
    logger,
    http: { port: 0 },
  });
  nodes.push(node);
  return { node, lines };
}

async function ask(node: PerdureNode, path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`${node.status().httpUrl}${path}`);
  return { status: response.status, text: await response.text() };
}

async function readiness(node: PerdureNode): Promise<Readiness & { status: number }> {
  const { status, text } = await ask(node, '/readyz');
  return { ...(JSON.parse(text) as Readiness), status };
}

const metrics = async (node: PerdureNode) => parseMetrics((await ask(node, '/metrics')).text);
const isReady = async (node: PerdureNode) => (await readiness(node)).status === 200;
const said = (lines: readonly LogLine[], msg: string) => lines.filter((line) => line.msg === msg);

describe('probes', () => {
  test('a node that waits for its servers is alive, not ready, and says for what it waits', async () => {
    await freshPlace();
    await services.postgres.stop('SIGKILL');
    const { node } = build();
    const starting = node.start();
    await eventually(() => node.status().httpUrl, { what: 'it listens' });
    expect((await ask(node, '/livez')).status).toBe(200);
    const seen = await eventually(
      async () => {
        const told = await readiness(node);
        return told.parts.postgres.lastError ? told : undefined;
      },
      { what: 'the reason is told' },
    );
    expect(seen.status).toBe(503);
    expect(seen.parts.node).toMatchObject({ ok: false, state: 'starting' });
    expect(seen.parts.postgres).toMatchObject({ ok: false, state: 'open' });
    expect(seen.parts.postgres.lastError).not.toContain(new URL(place.databaseUrl).password);
    expect((await metrics(node)).get('perdure_connection_up{connection="postgres"}')).toBe(0);
    await services.postgres.start();
    await starting;
    await eventually(() => isReady(node), { what: 'ready' });
  }, 60_000);

  test('without Postgres, then NATS, then both: alive throughout, not ready and why, ready again after', async () => {
    await freshPlace();
    const { node, lines } = build({ stallMs: 3_000 });
    await node.start();
    await client.start(counter, { id: 'a', until: 'committed' });
    await eventually(() => isReady(node), { what: 'ready' });
    const servers = { postgres: services.postgres, nats: services.nats };
    for (const away of [['postgres'], ['nats'], ['postgres', 'nats']] as const) {
      await Promise.all(away.map((name) => servers[name].stop('SIGKILL')));
      const states = new Map<string, Set<string>>(away.map((name) => [name, new Set()]));
      let waitingMax = 0;
      if (!(away as readonly string[]).includes('nats'))
        for (let n = 0; n < 500; n++)
          await client.start(counter, { id: `j${n}`, until: 'accepted' });
      await eventually(
        async () => {
          expect((await ask(node, '/livez')).status).toBe(200);
          const { status, parts } = await readiness(node);
          for (const name of away) states.get(name)?.add(parts[name].state);
          for (const [name, value] of await metrics(node))
            if (name.startsWith('perdure_store_waiting')) waitingMax = Math.max(waitingMax, value);
          const named = away.every((name) => !parts[name].ok && parts[name].lastError !== null);
          const others = (['postgres', 'nats'] as const).filter(
            (name) => !(away as readonly string[]).includes(name),
          );
          const open = away.every((name) => states.get(name)?.has('open'));
          return status === 503 && named && open && others.every((name) => parts[name].ok);
        },
        { what: `503 without ${away.join(' and ')}`, timeoutMs: 15_000 },
      );
      if (away.length === 1 && away[0] === 'postgres') {
        const seen = await eventually(
          async () => {
            const told = await readiness(node);
            return told.degraded.length > 0 ? told : undefined;
          },
          { what: 'shards that wait are shown', timeoutMs: 15_000 },
        );
        expect(seen.degraded[0]).toMatchObject({ stalledMs: expect.any(Number) });
      }
      expect(waitingMax).toBeLessThan(300);
      await Promise.all(away.map((name) => servers[name].start()));
      await eventually(() => isReady(node), {
        what: `ready after ${away.join(' and ')}`,
        timeoutMs: 15_000,
      });
    }
    await eventually(async () => (await readiness(node)).degraded.length === 0, {
      what: 'nothing stands still',
    });
    // The cause was known: nothing was opened again for it.
    const reasons = said(lines, 'shard: surprise, opening again').map((line) => line.reason);
    expect(reasons.filter((reason) => String(reason).startsWith('stalled'))).toEqual([]);
    expect(said(lines, 'shard: stalled').filter(({ level }) => level >= 50)).toEqual([]);
    const seen = await metrics(node);
    expect(seen.get('perdure_reconnects_total{connection="nats"}')).toBe(2);
    expect(seen.get('perdure_reconnects_total{connection="postgres"}')).toBeGreaterThanOrEqual(2);
    expect(seen.get('perdure_connection_up{connection="nats"}')).toBe(1);
  }, 120_000);

  test('a node that drains is not ready, and still answers', async () => {
    await freshPlace();
    const { node } = build({ drainMs: 20_000 });
    await node.start();
    await client.start(holder, { id: 'h', input: { id: 'h' }, until: 'committed' });
    await eventually(() => letGo.has('h'), { what: 'it runs' });
    const url = node.status().httpUrl;
    const stopping = node.stop();
    const { status, parts } = await readiness(node);
    expect([status, parts.node.state]).toEqual([503, 'draining']);
    expect((await ask(node, '/livez')).status).toBe(200);
    letGo.get('h')?.();
    await stopping;
    await expect(fetch(`${url}/livez`)).rejects.toThrow();
  });

  test('a port that is taken ends the start with a clear error', async () => {
    await freshPlace();
    const { node } = build();
    await node.start();
    const port = Number(new URL(node.status().httpUrl ?? '').port);
    const other = createNode({
      ...place,
      actors: [counter],
      logger: pino({ level: 'silent' }),
      http: { port },
    });
    await expect(other.start()).rejects.toMatchObject({ code: 'bad_options' });
    expect((await ask(node, '/livez')).status).toBe(200);
  });
});

test('the metrics count what was done', async () => {
  await freshPlace();
  const { node } = build();
  await node.start();
  for (let n = 0; n < 20; n++) {
    await client.start(counter, { id: `c${n}`, until: 'committed' });
    await client.send(counter, `c${n}`, { type: 'ADD', n }, { until: 'committed' });
  }
  await client.send(counter, 'nobody', { type: 'STOP' });
  const sql = await openSql(place);
  const recorded = await eventually(
    async () => {
      const [row] = await sql.query<{ letters: number; steps: number }>(
        `SELECT (SELECT count(*)::int FROM dead_letters) AS letters,
                (SELECT count(*)::int FROM transitions) AS steps`,
      );
      return row?.letters === 1 && row;
    },
    { what: 'the dead letter' },
  );
  await sql.close();
  const seen = await eventually(
    async () => {
      const told = await metrics(node);
      return told.get('perdure_dead_letters_total{reason="unknown_actor"}') === 1 && told;
    },
    { what: 'it is counted' },
  );
  expect(recorded.steps).toBe(40);
  expect(seen.get('perdure_transitions_total')).toBe(40);
  expect(seen.get('perdure_messages_total')).toBe(41);
  expect(seen.get('perdure_shards_owned')).toBe(64);
  expect(seen.get('perdure_shard_claims_total')).toBe(64);
  expect(seen.get('perdure_shards_stalled')).toBe(0);
  expect(seen.get('perdure_commit_duration_seconds_count')).toBe(seen.get('perdure_commits_total'));
  expect(seen.get('perdure_commit_transitions_sum')).toBe(40);
  // One for each part of a commit that had messages in it.
  expect(seen.get('perdure_message_latency_seconds_count')).toBeGreaterThan(0);
  expect(seen.get('perdure_message_latency_seconds_count')).toBeLessThanOrEqual(41);
  expect(seen.get('perdure_message_latency_seconds_sum')).toBeGreaterThan(0);
  expect(seen.get('perdure_lease_age_seconds')).toBeLessThan(8);
  expect(seen.get('nodejs_eventloop_lag_p99_seconds')).toBeDefined();
});

describe('a shard that stands still', () => {
  test('for no known reason is logged, shown and opened again; then its messages flow', async () => {
    await freshPlace();
    const { node, lines } = build({ stallMs: 2_000 });
    await node.start();
    await client.start(counter, { id: 'x', until: 'committed' });
    const shard = shardOf('counter', 'x', SHARDS);
    const nc = await connect({ servers: place.natsUrl });
    const jsm = await jetstreamManager(nc);
    const stream = namespace(place.namespace).jobsStream;
    const pending = async () => {
      for await (const { name } of jsm.consumers.list(stream))
        if (name.startsWith(`s${shard}-e`)) return name;
      return undefined;
    };
    const name = await eventually(pending, { what: 'the consumer of the shard' });
    // Heartbeats go on, and nothing is delivered: no reader can tell that from an empty log.
    await jsm.consumers.pause(stream, name, new Date(Date.now() + 600_000));
    await client.send(counter, 'x', { type: 'ADD', n: 1 });
    const [line] = await eventually(
      () => {
        const told = said(lines, 'shard: stalled');
        return told.length > 0 && told;
      },
      { what: 'shard: stalled' },
    );
    expect(line).toMatchObject({
      level: 50,
      shard,
      pending: 1,
      mailbox: 0,
      commitInFlight: false,
      full: false,
      nats: 'closed',
      postgres: 'closed',
    });
    await eventually(async () => (await client.query('counter', 'x')).seq === 2, {
      what: 'the message is applied',
    });
    expect((await pending())?.startsWith(`s${shard}-e`)).toBe(true);
    expect(await pending()).not.toBe(name);
    const seen = await metrics(node);
    expect(seen.get('perdure_stalls_total')).toBe(1);
    expect(seen.get('perdure_surprises_total{reason="stalled"}')).toBe(1);
    await eventually(async () => (await readiness(node)).degraded.length === 0, {
      what: 'it is not shown any more',
    });
    await nc.close();
  });

  test('because the node is full is shown, and left alone until there is room', async () => {
    await freshPlace();
    const { node, lines } = build({ stallMs: 1_500, busyActorsMax: 1 });
    await node.start();
    await client.start(holder, { id: 'one', input: { id: 'one' }, until: 'committed' });
    await eventually(() => node.status().busyActors === 1, { what: 'the node is full' });
    await client.start(counter, { id: 'y', until: 'accepted' });
    const shard = shardOf('counter', 'y', SHARDS);
    const shown = await eventually(
      async () => (await readiness(node)).degraded.find((stall) => stall.shard === shard),
      { what: 'it is shown' },
    );
    expect(shown).toMatchObject({ mailbox: 1, opening: false });
    expect(await isReady(node)).toBe(true);
    expect((await metrics(node)).get('perdure_shards_stalled')).toBe(1);
    await eventually(
      async () => {
        const [stall] = (await readiness(node)).degraded;
        return (stall?.stalledMs ?? 0) > 3_500;
      },
      { what: 'it stands still for long' },
    );
    expect(said(lines, 'shard: stalled')).toEqual([
      expect.objectContaining({ level: 40, full: true, shard }),
    ]);
    expect(said(lines, 'shard: surprise, opening again')).toEqual([]);
    letGo.get('one')?.();
    await eventually(async () => (await client.query('counter', 'y')).seq === 1, {
      what: 'it is taken once there is room',
    });
  });
});

test('what waits for Postgres is bounded: beyond the limit people are told, and the engine waits its turn', async () => {
  await freshPlace();
  await services.postgres.stop('SIGKILL');
  const lane = new Lane({
    databaseUrl: place.databaseUrl,
    schema: 'public',
    applicationName: 'flood',
    clock: systemClock,
    log: pino({ level: 'silent' }),
    size: 1,
  });
  const states = new Set<string>();
  await eventually(() => states.add(lane.health.state) && states.size === 2, {
    what: 'it tries, and rests between',
    everyMs: 1,
  });
  expect([...states].sort()).toEqual(['half-open', 'open']);
  const one = { text: 'SELECT 1 AS one' };
  const waiting = Array.from({ length: 1_000 }, () => lane.send(one));
  await expect(lane.send(one)).rejects.toMatchObject({ code: 'store_unavailable' });
  await expect(lane.askWithin(60_000, one)).rejects.toMatchObject({ code: 'store_unavailable' });
  const patient = lane.ask<{ one: number }>(one);
  expect(lane.waiting).toBe(1_000);
  await services.postgres.start();
  expect(await Promise.all(waiting)).toHaveLength(1_000);
  expect(await patient).toEqual([{ one: 1 }]);
  expect(lane.health).toMatchObject({ state: 'closed', error: expect.any(String) });
  await lane.close(1_000);
}, 60_000);
