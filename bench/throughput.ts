import { pause } from '../src/dev/process.ts';
import { rssBytes } from './cpu.ts';
import type { Kind } from './peer.ts';
import { type Cpu, Stage, type StageOptions } from './stage.ts';

export interface Throughput {
  perSecond: number;
  /** CPU-seconds per 1,000 of every process, and `all`. */
  cpuPer1000: Cpu;
  /** The most memory that the workers have held while they drained, MiB. */
  peakMiB?: number;
  /** How fast those went that are taken off, with the start of the worker. */
  coldPerSecond?: number;
}

type Options = Omit<StageOptions, 'kind'>;

const INSTANCES = 1_000;

/**
 * A backlog that is there before the workers are. What it takes to get going is measured beside it, with `warmUp` of them (a quarter), and
 * taken off: a process that starts, and compilers that learn what is hot (V8 is at it for five seconds of statecharts). Counting from the
 * moment when a quarter is finished instead would give away what was read and computed by then.
 */
export async function drain(
  options: Options & { kind: Kind; count: number; warmUp?: number },
): Promise<Throughput> {
  let { warmUp = Math.ceil(options.count * COLD_SHARE) } = options;
  const alone = () => backlog({ ...options, profiler: undefined }, warmUp);
  let few = await alone();
  const many = await backlog(options, options.count);
  if (warmUp > 1 && many.seconds < SHORT_SECONDS) {
    warmUp = 1;
    few = await alone();
  }
  // Something else has kept the machine busy as it started: what is taken off would be most of it.
  const most = many.seconds * (warmUp > 1 ? COLD_MOST : START_MOST);
  for (let again = 0; again < 2 && few.seconds > most; again++) few = await alone();
  if (warmUp > 1 && few.seconds > most)
    throw new Error(
      `${warmUp} took ${few.seconds.toFixed(1)} s, ${options.count} no more than ${many.seconds.toFixed(1)} s`,
    );
  const seconds = Math.max(many.seconds - few.seconds, 0.001);
  return {
    ...over(options.count - warmUp, seconds, less(many.cpu, few.cpu)),
    peakMiB: many.peakBytes / 2 ** 20,
    ...(warmUp > 1 && { coldPerSecond: warmUp / few.seconds }),
  };
}

const COLD_SHARE = 0.25;
const COLD_MOST = 0.6;
const START_MOST = 0.5;
/** What is over sooner is mostly the start of a worker: of that, and of nothing else, it says something. */
const SHORT_SECONDS = 2;

const LOOK_MS = 250;

async function backlog(
  options: Options & { kind: Kind },
  count: number,
): Promise<{ seconds: number; cpu: Cpu; peakBytes: number }> {
  const { contender, profiler } = options;
  const stage = await Stage.open(options);
  let peakBytes = 0;
  const looking = setInterval(() => {
    const bytes = rssBytes(...stage.workers.map((worker) => worker.pid));
    peakBytes = Math.max(peakBytes, bytes);
  }, LOOK_MS);
  try {
    // Where the worker comes first, the jobs are put for a time to come, and `bulk` returns at that time.
    if (contender.peer.workerFirst) await stage.startWorker().ready;
    await stage.client.call('bulk', count);
    const begin = mark(stage);
    if (!contender.peer.workerFirst) stage.startWorker();
    if (profiler) {
      await stage.reached(1);
      await profiler.begin(stage);
    }
    await stage.reached(count * stage.unitsEach);
    await profiler?.end(stage);
    await stage.settled(count);
    const end = mark(stage);
    return { seconds: (end.at - begin.at) / 1_000, cpu: less(end.cpu, begin.cpu), peakBytes };
  } finally {
    clearInterval(looking);
    await stage.close();
  }
}

/**
 * A backlog drained by several nodes. They share the work a while after they have met; the clock starts when each has
 * done some of it.
 */
export async function drainTogether(
  options: Options & { kind: Kind; count: number; workers: number },
): Promise<Throughput> {
  const { count, workers } = options;
  const stage = await Stage.open(options);
  const { unitsEach } = stage;
  try {
    await stage.client.call('bulk', count);
    for (let i = 0; i < workers; i++) stage.startWorker();
    const share = (count * unitsEach * EACH_HAS_DONE) / workers;
    while (stage.workers.some((worker) => worker.units < share)) {
      if (stage.units() > count * unitsEach * 0.8)
        throw new Error('the nodes did not share the work in time');
      await pause(20);
    }
    const begin = mark(stage);
    const left = count - stage.units() / unitsEach;
    // A node does not count what it committed and gave away before it heard of it: the store has the last word.
    await stage.reached(count * unitsEach * 0.95);
    await stage.settled(count);
    return between(begin, mark(stage), left);
  } finally {
    await stage.close();
  }
}

const EACH_HAS_DONE = 0.05;

/** Events that are in the log before the worker is there; the worker's starting up is taken off, measured with one event. */
export async function eventsBacklog(options: Options & { count: number }): Promise<Throughput> {
  const { count, profiler } = options;
  const stage = await Stage.open({ ...options, kind: 'events' });
  const drained = async (sent: number) => {
    await stage.client.call('send', sent, INSTANCES);
    const begin = mark(stage);
    const worker = stage.startWorker();
    if (profiler && sent > 1) {
      await stage.reached(1);
      await profiler.begin(stage);
    }
    await stage.reached(sent);
    const end = mark(stage);
    if (sent > 1) await profiler?.end(stage);
    stage.workers.pop();
    await worker.stop();
    return { seconds: (end.at - begin.at) / 1_000, cpu: less(end.cpu, begin.cpu) };
  };
  try {
    await stage.startWorker().ready;
    await stage.client.call('create', INSTANCES);
    await stage.reached(INSTANCES);
    await stage.workers.pop()?.stop();
    const few = await drained(1);
    const many = await drained(count);
    return over(count - 1, Math.max(many.seconds - few.seconds, 0.001), less(many.cpu, few.cpu));
  } finally {
    await stage.close();
  }
}

/** Jobs put one by one, many callers at a time, while a worker does them. */
export async function sustained(options: Options & { count: number }): Promise<Throughput> {
  const stage = await Stage.open({ ...options, kind: 'noop' });
  try {
    await stage.startWorker().ready;
    const begin = mark(stage);
    await stage.client.call('each', options.count);
    await stage.reached(options.count);
    await stage.settled(options.count);
    return between(begin, mark(stage), options.count);
  } finally {
    await stage.close();
  }
}

/** Events sent, in turn, to 1,000 instances that wait for them. */
export async function events(options: Options & { count: number }): Promise<Throughput> {
  const { profiler } = options;
  const stage = await Stage.open({ ...options, kind: 'events' });
  const { unitsEach } = stage;
  try {
    await stage.startWorker().ready;
    await stage.client.call('create', INSTANCES);
    const before = await stage.quiet(200);
    await profiler?.begin(stage);
    const begin = mark(stage);
    await stage.client.call('send', options.count, INSTANCES);
    await stage.reached(before + options.count * unitsEach);
    const end = mark(stage);
    await profiler?.end(stage);
    return between(begin, end, options.count);
  } finally {
    await stage.close();
  }
}

export interface Latency {
  p50: number;
  p95: number;
  p99: number;
}

/** One job at a time on the idle system, as a client sees it: ms. */
export async function latency(options: Options & { count: number }): Promise<Latency> {
  const stage = await Stage.open({ ...options, kind: 'noop' });
  try {
    await stage.startWorker().ready;
    await options.profiler?.begin(stage);
    const times = await stage.client.call<number[]>('latency', options.count, WARM_UP);
    await options.profiler?.end(stage);
    times.sort((a, b) => a - b);
    const at = (share: number) => times[Math.floor(times.length * share)] as number;
    return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
  } finally {
    await stage.close();
  }
}

/** By then compilers and caches are done with the most of it, whoever's they are. */
const WARM_UP = 500;

const mark = (stage: Stage) => ({ at: performance.now(), cpu: stage.cpu() });
type Mark = ReturnType<typeof mark>;

const less = (end: Cpu, begin: Cpu): Cpu =>
  Object.fromEntries(
    Object.entries(end).map(([name, seconds]) => [name, seconds - (begin[name] ?? 0)]),
  );

const between = (begin: Mark, end: Mark, count: number): Throughput =>
  over(count, (end.at - begin.at) / 1_000, less(end.cpu, begin.cpu));

function over(count: number, seconds: number, cpu: Cpu): Throughput {
  const all = Object.values(cpu).reduce((sum, one) => sum + one, 0);
  const per1000 = Object.entries({ ...cpu, all }).map(([name, one]) => [
    name,
    (one / count) * 1_000,
  ]);
  return { perSecond: count / seconds, cpuPer1000: Object.fromEntries(per1000) };
}
