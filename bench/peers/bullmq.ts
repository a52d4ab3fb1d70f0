import { appendFileSync } from 'node:fs';
import { type Job, Queue, QueueEvents, Worker as QueueWorker } from 'bullmq';
import {
  type Client,
  inFlight,
  type Peer,
  type Place,
  type ServerName,
  type Worker,
} from '../peer.ts';
import { versionOf } from './versions.ts';

/** Jobs of one addBulk call. */
const BULK = 1_000;
/** Of one worker; more was not faster. */
const CONCURRENCY = 100;

function bullmq(name: string, redis: ServerName, caveat: string, variantOf?: string): Peer {
  return {
    name,
    servers: [redis],
    versions: () => versionOf('bullmq', 'ioredis'),
    settings: [
      'one worker, concurrency 100 (one-second jobs: 25), removeOnComplete { count: 1000 }, one ioredis connection as it makes them',
      'recovery when tuned: lockDuration 2000, stalledInterval 1000, maxStalledCount 10',
      'bulk by addBulk of 1,000',
    ],
    caveats: [
      caveat,
      'everything is in memory; the last 1,000 finished jobs are kept, without a history',
      'a flow is three jobs, each of which adds the next before it is completed; there is no instance to look at, and a crash between the two does the step again',
      'a job whose worker has died twice is failed for good (maxStalledCount 1)',
    ],
    scale: 1,
    workloads: {
      noop: { units: 1 },
      flow: { units: 3 },
      events: { no: 'no instances that live on' },
      slow: variantOf ? { no: `as ${variantOf}` } : { units: 1 },
      sleep: variantOf ? { no: `as ${variantOf}` } : { units: 0 },
    },
    worker,
    client,
  };
}

export const peers: readonly Peer[] = [
  bullmq(
    'bullmq, fsync always',
    'redis-always',
    'an accepted job is on disk before its publisher hears of it',
  ),
  bullmq(
    'bullmq, fsync everysec',
    'redis-everysec',
    'what its documentation recommends: an accepted job may be lost when the machine dies within a second',
    'bullmq, fsync always',
  ),
];

const connection = ({ redisPort }: Place) => ({ host: '127.0.0.1', port: redisPort });

interface Data {
  n: number;
  step: number;
  sum: number;
}

async function worker(place: Place): Promise<Worker> {
  const { name, marks, kind, slowAtOnce, tuned } = place;
  const queue = new Queue<Data>(name, { connection: connection(place) });
  let units = 0;
  const handle = async (job: Job<Data>) => {
    const { n, step, sum } = job.data;
    if (kind === 'flow' && step < 3) await queue.add('flow', { n, step: step + 1, sum: sum + n });
    if (kind !== 'slow') return;
    appendFileSync(marks, `s ${n} ${process.pid}\n`);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    appendFileSync(marks, `d ${n} ${process.pid}\n`);
  };
  const runner = new QueueWorker<Data>(name, handle, {
    connection: connection(place),
    concurrency: kind === 'slow' ? slowAtOnce : CONCURRENCY,
    removeOnComplete: { count: 1_000 },
    ...(tuned ? { lockDuration: 2_000, stalledInterval: 1_000, maxStalledCount: 10 } : {}),
  });
  runner.on('completed', () => {
    units++;
  });
  runner.on('error', () => {});
  await runner.waitUntilReady();
  return {
    units: () => units,
    async stop() {
      await runner.close(true);
      await queue.close();
    },
  };
}

async function client(place: Place): Promise<Client> {
  const { name, kind } = place;
  const queue = new Queue<Data>(name, { connection: connection(place) });
  // Only who waits for a job pays for hearing of all of them.
  let events: QueueEvents | undefined;
  const data = (n: number): Data => ({ n, step: 1, sum: 0 });
  const opts = kind === 'sleep' ? { delay: 3_600_000 } : {};
  return {
    async bulk(count) {
      for (let from = 0; from < count; from += BULK) {
        const size = Math.min(BULK, count - from);
        await queue.addBulk(
          Array.from({ length: size }, (_, i) => ({ name: kind, data: data(from + i), opts })),
        );
      }
    },
    each: (count) => inFlight(count, (n) => queue.add(kind, data(n), opts)),
    async one() {
      events ??= new QueueEvents(name, { connection: connection(place) });
      await events.waitUntilReady();
      const job = await queue.add('noop', data(0));
      await job.waitUntilFinished(events);
    },
    async finished(count) {
      const counts = await queue.getJobCounts('wait', 'active', 'delayed', 'failed');
      const { wait = 0, active = 0, delayed = 0, failed = 0 } = counts;
      if (failed > 0) throw new Error(`${failed} jobs failed`);
      return wait + active === 0 && (kind !== 'sleep' || delayed === count);
    },
    async close() {
      await queue.obliterate({ force: true });
      await events?.close();
      await queue.close();
    },
  };
}
