import { appendFileSync } from 'node:fs';
import pg from 'pg';
import { PgBoss } from 'pg-boss';
import { type Client, inFlight, type Peer, type Place, type Worker } from '../peer.ts';
import { versionOf } from './versions.ts';

/** Jobs of one insert call, and of one handler call. */
const BULK = 1_000;
const BATCH = 500;
/** Workers of a queue in one process; two were the fastest on two cores. */
const FETCHERS = 2;

export const peers: readonly Peer[] = [
  {
    name: 'pg-boss',
    servers: ['postgres'],
    versions: () => versionOf('pg-boss'),
    settings: [
      'work: batchSize 500, localConcurrency 2, burstWhenBatchFull, pollingIntervalSeconds 0.5 (the least), useListenNotify with notify on the queue',
      'latency: as for jobs, woken by NOTIFY; one-second jobs: batchSize 1, localConcurrency 25',
      'recovery when tuned: heartbeatSeconds 10 (the least), monitorIntervalSeconds and superviseIntervalSeconds 1',
      'bulk by insert of 1,000',
    ],
    caveats: [
      'one handler call for 500 jobs, which are completed or failed all together',
      'a finished job is kept for a week, without a history',
      'a flow is three jobs in three queues: a handler inserts the next jobs of its 500 and is then completed; there is no instance to look at, and a crash between the two does the step again',
      'a client is never told that a job is done: for latency, the handler sends NOTIFY and the client listens',
    ],
    scale: 1,
    workloads: {
      noop: { units: 1 },
      flow: { units: 3 },
      events: { no: 'no instances that live on' },
      slow: { units: 1 },
      sleep: { units: 0 },
    },
    worker,
    client,
  },
];

const FLOW = ['flow1', 'flow2', 'flow3'] as const;
interface Job {
  n: number;
  sum: number;
  id: string;
}

async function open(place: Place, works: boolean): Promise<PgBoss> {
  const boss = new PgBoss({
    connectionString: place.databaseUrl,
    max: 10,
    useListenNotify: works,
    supervise: works,
    schedule: false,
    ...(place.tuned && works ? { monitorIntervalSeconds: 1, superviseIntervalSeconds: 1 } : {}),
  });
  boss.on('error', () => {});
  await boss.start();
  for (const queue of place.kind === 'flow' ? FLOW : [place.kind])
    await boss.createQueue(queue, {
      notify: true,
      ...(place.tuned ? { heartbeatSeconds: 10 } : {}),
    });
  return boss;
}

async function worker(place: Place): Promise<Worker> {
  const boss = await open(place, true);
  const telling = new pg.Client({ connectionString: place.databaseUrl });
  await telling.connect();
  let units = 0;
  const polling = { pollingIntervalSeconds: 0.5, burstWhenBatchFull: true } as const;
  if (place.kind === 'flow')
    for (const [at, queue] of FLOW.entries())
      await boss.work<Job>(
        queue,
        { ...polling, localConcurrency: FETCHERS, batchSize: BATCH },
        async (jobs) => {
          const next = FLOW[at + 1];
          if (next !== undefined)
            await boss.insert(
              next,
              jobs.map(({ data: { n, sum } }) => ({ data: { n, sum: sum + n } })),
            );
          units += jobs.length;
        },
      );
  else if (place.kind === 'slow')
    await boss.work<Job>(
      'slow',
      { ...polling, batchSize: 1, localConcurrency: place.slowAtOnce },
      async ([job]) => {
        const id = job?.data.id;
        appendFileSync(place.marks, `s ${id} ${process.pid}\n`);
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        appendFileSync(place.marks, `d ${id} ${process.pid}\n`);
      },
    );
  else
    await boss.work<Job>(
      place.kind,
      { ...polling, localConcurrency: FETCHERS, batchSize: BATCH },
      async (jobs) => {
        units += jobs.length;
        if (jobs.some((job) => job.data.id === 'tell')) await telling.query(`NOTIFY ${place.name}`);
      },
    );
  return {
    units: () => units,
    async stop() {
      await boss.stop({ graceful: false });
      await telling.end();
    },
  };
}

async function client(place: Place): Promise<Client> {
  const boss = await open(place, false);
  const sql = new pg.Client({ connectionString: place.databaseUrl });
  await sql.connect();
  let told = () => {};
  sql.on('notification', (message) => {
    if (message.channel === place.name) told();
  });
  await sql.query(`LISTEN ${place.name}`);
  const { kind } = place;
  const queue = kind === 'flow' ? FLOW[0] : kind;
  const data = (i: number): Partial<Job> =>
    kind === 'flow' ? { n: i, sum: 0 } : kind === 'slow' ? { id: `j${i}` } : { n: i };
  return {
    async bulk(count) {
      for (let from = 0; from < count; from += BULK) {
        const size = Math.min(BULK, count - from);
        await boss.insert(
          queue,
          Array.from({ length: size }, (_, i) => ({
            data: data(from + i),
            ...(kind === 'sleep' ? { startAfter: 3_600 } : {}),
          })),
        );
      }
    },
    each: (count) => inFlight(count, (i) => boss.send(queue, data(i))),
    async one() {
      const done = new Promise<void>((resolve) => {
        told = resolve;
      });
      await boss.send(queue, { id: 'tell' });
      await done;
    },
    async finished(count) {
      const { rows } = await sql.query<{ n: number }>(
        'SELECT count(*)::int AS n FROM pgboss.job WHERE state = $1 AND name = ANY($2)',
        [kind === 'sleep' ? 'created' : 'completed', kind === 'flow' ? [FLOW[2]] : [kind]],
      );
      return rows[0]?.n === count;
    },
    async close() {
      await boss.stop({ graceful: false });
      await sql.end();
    },
  };
}
