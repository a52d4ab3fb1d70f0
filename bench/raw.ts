import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import pg from 'pg';
import { getInitialSnapshot, getNextSnapshot } from 'xstate';
import { counter } from './actors.ts';
import { cpuSeconds } from './cpu.ts';
import type { Server } from './servers.ts';

/** What the machine gives to anybody: the most a durable engine on the same servers could reach. */
export interface Raw {
  perSecond: number;
  /** CPU-seconds per 1,000, of this process and of the server. */
  cpuPer1000: number;
}

const BATCH = 500;
const IN_FLIGHT = 500;

async function measure(
  count: number,
  server: Server | undefined,
  run: () => Promise<void>,
): Promise<Raw> {
  const pids = [process.pid, ...(server ? [server.pid] : [])];
  // Of this process alone: what it has started is not below it in the account, but may be in /proc.
  const cpu = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6 + (server ? cpuSeconds(...pids.slice(1)) : 0);
  };
  const cpuBefore = cpu();
  const from = performance.now();
  await run();
  const seconds = (performance.now() - from) / 1_000;
  return { perSecond: count / seconds, cpuPer1000: ((cpu() - cpuBefore) / count) * 1_000 };
}

/** Rows of 200 bytes in commits of 500 over one connection: first all are inserted, then all are updated. */
export async function postgresRows(
  server: Server,
  count: number,
): Promise<{ insert: Raw; update: Raw }> {
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  const text = 'x'.repeat(200);
  const batches = async (name: string, sql: string) => {
    for (let from = 0; from < count; from += BATCH) {
      const ids = Array.from(
        { length: Math.min(BATCH, count - from) },
        (_, i) => `job-${from + i}`,
      );
      await client.query({ name, text: sql, values: [ids, ids.map(() => text)] });
    }
  };
  try {
    await client.query(
      'CREATE TABLE raw (id text COLLATE "C" PRIMARY KEY, seq bigint NOT NULL, body text NOT NULL) WITH (fillfactor = 70)',
    );
    const insert = await measure(count, server, () =>
      batches(
        'insert',
        'INSERT INTO raw SELECT id, 1, body FROM unnest($1::text[], $2::text[]) t (id, body)',
      ),
    );
    const update = await measure(count, server, () =>
      batches(
        'update',
        `UPDATE raw SET seq = seq + 1, body = t.body FROM unnest($1::text[], $2::text[]) t (id, body) WHERE raw.id = t.id`,
      ),
    );
    return { insert, update };
  } finally {
    await client.query('DROP TABLE IF EXISTS raw');
    await client.end();
  }
}

/** Small messages, 500 publishes in flight; then one consumer takes and acknowledges all of them. */
export async function jetStream(
  server: Server,
  count: number,
): Promise<{ publish: Raw; consume: Raw }> {
  const connection = await connect({ servers: server.url });
  const manager = await jetstreamManager(connection);
  const client = jetstream(connection);
  try {
    await manager.streams.add({ name: 'RAW', subjects: ['raw.>'] });
    const publish = await measure(count, server, async () => {
      let next = 0;
      const lane = async () => {
        while (next < count)
          await client.publish(`raw.${next++}`, '{"total":30}', { timeout: 60_000 });
      };
      await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
    });
    await manager.consumers.add('RAW', {
      durable_name: 'all',
      ack_policy: 'explicit',
      max_ack_pending: 5_000,
    });
    const consumer = await client.consumers.get('RAW', 'all');
    const consume = await measure(count, server, async () => {
      let left = count;
      for await (const message of await consumer.consume({ max_messages: 5_000 })) {
        message.ack();
        if (--left === 0) break;
      }
      await connection.flush();
    });
    return { publish, consume };
  } finally {
    await manager.streams.delete('RAW');
    await connection.close();
  }
}

/** Events to one counting machine, nothing kept. */
export function xstateSteps(count: number): Promise<Raw> {
  const { machine } = counter;
  return measure(count, undefined, async () => {
    let snapshot = getInitialSnapshot(machine);
    for (let i = 0; i < count; i++)
      snapshot = getNextSnapshot(machine, snapshot, { type: 'ADD', by: 1 });
    if (snapshot.context.count !== count) throw new Error('it has miscounted');
  });
}
