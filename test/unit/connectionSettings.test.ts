import type { Socket } from 'node:net';
import { connect as dialNats } from '@nats-io/transport-node';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clientOptions, openConnection } from '../../src/bus/connection.ts';
import { systemClock } from '../../src/clock.ts';
import { openSession, type Session } from '../../src/store/connection.ts';
import { freshDatabase, natsUrl } from '../support/services.ts';

// Defaults of the clients and servers that break one promise or another, each with what is set instead.

const log = pino({ level: 'silent' });

describe('the NATS client', () => {
  const options = clientOptions({ natsUrl: natsUrl(), clock: systemClock, log });

  test('maxReconnectAttempts: 10, then it closes for good → never gives up', () => {
    expect(options.maxReconnectAttempts).toBe(-1);
    expect(options.reconnect).not.toBe(false);
  });

  test('pingInterval: 2 min × maxPingOut: 2, a silent cut is noticed after 6 min → within 4.5 s', () => {
    const { pingInterval = 0, maxPingOut = 0 } = options;
    // The client gives up when it would send one ping more than may be out.
    expect(pingInterval * (maxPingOut + 1)).toBeLessThanOrEqual(4_500);
    // A round trip of a second is no cut.
    expect(pingInterval * maxPingOut).toBeGreaterThan(2_000);
  });

  test('reconnectTimeWait: 2 s, jitter 100 ms → 250 to 500 ms, spread evenly, one rest told for each', () => {
    let rests = 0;
    const { reconnectDelayHandler } = clientOptions(
      { natsUrl: natsUrl(), clock: systemClock, log },
      () => rests++,
    );
    const waits = Array.from({ length: 1_000 }, () => reconnectDelayHandler?.() ?? 0);
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(250);
    expect(Math.max(...waits)).toBeLessThanOrEqual(500);
    expect(Math.max(...waits) - Math.min(...waits)).toBeGreaterThan(200);
    expect(rests).toBe(1_000);
  });

  test('timeout: 20 s for connecting → 4 s', () => {
    expect(options.timeout).toBe(4_000);
  });

  test('ignoreAuthErrorAbort: false, two refusals in a row end it → goes on, credentials may be on their way', () => {
    expect(options.ignoreAuthErrorAbort).toBe(true);
  });

  test('noAsyncTraces: false, an Error for each request → none', () => {
    expect(options.noAsyncTraces).toBe(true);
  });

  test('waitOnFirstConnect: false, one refusal ends the start → our own loop waits, and says why', async () => {
    const told: string[] = [];
    const stop = new AbortController();
    const opening = openConnection({
      natsUrl: 'nats://127.0.0.1:1',
      clock: systemClock,
      log,
      signal: stop.signal,
      onWaiting: (reason) => {
        told.push(reason);
        if (told.length === 2) stop.abort();
      },
    });
    await expect(opening).rejects.toMatchObject({ code: 'bus_unavailable' });
    expect(told).toHaveLength(2);
  });

  test('no option has a name the client does not know', async () => {
    // What it resolved is what it works with.
    const nc = await dialNats(options);
    const inside = (nc as unknown as { options: Record<string, unknown> }).options;
    expect(inside).toMatchObject({
      maxReconnectAttempts: -1,
      pingInterval: options.pingInterval,
      maxPingOut: 2,
      timeout: 4_000,
      ignoreAuthErrorAbort: true,
      noAsyncTraces: true,
    });
    expect(inside.reconnectDelayHandler).toBe(options.reconnectDelayHandler);
    await nc.close();
  });
});

describe('a session with Postgres', () => {
  let database: Awaited<ReturnType<typeof freshDatabase>>;
  let session: Session;

  const open = (more: { indexPlans?: boolean } = {}) =>
    openSession({
      databaseUrl: database.url,
      schema: 'perdure',
      applicationName: 'settings test',
      clock: systemClock,
      log,
      ...more,
    });
  const show = async (name: string, on: Session = session) => {
    const { rows } = await on.client.query<Record<string, string>>(`SHOW ${name}`);
    return Object.values(rows[0] ?? {})[0];
  };

  beforeAll(async () => {
    database = await freshDatabase();
    session = await open();
  });
  afterAll(async () => {
    session?.destroy();
    await database?.drop();
  });

  test.each([
    ['statement_timeout', '0, a statement may run for ever', '5s'],
    ['lock_timeout', '0, a lock is waited for for ever', '2s'],
    ['idle_in_transaction_session_timeout', '0, a frozen client keeps its locks', '5s'],
    ['client_connection_check_interval', '0, a statement of a gone client runs on', '2s'],
    ['jit', 'on, milliseconds of compiling', 'off'],
    ['search_path', 'public and temporary tables first', 'perdure, pg_temp'],
    ['application_name', 'empty, nobody knows whose session it is', 'settings test'],
    ['synchronous_commit', 'whatever the role has', 'on'],
  ])('%s: %s → %s', async (name, _, wanted) => {
    expect(await show(name)).toBe(wanted);
  });

  // Over a Unix socket Postgres shows 0; the tests run over TCP.
  test.each([
    ['tcp_keepalives_idle', '2 hours', '5'],
    ['tcp_keepalives_interval', '75 s', '2'],
    ['tcp_keepalives_count', '9', '3'],
    ['tcp_user_timeout', '15 min of resending', '10000'],
  ])('%s: %s until the server notices a vanished client → %s', async (name, _, wanted) => {
    expect(await show(name)).toBe(wanted);
  });

  test('synchronous_commit: off for the role → on for us', async () => {
    const name = new URL(database.url).pathname.slice(1);
    await session.client.query(`ALTER DATABASE ${name} SET synchronous_commit = off`);
    const other = await open();
    expect(await show('synchronous_commit', other)).toBe('on');
    other.destroy();
    await session.client.query(`ALTER DATABASE ${name} RESET synchronous_commit`);
  });

  test('plan_cache_mode: auto, plans made for empty tables → plans by index where the engine asks for it', async () => {
    const other = await open({ indexPlans: true });
    expect(await show('plan_cache_mode', other)).toBe('force_generic_plan');
    expect(await show('enable_seqscan', other)).toBe('off');
    expect(await show('plan_cache_mode')).toBe('auto');
    other.destroy();
  });

  test('keepAlive: false in pg → on, first probe after 5 s', () => {
    type Inside = {
      connection: { _keepAlive: boolean; _keepAliveInitialDelayMillis: number; stream: Socket };
    };
    const { connection } = session.client as unknown as Inside;
    expect(connection._keepAlive).toBe(true);
    expect(connection._keepAliveInitialDelayMillis).toBe(5_000);
    expect(connection.stream.remotePort).toBeGreaterThan(0);
  });

  test('connectionTimeoutMillis: 0 in pg, connecting may take for ever → 3 s', () => {
    const inside = session.client as unknown as { _connectionTimeoutMillis: number };
    expect(inside._connectionTimeoutMillis).toBe(3_000);
  });

  test('a server that accepts and says nothing → given up within 6.5 s', async () => {
    const { createServer } = await import('node:net');
    const sockets: Socket[] = [];
    const mute = createServer((socket) => void sockets.push(socket.on('error', () => {})));
    await new Promise<void>((done) => mute.listen(0, '127.0.0.1', done));
    const url = new URL(database.url);
    url.port = String((mute.address() as { port: number }).port);
    const from = performance.now();
    await expect(
      openSession({
        databaseUrl: url.href,
        schema: 'perdure',
        applicationName: 'x',
        clock: systemClock,
        log,
      }),
    ).rejects.toThrow();
    expect(performance.now() - from).toBeLessThan(6_500);
    for (const socket of sockets) socket.destroy();
    await new Promise((done) => mute.close(done));
  });

  test("no 'error' listener, an idle connection that dies ends the process → listened to, session over", async () => {
    const other = await open();
    expect(other.client.listenerCount('error')).toBeGreaterThan(0);
    const { rows } = await other.client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    await session.client.query('SELECT pg_terminate_backend($1)', [rows[0]?.pid]);
    await other.ended;
    expect(other.alive).toBe(false);
  });

  test('bigint comes as text → as a number, and never as a wrong one', async () => {
    const { rows } = await session.client.query<{ n: unknown }>('SELECT (2^53 - 1)::int8 AS n');
    expect(rows[0]?.n).toBe(Number.MAX_SAFE_INTEGER);
    await expect(session.client.query('SELECT (2^53)::int8 AS n')).rejects.toThrow(/2\^53/);
  });

  test('a pool of 10 with an endless queue → no pool: single sessions, each with its supervisor', async () => {
    const { readdirSync, readFileSync } = await import('node:fs');
    const { join, resolve } = await import('node:path');
    const src = resolve(import.meta.dirname, '../../src');
    const users = readdirSync(src, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .filter((name) => /\bPool\b/.test(readFileSync(join(src, name), 'utf8')));
    expect(users).toEqual([]);
  });
});
