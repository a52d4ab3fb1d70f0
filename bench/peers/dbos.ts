import { appendFileSync } from 'node:fs';
import { DBOS, DBOSClient } from '@dbos-inc/dbos-sdk';
import pg from 'pg';
import { type Client, inFlight, type Kind, type Peer, type Place, type Worker } from '../peer.ts';
import { versionOf } from './versions.ts';

const QUEUE = 'jobs';
const APP = 'bench';

export const peers: readonly Peer[] = [
  {
    name: 'dbos',
    servers: ['postgres'],
    versions: () => versionOf('@dbos-inc/dbos-sdk'),
    settings: [
      'a queue with workerConcurrency 200 and minPollingIntervalMs 50 (default 1000), systemDatabasePoolSize 20, useListenNotify (default)',
      'put by DBOSClient.enqueue; latency: startWorkflow and getResult in the process that runs it, which is its fastest way',
    ],
    caveats: [
      'every step of a flow and the outcome of every workflow is kept',
      'latency is without a second process and without a queue',
      'what ran on a worker that died is run again when a process with its executor id starts, or by Conductor, which is a paid service: neither is there',
    ],
    scale: 0.1,
    workloads: {
      noop: { units: 1 },
      flow: { units: 3 },
      events: { units: 1 },
      slow: { units: 1, untunable: 'only Conductor, a paid service, recovers on another worker' },
      sleep: { units: 0, count: 10_000 },
    },
    worker,
    client,
  },
];

const NAMES: Record<Kind, string> = {
  noop: 'noop',
  flow: 'flow',
  events: 'counter',
  slow: 'slow',
  sleep: 'sleep',
};

let units = 0;
const noop = DBOS.registerWorkflow(
  async () => {
    units++;
  },
  { name: 'noop' },
);

function register({ marks }: Place): void {
  const step = async (n: number, sum: number) => {
    units++;
    return sum + n;
  };
  DBOS.registerWorkflow(
    async (n: number) => {
      const one = await DBOS.runStep(() => step(n, 0), { name: 'one' });
      const two = await DBOS.runStep(() => step(n, one), { name: 'two' });
      return DBOS.runStep(() => step(n, two), { name: 'three' });
    },
    { name: 'flow' },
  );
  DBOS.registerWorkflow(
    async () => {
      for (let count = 0; ; ) {
        const by = await DBOS.recv<number>('add', { timeoutSeconds: 3_600 });
        if (by === null) return count;
        count += by;
        units++;
      }
    },
    { name: 'counter' },
  );
  DBOS.registerWorkflow(
    async (n: number) => {
      await DBOS.runStep(async () => {
        appendFileSync(marks, `s ${n} ${process.pid}\n`);
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        appendFileSync(marks, `d ${n} ${process.pid}\n`);
      });
    },
    { name: 'slow' },
  );
  DBOS.registerWorkflow(async () => DBOS.sleep(3_600_000), { name: 'sleep' });
}

async function launch(place: Place, executorID: string, listenQueues?: string[]): Promise<void> {
  register(place);
  DBOS.setConfig({
    name: APP,
    systemDatabaseUrl: place.databaseUrl,
    systemDatabasePoolSize: 20,
    executorID,
    applicationVersion: '1',
    logLevel: 'error',
    ...(listenQueues ? { listenQueues } : {}),
  });
  await DBOS.launch();
}

async function worker(place: Place): Promise<Worker> {
  await launch(place, `worker${place.worker}`);
  const atOnce = { noop: 200, flow: 200, slow: place.slowAtOnce };
  await DBOS.registerQueue(QUEUE, {
    minPollingIntervalMs: 50,
    ...(place.kind in atOnce
      ? { workerConcurrency: atOnce[place.kind as keyof typeof atOnce] }
      : {}),
    onConflict: 'always_update',
  });
  return { units: () => units, stop: () => DBOS.shutdown() };
}

async function client(place: Place): Promise<Client> {
  await DBOS.migrate(place.databaseUrl);
  const remote = await DBOSClient.create({
    systemDatabaseUrl: place.databaseUrl,
    systemDatabasePoolSize: 20,
    applicationName: APP,
  });
  const sql = new pg.Client({ connectionString: place.databaseUrl });
  await sql.connect();
  const put = (n: number) =>
    remote.enqueue(
      {
        queueName: QUEUE,
        workflowName: NAMES[place.kind],
        workflowID: `${place.prefix}${n}`,
        appVersion: '1',
      },
      n,
    );
  const countOf = async (status: string) => {
    const { rows } = await sql.query<{ n: number }>(
      'SELECT count(*)::int AS n FROM dbos.workflow_status WHERE status = $1',
      [status],
    );
    return rows[0]?.n ?? 0;
  };
  const until = async (status: string, count: number) => {
    while ((await countOf(status)) < count)
      await new Promise((resolve) => setTimeout(resolve, 100));
  };
  let launched: Promise<void> | undefined;
  return {
    bulk: (count) => inFlight(count, put),
    each: (count) => inFlight(count, put),
    async one() {
      launched ??= launch(place, 'client', ['none']);
      await launched;
      const handle = await DBOS.startWorkflow(noop)();
      await handle.getResult();
    },
    async create(count) {
      await inFlight(count, put);
      await until('PENDING', count);
    },
    send: (count, instances) =>
      inFlight(count, (n) => remote.send(`${place.prefix}${n % instances}`, 1, 'add')),
    async finished(count) {
      // What sleeps is running, for DBOS.
      return (await countOf(place.kind === 'sleep' ? 'PENDING' : 'SUCCESS')) === count;
    },
    async close() {
      await sql.end();
      await remote.destroy();
      if (launched) await DBOS.shutdown();
    },
  };
}
