import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import pg from 'pg';
import { compressing, encrypting } from '../examples/codec.ts';
import type { Bus } from '../src/bus/bus.ts';
import { openBus } from '../src/bus/nats.ts';
import { keepHeapSmall } from '../src/cli/heap.ts';
import { systemClock } from '../src/clock.ts';
import { type Limits, namespace, SHARDS } from '../src/config.ts';
import { createClient, createNode } from '../src/index.ts';
import { createLogger } from '../src/log.ts';
import { migrate } from '../src/store/migrate.ts';
import { VERSION } from '../src/version.ts';
import { actors, noop } from './actors.ts';
import {
  type Client,
  inFlight,
  type Kind,
  type Peer,
  type Place,
  type ServerName,
  type Worker,
} from './peer.ts';

const log = createLogger({ level: process.env.PERDURE_LOG_LEVEL ?? 'error' });
/** Publishes in flight of a client that does nothing else. */
const BULK_IN_FLIGHT = 500;

function perdure(name: string, nats: ServerName, caveat: string, variantOf?: string): Peer {
  return {
    name,
    servers: ['postgres', nats],
    versions: () => ({ perdure: VERSION }),
    settings: ['defaults; recovery when tuned: leaseMs 2000, leaseRenewMs 500'],
    caveats: [
      caveat,
      'every transition is kept, with its event and its snapshot; a flow is four of them, all of them committed',
    ],
    scale: 1,
    workloads: {
      noop: { units: 1 },
      flow: { units: 4 },
      events: { units: 1 },
      slow: variantOf ? { no: `as ${variantOf}` } : { units: 1 },
      sleep: variantOf ? { no: `as ${variantOf}` } : { units: 1 },
    },
    worker,
    client,
    forget,
  };
}

export const peers: readonly Peer[] = [
  perdure('perdure', 'nats', 'an accepted job is on disk before its publisher hears of it'),
  perdure(
    'perdure, sync default',
    'nats-default',
    "JetStream's default: an accepted job may be lost when the machine (not the process) dies within two minutes",
    'perdure',
  ),
];

const codecs = {
  encrypting: encrypting(`bench:${Buffer.alloc(32, 1).toString('base64')}`),
  compressing,
};

async function worker(place: Place): Promise<Worker> {
  // As `perdure serve` does.
  keepHeapSmall();
  const limits = JSON.parse(process.env.BENCH_LIMITS ?? '{}') as Partial<Limits>;
  const codec = codecs[process.env.BENCH_CODEC as keyof typeof codecs];
  const node = createNode({
    actors,
    ...(codec && { codec }),
    ...servers(place),
    limits: { ...(place.tuned ? { leaseMs: 2_000, leaseRenewMs: 500 } : {}), ...limits },
    logger: log,
  });
  await migrated(place);
  await node.start();
  return { units: () => node.status().transitions, stop: () => node.stop() };
}

const servers = ({ natsUrl, databaseUrl, name }: Place) => ({
  natsUrl,
  databaseUrl,
  namespace: name,
});

const migrated = ({ databaseUrl, name }: Place) =>
  migrate({ databaseUrl, namespace: namespace(name), shards: SHARDS, log });

const TYPES: Record<Kind, string> = {
  noop: 'noop',
  flow: 'flow',
  events: 'counter',
  slow: 'slow',
  sleep: 'sleeper',
};

async function client(place: Place): Promise<Client> {
  await migrated(place);
  const { prefix, kind, marks } = place;
  const bus = await openBus({
    natsUrl: place.natsUrl,
    namespace: namespace(place.name),
    shards: SHARDS,
    clock: systemClock,
    log,
  });
  const sql = new pg.Client({ connectionString: place.databaseUrl });
  await sql.connect();
  const type = TYPES[kind];
  const subject = (what: string, id: string) => `${place.name}.${what}.${type}.${id}`;
  const put = (i: number) => {
    const id = `${prefix}${i}`;
    const input = kind === 'slow' ? { id, marks } : { n: i };
    return publish(bus, subject('jobs', id), JSON.stringify(input), id);
  };
  const caller = createClient({ ...servers(place), logger: log });
  let asked = 0;
  let sent = 0;
  return {
    bulk: (count) => inFlight(count, put, BULK_IN_FLIGHT),
    each: (count) => inFlight(count, put),
    async one() {
      await caller.start(noop, { id: `${prefix}one${asked++}`, until: 'committed' });
    },
    create: (count) => inFlight(count, put),
    send: (count, instances) =>
      inFlight(
        count,
        (i) =>
          publish(
            bus,
            subject('events', `${prefix}${i % instances}`),
            '{"type":"ADD","by":1}',
            `${prefix}e${sent++}`,
          ),
        BULK_IN_FLIGHT,
      ),
    async finished(count) {
      // A range of the primary key: what else is in the table is not looked at.
      const { rows } = await sql.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM "${namespace(place.name).schema}".actor
          WHERE type = $1 AND id >= $2 AND id < $3 AND status = $4`,
        [type, prefix, `${prefix}~`, kind === 'sleep' ? 'active' : 'done'],
      );
      return rows[0]?.n === count;
    },
    async close() {
      await Promise.all([bus.close(), caller.close(), sql.end()]);
    },
  };
}

/** A namespace of its own keeps measurements apart, but its messages and their ids would be kept for an hour. */
async function forget({ natsUrl, name }: Place): Promise<void> {
  const connection = await connect({ servers: natsUrl });
  try {
    const { streams } = await jetstreamManager(connection);
    const { jobsStream, outcomesStream } = namespace(name);
    for (const stream of [jobsStream, outcomesStream]) await streams.delete(stream);
  } finally {
    await connection.close();
  }
}

const publish = (bus: Bus, subject: string, body: string, messageId: string) =>
  bus.publish(subject, body, { messageId, timeoutMs: 60_000 });
