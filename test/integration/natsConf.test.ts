import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { setup } from 'xstate';
import { openConnection } from '../../src/bus/connection.ts';
import { openBus } from '../../src/bus/nats.ts';
import { systemClock } from '../../src/clock.ts';
import { LIMITS, namespace, SHARDS } from '../../src/config.ts';
import { findNatsServer } from '../../src/dev/natsServer.ts';
import { freePort } from '../../src/dev/process.ts';
import { createClient, createNode, defineActor, type PerdureNode } from '../../src/index.ts';
import { readNatsFacts } from '../../src/inspect/natsFacts.ts';
import { natsFindings } from '../../src/inspect/natsFindings.ts';
import { readSyncFacts } from '../../src/inspect/syncFindings.ts';
import { recordingLogger } from '../support/cluster.ts';
import { eventually, freshDatabase } from '../support/services.ts';

// The nats.conf we ship, with nothing changed but where it stores and listens.

const CONF = resolve(import.meta.dirname, '../../nats.conf');
const ROLES = ['provisioner', 'node', 'publisher', 'inspector', 'sys'] as const;
type Role = (typeof ROLES)[number];

const env: NodeJS.ProcessEnv = { ...process.env };
for (const role of ROLES) env[`PERDURE_NATS_${role.toUpperCase()}_PASSWORD`] = `p${role}1`;

const light = defineActor('light', {
  machine: setup({ types: { events: {} as { type: 'TOGGLE' } } }).createMachine({
    initial: 'off',
    states: { off: { on: { TOGGLE: 'on' } }, on: { type: 'final' } },
  }),
});

let binary: string;
let dir: string;
let port: number;
let monitorPort: number;
let server: ChildProcess;
let database: Awaited<ReturnType<typeof freshDatabase>>;
const { logger, lines } = recordingLogger();
const connections: NatsConnection[] = [];

const url = (role: Role) => `nats://${role}:p${role}1@127.0.0.1:${port}`;

async function as(role: Role): Promise<NatsConnection> {
  const nc = await connect({ servers: `127.0.0.1:${port}`, user: role, pass: `p${role}1` });
  connections.push(nc);
  return nc;
}

const busAs = (role: Role) =>
  openBus({
    natsUrl: url(role),
    namespace: namespace(),
    shards: SHARDS,
    clock: systemClock,
    log: logger,
    ensureStreams: role === 'node',
  });

const refused = (work: Promise<unknown>) => expect(work).rejects.toThrow(/permissions violation/i);

beforeAll(async () => {
  binary = await findNatsServer();
  dir = mkdtempSync(join(tmpdir(), 'perdure-conf-'));
  port = await freePort();
  monitorPort = await freePort();
  const text = readFileSync(CONF, 'utf8');
  const placed = text.replace(/store_dir: .*/, `store_dir: ${JSON.stringify(dir)}`);
  expect(placed).not.toBe(text);
  const conf = join(dir, 'nats.conf');
  writeFileSync(conf, placed);
  // Port and monitor may be overridden on the command line.
  const args = ['-c', conf, '-a', '127.0.0.1', '-p', `${port}`, '-m', `${monitorPort}`];
  server = spawn(binary, args, { env, stdio: 'ignore' });
  await eventually(
    () => fetch(`http://127.0.0.1:${monitorPort}/healthz`).then((response) => response.ok),
    { what: 'nats-server with nats.conf is healthy', timeoutMs: 30_000 },
  );
  database = await freshDatabase();
});

afterAll(async () => {
  await Promise.all(connections.map((nc) => nc.close()));
  server?.kill('SIGKILL');
  await database?.drop();
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
});

test('nats-server accepts it, and refuses it while a password is missing', async () => {
  const check = (given: NodeJS.ProcessEnv) =>
    promisify(execFile)(binary, ['-t', '-c', CONF], { env: given });
  await check(env);
  const { PERDURE_NATS_NODE_PASSWORD: _missing, ...rest } = env;
  await expect(check(rest)).rejects.toThrow(/PERDURE_NATS_NODE_PASSWORD/);
});

test('what is acknowledged is on disk, and the limits fit ours', async () => {
  expect(await readSyncFacts(`http://127.0.0.1:${monitorPort}`)).toMatchObject({ always: true });
  const varz = await (await fetch(`http://127.0.0.1:${monitorPort}/varz`)).json();
  expect(varz).toMatchObject({
    max_payload: 1024 * 1024,
    ping_max: 2,
    write_deadline: 10_000_000_000,
  });
  const { limits } = (varz as { jetstream: { limits: Record<string, number> } }).jetstream;
  expect(limits).toMatchObject({ max_ack_pending: 1024, max_request_batch: 1024 });
  expect(LIMITS.shardPendingMax).toBeLessThanOrEqual(limits.max_ack_pending as number);
});

test('user node runs a node, user publisher drives it, and doctor has nothing against either', async () => {
  const node: PerdureNode = createNode({
    actors: [light],
    natsUrl: url('node'),
    databaseUrl: database.url,
    migrate: true,
    logger,
  });
  const client = createClient({ natsUrl: url('publisher'), logger: pino({ level: 'silent' }) });
  try {
    await node.start();
    const heard: string[] = [];
    await client.watch('light', '*', (entry) => heard.push(entry.event));
    const started = await client.start(light, { id: 'l-1', until: 'committed' });
    expect(started).toMatchObject({ seq: 1, state: 'off', duplicate: false });
    expect(
      await client.send(light, 'l-1', { type: 'TOGGLE' }, { until: 'committed' }),
    ).toMatchObject({ seq: 2, status: 'done' });
    expect(await client.outcome(light, 'l-1')).toMatchObject({ status: 'done' });
    expect(await client.query(light, 'l-1')).toMatchObject({ seq: 2, status: 'done' });
    await eventually(() => heard.length === 2, { what: 'the feed' });

    // The outcome is in its stream, and the publisher can read it there.
    const nc = await as('publisher');
    const consumer = await jetstreamManager(nc, { checkAPI: false }).then((jsm) =>
      jsm.consumers.add('OUTCOMES', { durable_name: 'billing', ack_policy: 'explicit' }),
    );
    const outcomes = await jetstream(nc).consumers.get('OUTCOMES', consumer.name);
    const outcome = await outcomes.next({ expires: 5_000 });
    expect(outcome?.json()).toMatchObject({ type: 'light', id: 'l-1', status: 'done' });
    expect(await outcome?.ackAck()).toBe(true);

    const connection = await openConnection({
      natsUrl: url('node'),
      clock: systemClock,
      log: logger,
    });
    const facts = await readNatsFacts(connection, namespace(), logger);
    await connection.close();
    const findings = natsFindings(facts, namespace());
    expect(findings.filter(({ level }) => level !== 'ok')).toEqual([]);
  } finally {
    await node.stop();
    await client.close();
  }
  const complaints = lines.filter(
    ({ level, reason = '' }) => level >= 40 || /permission/i.test(String(reason)),
  );
  expect(complaints).toEqual([]);
});

test('user node can do all the bus is asked for', async () => {
  const bus = await busAs('node');
  try {
    const before = await bus.logEnd();
    const { seq } = await bus.publish('jobs.light.l-2', '{}', { messageId: 'm-1' });
    expect(seq).toBe(before + 1);
    expect((await bus.publish('jobs.light.l-2', '{}', { messageId: 'm-1' })).duplicate).toBe(true);
    await bus.publish('outcomes.light.l-2', '{}');
    const got: number[] = [];
    const surprises: string[] = [];
    const readers = await Promise.all(
      Array.from({ length: SHARDS }, (_, shard) =>
        bus.openReader({
          shard,
          epoch: 7,
          startSeq: seq,
          pendingMax: LIMITS.shardPendingMax,
          ackWaitMs: LIMITS.ackWaitMs,
          onMessage: (message) => {
            got.push(message.seq);
            message.ack();
          },
          onSurprise: (reason) => surprises.push(reason),
        }),
      ),
    );
    await eventually(() => got.includes(seq), { what: 'the message reaches its shard' });
    expect(await readers[0]?.lag()).toMatchObject({ logEnd: seq });
    await bus.trimLog(seq);
    await Promise.all(readers.map((reader) => reader.stop()));
    const stop = bus.answer('queries.*.*', async () => 'here');
    expect(Buffer.from(await bus.request('queries.light.l-2', '', 2_000)).toString()).toBe('here');
    stop();
    expect(surprises).toEqual([]);
    const nc = await as('provisioner');
    const state = await jetstreamManager(nc).then((jsm) => jsm.streams.info('JOBS'));
    expect(state.state).toMatchObject({ first_seq: seq + 1, messages: 0, consumer_count: 0 });
  } finally {
    await bus.close();
  }
});

test('user node cannot remove or change streams', async () => {
  const jsm = await jetstreamManager(await as('node'));
  await refused(jsm.streams.delete('JOBS'));
  await refused(jsm.streams.update('JOBS', { max_msgs: 1 }));
  await refused(jsm.streams.purge('OUTCOMES'));
  await refused(jsm.streams.deleteMessage('JOBS', 1));
});

test('user publisher gets its acknowledgements, and can neither remove, read nor forge', async () => {
  const nc = await as('publisher');
  const ack = await jetstream(nc, { timeout: 5_000 }).publish('jobs.light.l-3', '{}');
  expect(ack.stream).toBe('JOBS');
  const jsm = await jetstreamManager(nc);
  await refused(jsm.streams.delete('JOBS'));
  await refused(jsm.streams.purge('JOBS'));
  await refused(jsm.streams.info('JOBS'));
  await refused(jsm.consumers.add('JOBS', { ack_policy: 'explicit' }));
  await refused(jetstream(nc).publish('outcomes.light.l-3', '{}'));
  await refused(jetstream(nc).publish('0.jobs.light.l-3', '{}'));
});

test('user inspector sees, and publishes nothing', async () => {
  const nc = await as('inspector');
  const jsm = await jetstreamManager(nc);
  expect((await jsm.streams.info('JOBS')).config.name).toBe('JOBS');
  expect((await jsm.streams.list().next()).map(({ config }) => config.name).sort()).toEqual([
    'JOBS',
    'OUTCOMES',
  ]);
  await refused(jetstream(nc).publish('jobs.light.l-4', '{}'));
  await refused(jsm.streams.purge('JOBS'));
  await refused(jsm.consumers.add('JOBS', { ack_policy: 'explicit' }));
});

test('user provisioner makes, changes and removes streams', async () => {
  const jsm = await jetstreamManager(await as('provisioner'));
  await jsm.streams.update('JOBS', { max_bytes: 1_000_000_000 });
  expect(await jsm.streams.delete('JOBS')).toBe(true);
  // A node that finds its stream gone makes it again.
  const bus = await busAs('node');
  expect(await bus.logEnd()).toBe(0);
  await bus.close();
});
