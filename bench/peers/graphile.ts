import { EventEmitter } from 'node:events';
import { appendFileSync } from 'node:fs';
import { Logger, makeWorkerUtils, run, type TaskList, type WorkerEvents } from 'graphile-worker';
import pg from 'pg';
import { type Client, inFlight, type Peer, type Place, type Worker } from '../peer.ts';
import { versionOf } from './versions.ts';

/** Jobs of one addJobs call. */
const BULK = 1_000;
const silent = new Logger(() => () => {});

export const peers: readonly Peer[] = [
  {
    name: 'graphile-worker',
    servers: ['postgres'],
    versions: () => versionOf('graphile-worker'),
    settings: [
      'its performance page: concurrentJobs 24, maxPoolSize 25, localQueue.size 500, completeJobBatchDelay 0, failJobBatchDelay 0',
      'one-second jobs: concurrentJobs 25, no local queue, or one worker would take all',
      'bulk by addJobs of 1,000',
    ],
    caveats: [
      'a finished job is deleted: there is no history and no result',
      'a flow is three jobs, each of which adds the next before it is completed; there is no instance to look at, and a crash between the two does the step again',
      'a client is never told that a job is done: for latency, the handler sends NOTIFY and the client listens',
    ],
    scale: 1,
    workloads: {
      noop: { units: 1 },
      flow: { units: 3, scale: 0.2 },
      events: { no: 'no instances that live on' },
      slow: { units: 1, untunable: 'a lock is too old after 4 hours; that is fixed' },
      sleep: { units: 0 },
    },
    worker,
    client,
  },
];

async function worker(place: Place): Promise<Worker> {
  let units = 0;
  const events = new EventEmitter() as unknown as WorkerEvents;
  events.on('job:complete', () => {
    units++;
  });
  const slow = place.kind === 'slow';
  const runner = await run({
    preset: {
      worker: {
        connectionString: place.databaseUrl,
        concurrentJobs: slow ? place.slowAtOnce : 24,
        maxPoolSize: slow ? place.slowAtOnce + 2 : 25,
        ...(slow
          ? {}
          : { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }),
        logger: silent,
      },
    },
    events,
    noHandleSignals: true,
    taskList: tasks(place),
  });
  return { units: () => units, stop: () => runner.stop() };
}

function tasks(place: Place): TaskList {
  return {
    noop: async (payload, helpers) => {
      const { tell } = payload as { tell?: true };
      if (tell) await helpers.query(`NOTIFY ${place.name}`);
    },
    flow: async (payload, helpers) => {
      const { n, step, sum } = payload as { n: number; step: number; sum: number };
      if (step < 3) await helpers.addJob('flow', { n, step: step + 1, sum: sum + n });
    },
    slow: async (payload) => {
      const { id } = payload as { id: string };
      appendFileSync(place.marks, `s ${id} ${process.pid}\n`);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      appendFileSync(place.marks, `d ${id} ${process.pid}\n`);
    },
    sleep: async () => {},
  };
}

async function client(place: Place): Promise<Client> {
  const pool = new pg.Pool({ connectionString: place.databaseUrl, max: 10 });
  const utils = await makeWorkerUtils({ pgPool: pool, logger: silent });
  await utils.migrate();
  const listener = new pg.Client({ connectionString: place.databaseUrl });
  await listener.connect();
  let told = () => {};
  listener.on('notification', () => told());
  await listener.query(`LISTEN ${place.name}`);
  const { kind } = place;
  const runAt = new Date(Date.now() + 3_600_000);
  const payload = (i: number) =>
    kind === 'flow' ? { n: i, step: 1, sum: 0 } : kind === 'slow' ? { id: `j${i}` } : { n: i };
  return {
    async bulk(count) {
      for (let from = 0; from < count; from += BULK) {
        const size = Math.min(BULK, count - from);
        await utils.addJobs(
          Array.from({ length: size }, (_, i) => ({
            identifier: kind,
            payload: payload(from + i),
            ...(kind === 'sleep' ? { runAt } : {}),
          })),
        );
      }
    },
    each: (count) => inFlight(count, (i) => utils.addJob(kind, payload(i))),
    async one() {
      const done = new Promise<void>((resolve) => {
        told = resolve;
      });
      await utils.addJob('noop', { tell: true });
      await done;
    },
    async finished(count) {
      const { rows } = await pool.query<{ n: number }>(
        'SELECT count(*)::int AS n FROM graphile_worker._private_jobs',
      );
      return rows[0]?.n === (kind === 'sleep' ? count : 0);
    },
    async close() {
      await utils.release();
      await listener.end();
      await pool.end();
    },
  };
}
