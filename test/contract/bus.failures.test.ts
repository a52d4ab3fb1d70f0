import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, connect as dial, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BusSettings, type NatsBus, openBus } from '../../src/bus/nats.ts';
import { shardOf, subjects } from '../../src/bus/subjects.ts';
import { systemClock } from '../../src/clock.ts';
import { type Namespace, namespace } from '../../src/config.ts';
import { findNatsServer, type RunningNats, startNats } from '../../src/dev/natsServer.ts';
import { createLogger } from '../../src/log.ts';
import { eventually, freshNamespace, natsUrl, seed } from '../support/services.ts';
import { record } from './bus.contract.ts';

const log = createLogger({ level: process.env.PERDURE_LOG_LEVEL ?? 'silent' });
/** Of the shared server; their streams go when the file is done. */
const used: Namespace[] = [];
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function open(url: string, ns: Namespace, more: Partial<BusSettings> = {}): Promise<NatsBus> {
  if (url === natsUrl()) used.push(ns);
  return openBus({ natsUrl: url, namespace: ns, shards: 64, clock: systemClock, log, ...more });
}

/** Milliseconds until `check` holds. */
async function timed(what: string, check: () => boolean | Promise<boolean>): Promise<number> {
  const from = performance.now();
  await eventually(check, { what, timeoutMs: 20_000, everyMs: 5 });
  return Math.round(performance.now() - from);
}

describe('NATS only', () => {
  let nc: NatsConnection;
  beforeAll(async () => {
    nc = await connect({ servers: natsUrl() });
  });
  afterAll(async () => {
    if (nc === undefined) return;
    const jsm = await jetstreamManager(nc);
    for (const ns of used)
      for (const stream of [ns.jobsStream, ns.outcomesStream])
        await jsm.streams.delete(stream).catch(() => {}); // some tests did so themselves
    await nc.close();
  });

  test.each([64, 1, 7, 256])('shardOf computes what the server computes, %i shards', (shards) =>
    compareShards(natsUrl(), namespace(freshNamespace()), shards),
  );

  test('namespaces on one server do not see each other', async () => {
    const [a, b] = [namespace(freshNamespace()), namespace(freshNamespace())];
    const busA = await open(natsUrl(), a);
    const busB = await open(natsUrl(), b);
    const shard = shardOf('order', 'o-1', 64);
    const seenA = await record(busA, { shard });
    const seenB = await record(busB, { shard });
    await busA.publish(subjects.start(a, 'order', 'o-1'), 'a');
    await busB.publish(subjects.start(b, 'order', 'o-1'), 'b');
    await eventually(() => seenA.messages.length + seenB.messages.length === 2, { what: 'both' });
    await pause(100);
    expect(seenA.messages.map((m) => String.fromCharCode(...m.body))).toEqual(['a']);
    expect(seenB.messages.map((m) => String.fromCharCode(...m.body))).toEqual(['b']);
    await busA.close();
    await busB.close();
  });

  test('a consumer deleted behind our back is a surprise', async () => {
    const ns = namespace(freshNamespace());
    const bus = await open(natsUrl(), ns);
    const seen = await record(bus, { shard: 0 });
    const jsm = await jetstreamManager(nc);
    const [consumer] = await jsm.consumers.list(ns.jobsStream).next();
    expect(consumer?.name).toMatch(/^s0-e1-/);
    await jsm.consumers.delete(ns.jobsStream, consumer?.name ?? '');
    const ms = await timed('a surprise', () => seen.surprises.length === 1);
    // Otherwise at the end of its pull, five seconds.
    expect(ms).toBeLessThan(4_500);
    await bus.close();
  });

  test('a reader leaves no consumer behind, and removes those of earlier epochs', async () => {
    const ns = namespace(freshNamespace());
    const bus = await open(natsUrl(), ns);
    const jsm = await jetstreamManager(nc);
    const names = async () =>
      (await jsm.consumers.list(ns.jobsStream).next()).map((info) =>
        info.name.replace(/-\w+$/, ''),
      );
    await Promise.all([record(bus, { shard: 1, epoch: 9 }), record(bus, { shard: 11, epoch: 2 })]);
    const seen = await record(bus, { shard: 1, epoch: 10 });
    expect((await names()).sort()).toEqual(['s1-e10', 's11-e2']);
    await seen.reader.stop();
    expect(await names()).toEqual(['s11-e2']);
    await bus.close();
    expect(await names()).toEqual([]);
  });

  test('a stream that was deleted is made again by who wants to read or publish', async () => {
    const ns = namespace(freshNamespace());
    const bus = await open(natsUrl(), ns);
    const jsm = await jetstreamManager(nc);
    const seen = await record(bus, { shard: 0 });
    const before = await bus.logId();
    await jsm.streams.delete(ns.jobsStream);
    await eventually(() => seen.surprises.length === 1, { what: 'a surprise' });
    await bus.publish(subjects.start(ns, 'order', 'o-1'), 'x');
    expect(await bus.logId()).not.toBe(before);
    await jsm.streams.delete(ns.jobsStream);
    await record(bus, { shard: 0 });
    await bus.close();
  });

  test('another number of shards, or a stream of somebody else, is refused', async () => {
    const ns = namespace(freshNamespace());
    const bus = await open(natsUrl(), ns);
    await expect(open(natsUrl(), ns, { shards: 32 })).rejects.toMatchObject({
      code: 'shards_differ',
    });
    // Limits an operator tuned stay; limits that are given are applied.
    const jsm = await jetstreamManager(nc);
    await jsm.streams.update(ns.jobsStream, { max_bytes: 50_000_000 });
    await (await open(natsUrl(), ns)).close();
    expect((await jsm.streams.info(ns.jobsStream)).config.max_bytes).toBe(50_000_000);
    await (await open(natsUrl(), ns, { jobsMaxBytes: 60_000_000 })).close();
    expect((await jsm.streams.info(ns.jobsStream)).config.max_bytes).toBe(60_000_000);
    expect((await jsm.streams.info(ns.outcomesStream)).config.max_bytes).toBe(-1);
    await bus.close();
    const other = namespace(freshNamespace());
    await jsm.streams.add({ name: other.jobsStream, subjects: [`${other.name}.foreign`] });
    await expect(open(natsUrl(), other)).rejects.toMatchObject({ code: 'bad_options' });
    const third = namespace(freshNamespace());
    await jsm.streams.add({ name: `mine_${third.name}`, subjects: [`${third.name}.jobs.>`] });
    await expect(open(natsUrl(), third)).rejects.toMatchObject({ code: 'bad_options' });
  });

  test('a full log says so', async () => {
    const ns = namespace(freshNamespace());
    const bus = await open(natsUrl(), ns, { jobsMaxBytes: 20_000 });
    const subject = subjects.start(ns, 'order', 'o-1');
    const from = performance.now();
    await expect(
      (async () => {
        for (let i = 0; i < 100; i++) await bus.publish(subject, new Uint8Array(1_000));
      })(),
    ).rejects.toMatchObject({ code: 'log_full' });
    // A publish nobody answers is given up after five.
    expect(performance.now() - from).toBeLessThan(4_500);
    const end = await bus.logEnd();
    await bus.trimLog(end);
    await bus.publish(subject, new Uint8Array(1_000));
    await bus.close();
  });

  test('more publishes than may be in flight all arrive', async () => {
    const ns = namespace(freshNamespace());
    const bus = await open(natsUrl(), ns);
    const acks = await Promise.all(
      Array.from({ length: 5_000 }, (_, i) =>
        bus.publish(subjects.start(ns, 'order', `o-${i}`), '', { messageId: `m-${i}` }),
      ),
    );
    expect(new Set(acks.map((ack) => ack.seq)).size).toBe(5_000);
    await bus.close();
  });

  /** A bus on a line that can be cut while the server is left alone. */
  async function overALine() {
    const line = await flakyLine(natsUrl());
    const ns = namespace(freshNamespace());
    used.push(ns);
    const bus = await open(line.url, ns);
    const close = async () => {
      await bus.close();
      line.close();
    };
    const subject = subjects.start(ns, 'order', 'o-1');
    return { line, bus, shard: shardOf('order', 'o-1', 64), subject, close };
  }

  test('an outage the process sits out: publishing goes on, reading is taken up again', async () => {
    const { line, bus, shard, subject, close } = await overALine();
    const seen = await record(bus, { shard }, (message) => message.ack());
    await bus.publish(subject, '1');
    await eventually(() => seen.messages.length === 1, { what: 'the first' });
    line.cut();
    await timed('it notices', () => !bus.connected);
    await expect(bus.publish(subject, 'x', { timeoutMs: 300 })).rejects.toMatchObject({
      code: 'bus_unavailable',
    });
    await expect(bus.request('a.b', '', 100)).rejects.toMatchObject({ code: 'bus_unavailable' });
    await expect(bus.logEnd()).rejects.toMatchObject({ code: 'bus_unavailable' });
    const waits = bus.publish(subject, '2', { messageId: 'two', timeoutMs: 10_000 });
    line.mend();
    await timed('it is back', () => bus.connected);
    expect(await waits).toMatchObject({ duplicate: false });
    const ms = await timed('the second', () => seen.messages.length === 2);
    expect(ms).toBeLessThan(5_000);
    expect(seen.surprises).toEqual([]);
    await close();
  });

  test('an acknowledgement that an outage swallowed is said again when the line is back', async () => {
    const { line, bus, shard, subject, close } = await overALine();
    const seen = await record(bus, { shard, pendingMax: 2 });
    for (const text of ['1', '2', '3', '4']) await bus.publish(subject, text);
    await eventually(() => seen.messages.length === 2, { what: 'as many as may wait' });
    line.cut();
    await timed('it notices', () => !bus.connected);
    seen.messages[1]?.ack();
    line.mend();
    // Long before ack-wait, after which the server would ask for it.
    const ms = await timed('the others', () => seen.messages.length === 4);
    expect(ms).toBeLessThan(4_000);
    expect(seen.surprises).toEqual([]);
    await close();
  });
});

describe('a server of its own', () => {
  const dir = mkdtempSync(join(tmpdir(), 'perdure-bus-'));
  let server: RunningNats;
  beforeAll(async () => {
    server = await startNats({ dir: join(dir, 'a') });
  });
  afterAll(async () => {
    await server?.stop('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  });

  test('shardOf computes what the server computes, default namespace', () =>
    compareShards(server.url, namespace(), 64));

  test('kill -9 and a restart: nothing accepted is lost, publishing goes on by itself', async () => {
    const ns = namespace(freshNamespace());
    const bus = await open(server.url, ns);
    const shard = shardOf('order', 'o-1', 64);
    const subject = subjects.start(ns, 'order', 'o-1');
    const seen = await record(bus, { shard });
    const accepted: number[] = [];
    for (let i = 0; i < 20; i++) accepted.push((await bus.publish(subject, `${i}`)).seq);
    await eventually(() => seen.messages.length === 20, { what: 'twenty messages' });
    for (const message of seen.messages.slice(0, 5)) message.ack();
    const before = await bus.logId();
    const inFlight = Array.from({ length: 200 }, (_, i) =>
      bus.publish(subject, `f${i}`, { messageId: `f${i}`, timeoutMs: 20_000 }),
    );
    await server.stop('SIGKILL');
    await timed('it notices', () => !bus.connected);
    seen.messages[5]?.ack(); // into the void
    server = await startNats({ dir: join(dir, 'a'), port: server.port });
    const back = await timed('connected again', () => bus.connected);
    const surprised = await timed('the lost consumer shows', () => seen.surprises.length === 1);
    const acks = await Promise.all(inFlight);
    const last = await bus.publish(subject, 'last');
    console.log(
      `    connected after ${back} ms, surprise ${surprised} ms later: ${seen.surprises}`,
    );
    expect(surprised).toBeLessThan(5_000);
    expect(await bus.logId()).toBe(before);
    const next = await record(bus, { shard, epoch: 2, startSeq: accepted[5] ?? 0 });
    await eventually(() => next.seqs().includes(last.seq), { what: 'the last message' });
    const expected = [...accepted.slice(5), ...new Set(acks.map((ack) => ack.seq)), last.seq];
    expect(next.seqs()).toEqual(expected.sort((x, y) => x - y));
    await bus.close();
  });

  test('a server that hangs is noticed, also with a full socket', async () => {
    const ns = namespace(freshNamespace());
    const bus = await open(server.url, ns);
    const seen = await record(bus, { shard: 0 });
    process.kill(server.pid, 'SIGSTOP');
    const heavy = setInterval(() => {
      if (bus.connected)
        for (let i = 0; i < 20; i++) bus.broadcast('noise', new Uint8Array(500_000));
    }, 100);
    const ms = await timed('it notices', () => !bus.connected);
    clearInterval(heavy);
    process.kill(server.pid, 'SIGCONT');
    const back = await timed('connected again', () => bus.connected);
    console.log(`    noticed after ${ms} ms, connected ${back} ms after it went on`);
    expect(ms).toBeLessThan(20_000);
    await bus.publish(subjects.start(ns, 'order', 'o-1'), 'x');
    await pause(1_000);
    expect(seen.surprises.length).toBeLessThanOrEqual(1);
    await bus.close();
  });

  test('a server that is not there yet is waited for', async () => {
    const port = await freePort();
    const opening = open(`nats://127.0.0.1:${port}`, namespace(freshNamespace()));
    await pause(600);
    const late = await startNats({ dir: join(dir, 'late'), port });
    const bus = await opening;
    expect(bus.connected).toBe(true);
    await bus.close();
    await late.stop('SIGKILL');
    const stop = new AbortController();
    const waiting = open(late.url, namespace(freshNamespace()), { signal: stop.signal });
    setTimeout(() => stop.abort(), 100);
    await expect(waiting).rejects.toMatchObject({ code: 'bus_unavailable' });
  });

  test('wrong credentials are told at once, and no password is', async () => {
    const guarded = await startNats({
      dir: join(dir, 'auth'),
      configText: 'authorization { user: ann, password: "s3cret" }\n',
    });
    const ns = namespace(freshNamespace());
    const from = performance.now();
    const refused = open(guarded.url.replace('//', '//ann:wrong@'), ns);
    await expect(refused).rejects.toMatchObject({ code: 'wrong_credentials' });
    await expect(refused).rejects.not.toThrow(/wrong@/);
    await expect(open(guarded.url, ns)).rejects.toMatchObject({ code: 'wrong_credentials' });
    expect(performance.now() - from).toBeLessThan(10_000);
    const bus = await open(guarded.url.replace('//', '//ann:s3cret@'), ns);
    await bus.close();
    await guarded.stop('SIGKILL');
  });

  test('a server without JetStream is told at once', async () => {
    const port = await freePort();
    const plain = spawn(await findNatsServer(), ['-a', '127.0.0.1', '-p', String(port)], {
      stdio: 'ignore',
    });
    const refused = open(`nats://127.0.0.1:${port}`, namespace(freshNamespace()));
    await expect(refused).rejects.toMatchObject({ code: 'bad_options' });
    await expect(refused).rejects.toThrow(/without JetStream/);
    plain.kill('SIGKILL');
  });

  test('a server that is too old is told at once', async () => {
    const old = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (data) => String(data).includes('PING') && socket.write('PONG\r\n'));
      socket.write('INFO {"version":"2.9.25","headers":true,"max_payload":1048576}\r\n');
    });
    const port = await listen(old);
    const refused = open(`nats://127.0.0.1:${port}`, namespace(freshNamespace()));
    await expect(refused).rejects.toMatchObject({ code: 'server_too_old' });
    await expect(refused).rejects.toThrow(/2\.9\.25.*2\.10\.0/);
    old.close();
  });

  test('a client needs no more than to publish', async () => {
    const guarded = await startNats({
      dir: join(dir, 'perms'),
      configText: `authorization { users: [
        { user: node, password: n },
        { user: client, password: c, permissions: {
          publish: ["jobs.>", "events.>", "queries.>"], subscribe: ["_INBOX.>", "outcomes.>"] } }
      ] }\n`,
    });
    const ns = namespace();
    const node = await open(guarded.url.replace('//', '//node:n@'), ns);
    const client = await open(guarded.url.replace('//', '//client:c@'), ns, {
      ensureStreams: false,
    });
    expect(await client.publish('jobs.order.o-1', '{}')).toMatchObject({ seq: 1 });
    await client.close();
    await node.close();
    await guarded.stop('SIGKILL');
  });
});

function listen(server: Server): Promise<number> {
  return new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)),
  );
}

async function freePort(): Promise<number> {
  const holder = createServer();
  const port = await listen(holder);
  await new Promise((resolve) => holder.close(resolve));
  return port;
}

/** Publishes to 400 random addresses and compares where the server stored them with `shardOf`. */
async function compareShards(url: string, ns: Namespace, shards: number): Promise<void> {
  const bus = await open(url, ns, { shards });
  const nc = await connect({ servers: url });
  const jsm = await jetstreamManager(nc);
  const random = randomFrom(seed());
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-';
  const token = () =>
    Array.from(
      { length: 1 + Math.floor(random() ** 3 * 128) },
      () => letters[Math.floor(random() * 64)],
    ).join('');
  const addresses = Array.from({ length: 400 }, () => [token(), token()] as const);
  const acks = await Promise.all(
    addresses.map(([type, id], i) =>
      bus.publish((i % 2 ? subjects.start : subjects.event)(ns, type, id), ''),
    ),
  );
  for (const [i, [type, id]] of addresses.entries()) {
    const stored = await jsm.streams.getMessage(ns.jobsStream, { seq: acks[i]?.seq ?? 0 });
    expect(stored?.subject).toBe(
      `${shardOf(type, id, shards)}.${i % 2 ? 'jobs' : 'events'}.${type}.${id}`,
    );
  }
  await bus.close();
  await nc.close();
}

/** Mulberry32: the same numbers for the same seed. */
function randomFrom(start: number): () => number {
  let state = start | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A line to the server that can be cut. */
async function flakyLine(target: string) {
  const { hostname, port } = new URL(target);
  const sockets = new Set<{ destroy(): void }>();
  let whole = true;
  const server = createServer((inside) => {
    if (!whole) return void inside.destroy();
    const outside = dial(Number(port), hostname);
    for (const socket of [inside, outside]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        inside.destroy();
        outside.destroy();
        sockets.delete(socket);
      });
    }
    inside.pipe(outside);
    outside.pipe(inside);
  });
  const ownPort = await listen(server);
  return {
    url: `nats://127.0.0.1:${ownPort}`,
    cut() {
      whole = false;
      for (const socket of sockets) socket.destroy();
    },
    mend() {
      whole = true;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
