import type { Client, Peer, Place, Worker } from './peer.ts';

/**
 * The process of one worker or one client: `node process.ts MODULE PEER worker|client PLACE`. A worker tells its parent
 * what it has done, 50 times a second; a client does what it is asked.
 */
const [module = '', name, role, placeText = ''] = process.argv.slice(2);
const place = JSON.parse(placeText) as Place;
const { peers } = (await import(module)) as { peers: readonly Peer[] };
const peer = peers.find((one) => one.name === name) as Peer;
const TELL_MS = 20;

// A client that outlives the harness would go on working.
process.once('disconnect', () => process.exit(1));

if (role === 'worker') await work(await peer.worker(place));
else serve(await peer.client(place));

async function work(worker: Worker): Promise<void> {
  let told = -1;
  const tell = setInterval(() => {
    const units = worker.units();
    if (units !== told) process.send?.({ units });
    told = units;
  }, TELL_MS);
  process.send?.({ ready: true });
  process.once('SIGTERM', async () => {
    clearInterval(tell);
    await worker.stop();
    process.exit(0);
  });
}

function serve(client: Client): void {
  const calls: Record<string, (...args: number[]) => Promise<unknown>> = {
    bulk: (count = 0) => client.bulk(count),
    each: (count = 0) => client.each(count),
    create: async (count = 0) => client.create?.(count),
    send: async (count = 0, instances = 1) => client.send?.(count, instances),
    finished: (count = 0) => client.finished(count),
    latency: (count = 0, warmUp = 0) => latencies(client, count, warmUp),
    close: () => client.close(),
  };
  process.on('message', async ({ id, call, args }: Call) => {
    try {
      process.send?.({ id, result: await calls[call]?.(...args) });
    } catch (error) {
      process.send?.({ id, error: (error as Error).stack ?? String(error) });
    }
  });
  process.once('SIGTERM', () => process.exit(0));
  process.send?.({ ready: true });
}

interface Call {
  id: number;
  call: string;
  args: number[];
}

/** Milliseconds of each of `count` jobs, one after the other. */
async function latencies(client: Client, count: number, warmUp: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < warmUp + count; i++) {
    const startedAt = performance.now();
    await client.one?.();
    if (i >= warmUp) times.push(performance.now() - startedAt);
  }
  return times;
}
