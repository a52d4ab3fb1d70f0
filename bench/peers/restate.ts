import { appendFileSync } from 'node:fs';
import * as restate from '@restatedev/restate-sdk';
import { type Client, inFlight, type Peer, type Place, type Worker } from '../peer.ts';
import { clientOf, Ingress } from './restateIngress.ts';
import { versionOf } from './versions.ts';

export const peers: readonly Peer[] = [
  {
    name: 'restate',
    servers: ['restate'],
    versions: () => versionOf('@restatedev/restate-server', '@restatedev/restate-sdk'),
    settings: [
      'one server with its defaults (24 partitions), handlers over HTTP/2 both ways, SDK defaults',
      'recovery when tuned: retryPolicy.initialInterval 50 ms (default 500 ms)',
      'put by one-way calls of its HTTP ingress, 100 at once',
    ],
    caveats: [
      'its server starts what it is sent at once, so a backlog is of calls that are all due at the same time',
      'every step of a flow is in its journal; what is finished is kept for a day',
      'an instance is a virtual object that counts; calls to one are done one after the other',
    ],
    scale: 0.2,
    workloads: {
      noop: { units: 1 },
      flow: { units: 3 },
      events: { units: 1 },
      slow: { units: 1 },
      // It lets go of a handler that has waited for a minute.
      sleep: { units: 0, count: 10_000, settleMs: 75_000 },
    },
    workerFirst: true,
    worker,
    client,
  },
];

let units = 0;

function services({ marks, tuned }: Place) {
  const step = (ctx: restate.Context, name: string, n: number, sum: number) =>
    ctx.run(name, () => {
      units++;
      return sum + n;
    });
  const jobs = restate.service({
    name: 'jobs',
    handlers: {
      noop: async () => {
        units++;
      },
      flow: async (ctx: restate.Context, n: number) => {
        const one = await step(ctx, 'one', n, 0);
        const two = await step(ctx, 'two', n, one);
        return step(ctx, 'three', n, two);
      },
      slow: async (ctx: restate.Context, n: number) => {
        await ctx.run('second', async () => {
          appendFileSync(marks, `s ${n} ${process.pid}\n`);
          await new Promise((resolve) => setTimeout(resolve, 1_000));
          appendFileSync(marks, `d ${n} ${process.pid}\n`);
        });
      },
      sleep: async (ctx: restate.Context) => {
        await ctx.sleep(3_600_000);
      },
    },
    options: tuned ? { retryPolicy: { initialInterval: 50 } } : {},
  });
  const counter = restate.object({
    name: 'counter',
    handlers: {
      add: async (ctx: restate.ObjectContext, by: number) => {
        ctx.set('count', ((await ctx.get<number>('count')) ?? 0) + by);
        units++;
      },
    },
  });
  return [jobs, counter];
}

async function worker(place: Place): Promise<Worker> {
  const port = place.restate.endpoints[place.worker] as number;
  await restate.serve({ services: services(place), port });
  // Only the first one tells: the address is that of all of them.
  if (place.kind !== 'slow') await new Ingress(place).register(1);
  return { units: () => units, stop: async () => {} };
}

async function client(place: Place): Promise<Client> {
  const ingress = new Ingress(place);
  // The balancer is in front of both workers; a single one has told itself.
  let registering = place.kind === 'slow' ? undefined : Promise.resolve();
  const put = async (i: number, query: string) => {
    registering ??= ingress.register(2);
    await registering;
    const body = place.kind === 'noop' || place.kind === 'sleep' ? undefined : i;
    return ingress.call(`/jobs/${place.kind}/send${query}`, body);
  };
  const add = (i: number) => ingress.call(`/counter/${place.prefix}${i}/add/send`, 1);
  return clientOf(place, ingress, put, {
    one: async () => {
      await ingress.call('/jobs/noop');
    },
    create: (count) => inFlight(count, add),
    send: (count, instances) => inFlight(count, (i) => add(i % instances)),
  });
}
