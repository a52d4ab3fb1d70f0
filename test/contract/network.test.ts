import { connect, type NatsConnection } from '@nats-io/transport-node';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { clientOptions } from '../../src/bus/connection.ts';
import { systemClock } from '../../src/clock.ts';
import { createLogger } from '../../src/log.ts';
import { type Line, type Network, openNetwork } from '../support/network.ts';
import { eventually, freshDatabase, freshNamespace, natsUrl } from '../support/services.ts';

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const NEVER = 'nothing yet';
/** What becomes of it within 300 ms. */
const soon = <T>(result: Promise<T>) => Promise.race([result, pause(300).then(() => NEVER)]);

let database: Awaited<ReturnType<typeof freshDatabase>>;
let network: Network;
let line: Line;

beforeAll(async () => {
  database = await freshDatabase();
  network = await openNetwork({ natsUrls: [natsUrl()], databaseUrl: database.url });
  line = await network.line('n1');
});
afterAll(async () => {
  await network?.close();
  await database?.drop();
});
afterEach(() => network.heal());

describe('Postgres', () => {
  const clients: Client[] = [];
  let direct: Client;

  beforeAll(async () => {
    direct = await dial(database.url);
    await direct.query('CREATE TABLE t (x text)');
  });
  afterEach(async () => {
    // `direct` is the first; what was cut need not say goodbye.
    for (const client of clients.splice(1)) await soon(client.end().catch(() => {}));
  });
  afterAll(() => direct?.end());

  async function dial(url: string): Promise<Client> {
    const client = new Client({ connectionString: url });
    client.on('error', () => {});
    await client.connect();
    clients.push(client);
    return client;
  }

  const insert = (client: Client, x: string) =>
    client.query('INSERT INTO t VALUES ($1)', [x]).then(
      () => 'stored',
      (error: NodeJS.ErrnoException) => error.code ?? 'lost',
    );
  const rows = async (x: string) =>
    (await direct.query('SELECT FROM t WHERE x = $1', [x])).rowCount;
  test.each(['blackhole', 'to'] as const)('%s: nothing reaches it', async (how) => {
    const client = await dial(line.databaseUrl);
    await line.cut('postgres', how);
    const answer = insert(client, how);
    expect(await soon(answer)).toBe(NEVER);
    await line.heal();
    expect(await answer).not.toBe('stored');
    expect(await rows(how)).toBe(0);
    expect(await insert(await dial(line.databaseUrl), how)).toBe('stored');
  });

  test('from: it is done, and the answer gets lost', async () => {
    const client = await dial(line.databaseUrl);
    await line.cut('postgres', 'from');
    const answer = insert(client, 'from');
    await eventually(async () => (await rows('from')) === 1, { what: 'the row' });
    expect(await soon(answer)).toBe(NEVER);
    await line.heal();
    expect(await answer).not.toBe('stored');
  });

  test('stall: it is done once the line is healed, on the same connection', async () => {
    const client = await dial(line.databaseUrl);
    await line.cut('postgres', 'stall');
    const answer = insert(client, 'stall');
    expect(await soon(answer)).toBe(NEVER);
    expect(await rows('stall')).toBe(0);
    await line.heal();
    expect(await answer).toBe('stored');
    expect(await insert(client, 'stall')).toBe('stored');
  });

  test('stall: what a node sent before it gave up arrives late', async () => {
    const client = await dial(line.databaseUrl);
    await line.cut('postgres', 'stall');
    void insert(client, 'late');
    await pause(50);
    (
      client as unknown as { connection: { stream: { destroy(): void } } }
    ).connection.stream.destroy();
    await pause(50);
    await line.heal();
    await eventually(async () => (await rows('late')) === 1, { what: 'the row' });
  });

  test('blackhole: it does not learn that the node has closed', async () => {
    const client = await dial(line.databaseUrl);
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    const session = async () =>
      (await direct.query('SELECT FROM pg_stat_activity WHERE pid = $1', [rows[0]?.pid])).rowCount;
    await line.cut('postgres');
    void client.end().catch(() => {});
    await pause(200);
    expect(await session()).toBe(1);
    await line.heal();
    await eventually(async () => (await session()) === 0, { what: 'it is gone' });
  });

  test('refuse', async () => {
    const client = await dial(line.databaseUrl);
    await line.cut('postgres', 'refuse');
    expect(await insert(client, 'refuse')).not.toBe('stored');
    await expect(dial(line.databaseUrl)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await line.heal();
    expect(await insert(await dial(line.databaseUrl), 'refuse')).toBe('stored');
  });

  test('reset', async () => {
    const client = await dial(line.databaseUrl);
    const over = new Promise<Error>((resolve) => client.once('error', resolve));
    await line.reset('postgres');
    expect(await over).toMatchObject({ code: 'ECONNRESET' });
    expect(await insert(await dial(line.databaseUrl), 'reset')).toBe('stored');
  });

  test('latency, and the last one holds', async () => {
    const client = await dial(line.databaseUrl);
    await line.latency('postgres', 5_000);
    await line.latency('postgres', 100, 10);
    const from = performance.now();
    expect(await insert(client, 'latency')).toBe('stored');
    expect(performance.now() - from).toBeGreaterThan(170);
    await line.heal();
  });

  test('bandwidth and slicer', async () => {
    const client = await dial(line.databaseUrl);
    await line.bandwidth('both', 500);
    await line.slicer('both', 1_000);
    const from = performance.now();
    expect(await insert(client, 'x'.repeat(100_000))).toBe('stored');
    expect(performance.now() - from).toBeGreaterThan(180);
  });

  test('one node is cut and another is not', async () => {
    const other = await network.line('n2');
    await line.cut('both');
    expect(await insert(await dial(other.databaseUrl), 'n2')).toBe('stored');
    expect(await network.line('n1')).toBe(line);
    await other.remove();
    await expect(dial(other.databaseUrl)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });
});

describe('NATS', () => {
  let direct: NatsConnection;
  let nc: NatsConnection;
  const subject = freshNamespace();
  const heard: string[] = [];
  const heardThere: string[] = [];

  beforeAll(async () => {
    direct = await connect({ servers: natsUrl() });
    direct.subscribe(subject, { callback: (_, msg) => void heardThere.push(msg.string()) });
    await direct.flush();
    // As a node connects: never giving up, and soon aware of silence.
    const log = createLogger({ level: 'silent' });
    nc = await connect(clientOptions({ natsUrl: line.natsUrl, clock: systemClock, log }));
    nc.subscribe(subject, { callback: (_, msg) => void heard.push(msg.string()) });
    await nc.flush();
  });
  afterAll(async () => {
    await direct?.close();
    await nc?.close();
  });

  /** Says it here or there until it is heard, as core NATS forgets. */
  const getsThrough = (from: NatsConnection, words: string, ears: string[]) =>
    eventually(
      () => {
        from.publish(subject, words);
        return ears.includes(words);
      },
      { what: words },
    );

  test('to: it hears and is not heard', async () => {
    await line.cut('nats', 'to');
    nc.publish(subject, 'lost');
    await getsThrough(direct, 'heard', heard);
    expect(heardThere).not.toContain('lost');
    await line.heal();
    await getsThrough(nc, 'healed to', heardThere);
    expect(heardThere).not.toContain('lost');
  });

  test('from: it is heard and does not hear', async () => {
    await line.cut('nats', 'from');
    direct.publish(subject, 'never');
    await getsThrough(nc, 'said', heardThere);
    await line.heal();
    await getsThrough(direct, 'healed from', heard);
    expect(heard).not.toContain('never');
  });

  test('blackhole, refuse and reset', async () => {
    for (const how of ['blackhole', 'refuse'] as const) {
      await line.cut('nats', how);
      nc.publish(subject, how);
      await pause(100);
      expect(heardThere).not.toContain(how);
      await network.heal();
      await getsThrough(nc, `after ${how}`, heardThere);
    }
    const lost = (async () => {
      for await (const { type } of nc.status()) if (type === 'disconnect') return;
    })();
    await line.reset('nats');
    await lost;
    await getsThrough(direct, 'after reset', heard);
  });
});

test('credentials and parameters stay in the URLs, one for each server', async () => {
  const guarded = await openNetwork({
    natsUrls: ['nats://ann:s%40x@127.0.0.1:4222', 'nats://token@127.0.0.1'],
    databaseUrl: 'postgres://bob:pw@127.0.0.1/db?application_name=x',
  });
  const { natsUrl, databaseUrl } = await guarded.line('n1');
  expect(natsUrl).toMatch(/^nats:\/\/ann:s%40x@127\.0\.0\.1:\d+,nats:\/\/token@127\.0\.0\.1:\d+$/);
  expect(databaseUrl).toMatch(/^postgres:\/\/bob:pw@127\.0\.0\.1:\d+\/db\?application_name=x$/);
  await guarded.close();
});
