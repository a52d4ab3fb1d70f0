import { fork } from 'node:child_process';
import { pause } from '../src/dev/process.ts';
import { type Child, startChild } from './child.ts';
import { cpuSeconds } from './cpu.ts';
import type { Place } from './peer.ts';

/** A `perdure inspect` of its own. */
export interface Inspector {
  url: string;
  pid: number;
  stop(): Promise<void>;
}

/** Servers whose CPU time is asked for. */
export interface Pids {
  postgres: number;
  nats: number;
}

/** Pages that are open until they are closed; says then how much they have heard, bytes. */
async function openPages(url: string, pages: number): Promise<() => Promise<number>> {
  const child = fork(new URL('./inspectPages.ts', import.meta.url), [url, String(pages)], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  let bytes = 0;
  await new Promise<void>((resolve, reject) => {
    child.on('message', (heard) => {
      bytes = Number(heard);
      if (bytes > 0) resolve();
    });
    child.once('exit', () => reject(new Error('the pages have ended')));
  });
  return async () => {
    child.kill('SIGKILL');
    await gone;
    return bytes;
  };
}

/** CPU of all three for each of so many minutes, as a share of one core; first without a page, then with one open. */
export async function overviewCost({ url, pid }: Inspector, pids: Pids, minutes: number) {
  const cpu = () => cpuSeconds(pid, ...Object.values(pids));
  const shares = async (ms: number) => {
    const before = cpu();
    await pause(ms);
    return (cpu() - before) / (ms / 1_000);
  };
  const idle = await shares(30_000);
  const before = cpu();
  const close = await openPages(url, 1);
  const opening = cpu() - before;
  const open: number[] = [];
  for (let minute = 0; minute < minutes; minute++) open.push(await shares(60_000));
  await close();
  return { idle, opening, open };
}

export interface Turn {
  perSecond: number;
  /** CPU-seconds of worker, Postgres and NATS for 1,000 flows. */
  cpuPer1000: number;
  /** CPU-seconds of the inspector in each second. */
  inspector: number;
  /** What all pages have heard, bytes. */
  heard?: number;
}

/**
 * Three-step flows, put and done, with so many pages open and with none, turn about. The inspector goes with its pages: it
 * would listen for another minute to what nobody hears.
 */
export async function watchedCost(
  options: { pids: Pids; place: Omit<Place, 'prefix'>; pages: number } & {
    inspect: () => Promise<Inspector>;
    rounds: number;
    flows: number;
  },
): Promise<{ without: Turn; with: Turn }[]> {
  const { inspect, pids, pages, rounds, flows } = options;
  const place: Place = { ...options.place, prefix: `w${Date.now()}x` };
  const start = (role: 'worker' | 'client', at: Place): Child =>
    startChild({ module: './perdure.ts', peer: 'perdure', role, place: at });
  const worker = start('worker', place);
  await worker.ready;
  let turns = 0;
  const turn = async (inspector?: Inspector, count = flows): Promise<Turn> => {
    const client = start('client', { ...place, prefix: `${place.prefix}t${turns++}x` });
    await client.ready;
    const cpu = () => cpuSeconds(worker.pid, pids.postgres, pids.nats);
    const own = () => (inspector ? cpuSeconds(inspector.pid) : 0);
    const [from, cpuFrom, ownFrom] = [performance.now(), cpu(), own()];
    await client.call('bulk', count);
    while (!(await client.call<boolean>('finished', count))) await pause(10);
    const seconds = (performance.now() - from) / 1_000;
    const found = {
      perSecond: count / seconds,
      cpuPer1000: ((cpu() - cpuFrom) / count) * 1_000,
      inspector: (own() - ownFrom) / seconds,
    };
    await client.call('close');
    await client.stop();
    return found;
  };
  const watched = async () => {
    const inspector = await inspect();
    const close = await openPages(inspector.url, pages);
    const found = await turn(inspector);
    const heard = await close();
    await inspector.stop();
    return { ...found, heard };
  };
  const found: { without: Turn; with: Turn }[] = [];
  try {
    await turn(undefined, flows / 2);
    // Whoever comes second finds the servers as the first has left them: each comes first in every other round.
    for (let round = 0; round < rounds; round++)
      if (round % 2 === 0) {
        const without = await turn();
        found.push({ without, with: await watched() });
      } else {
        const seen = await watched();
        found.push({ without: await turn(), with: seen });
      }
  } finally {
    await worker.stop();
  }
  return found;
}
