import { idle } from './idle.ts';
import type { Kind } from './peer.ts';
import { recovery } from './recovery.ts';
import type { Servers } from './servers.ts';
import type { Contender } from './stage.ts';
import { drain, drainTogether, events, latency, sustained, type Throughput } from './throughput.ts';

/** What one measurement gave, by name. Infinity: not within the time it was given. */
export type Sample = Record<string, number>;

export interface Workload {
  name: string;
  title: string;
  kind: Kind;
  /** The number that is compared, and in which direction it is good. */
  main: string;
  unit: string;
  better: 'more' | 'less';
  /** In how many of the rounds; the rest of them are the same for all. */
  roundsMost?: number;
  /** Ours alone: the others have it in their own way, or not at all. */
  ours?: true;
  run(context: Context): Promise<Sample>;
}

export interface Context {
  contender: Contender;
  servers: Servers;
  quick: boolean;
}

const QUICK = 0.2;

/** How many, for a peer of this speed. */
function countOf({ contender, quick }: Context, kind: Kind, base: number): number {
  const { workloads, scale } = contender.peer;
  const work = workloads[kind];
  const own = work && 'units' in work ? work.scale : undefined;
  return Math.max(100, Math.round(base * (own ?? scale) * (quick ? QUICK : 1)));
}

const flat = ({ perSecond, cpuPer1000, coldPerSecond }: Throughput): Sample => ({
  perSecond,
  ...(coldPerSecond !== undefined && { coldPerSecond }),
  ...Object.fromEntries(
    Object.entries(cpuPer1000).map(([name, seconds]) => [`cpu ${name}`, seconds]),
  ),
});

const tuned = (settings: boolean) => async (context: Context) => {
  const { seconds, killed, done } = await recovery({ ...context, tuned: settings });
  return { seconds: seconds ?? Number.POSITIVE_INFINITY, killed, done };
};

const scaled = (kind: 'noop' | 'flow', workers: number): Workload => ({
  name: `${kind}-${workers}`,
  title: `${kind === 'noop' ? 'no-op jobs' : 'three-step flows'}, ${workers} node${workers > 1 ? 's' : ''}`,
  kind,
  main: 'perSecond',
  unit: '/s',
  better: 'more',
  ours: true,
  roundsMost: 3,
  run: async (context) => {
    const base = kind === 'noop' ? SCALED_JOBS : SCALED_JOBS / 3;
    const count = context.quick ? base / 2 : base;
    return flat(await drainTogether({ ...context, kind, workers, count: Math.round(count) }));
  },
});

/** Nodes need a few seconds to share the shards. */
const SCALED_JOBS = 90_000;

export const WORKLOADS: readonly Workload[] = [
  {
    name: 'noop',
    title: 'no-op jobs, a backlog drained',
    kind: 'noop',
    main: 'perSecond',
    unit: '/s',
    better: 'more',
    run: async (context) =>
      flat(await drain({ ...context, kind: 'noop', count: countOf(context, 'noop', 120_000) })),
  },
  {
    name: 'sustained',
    title: 'no-op jobs, while 100 callers put them one by one',
    kind: 'noop',
    main: 'perSecond',
    unit: '/s',
    better: 'more',
    run: async (context) =>
      flat(await sustained({ ...context, count: countOf(context, 'noop', 8_000) })),
  },
  {
    name: 'flow',
    title: 'three-step flows, a backlog drained',
    kind: 'flow',
    main: 'perSecond',
    unit: '/s',
    better: 'more',
    run: async (context) =>
      flat(await drain({ ...context, kind: 'flow', count: countOf(context, 'flow', 60_000) })),
  },
  {
    name: 'events',
    title: 'events to 1,000 live instances, as they are sent',
    kind: 'events',
    main: 'perSecond',
    unit: '/s',
    better: 'more',
    run: async (context) =>
      flat(await events({ ...context, count: countOf(context, 'events', 60_000) })),
  },
  {
    name: 'latency',
    title: 'one job on the idle system',
    kind: 'noop',
    main: 'p50',
    unit: 'ms',
    better: 'less',
    run: async (context) => ({
      ...(await latency({ ...context, count: context.quick ? 200 : 1_000 })),
    }),
  },
  {
    name: 'recovery',
    title: 'kill -9 of one of two workers, 50 one-second jobs: all done after, defaults',
    kind: 'slow',
    main: 'seconds',
    unit: 's',
    better: 'less',
    roundsMost: 3,
    run: tuned(false),
  },
  {
    name: 'recovery-tuned',
    title: 'the same, fastest sane settings',
    kind: 'slow',
    main: 'seconds',
    unit: 's',
    better: 'less',
    roundsMost: 3,
    run: tuned(true),
  },
  {
    name: 'idle',
    title: 'instances that sleep for an hour: cost of each',
    kind: 'sleep',
    main: 'workerBytes',
    unit: 'B',
    better: 'less',
    roundsMost: 1,
    async run(context) {
      const work = context.contender.peer.workloads.sleep;
      const { count = 100_000, settleMs } = work && 'units' in work ? work : {};
      return {
        ...(await idle({
          ...context,
          count: context.quick ? count / 20 : count,
          ...(settleMs === undefined || context.quick ? {} : { settleMs }),
        })),
      };
    },
  },
  ...[1, 2, 4].flatMap((workers) => [scaled('noop', workers), scaled('flow', workers)]),
];
