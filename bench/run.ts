import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { type History, makeHistory, TEMPLATES } from './history.ts';
import { settingOf } from './machine.ts';
import { peers } from './perdure.ts';
import { Profiler } from './profiler.ts';
import { type Cell, short, spread } from './results.ts';
import { Servers } from './servers.ts';
import { type Contender, Stage } from './stage.ts';
import { costLine, type StepCost, stepCosts } from './step.ts';
import { drain, events, eventsBacklog, latency, type Throughput } from './throughput.ts';
import type { Sample } from './workloads.ts';

/**
 * What one node does on this machine, with every guarantee on: real Postgres (fsync), real nats-server
 * (`sync_interval: always`), node and publisher in processes of their own. `npm run bench -- --help`.
 */
const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    jobs: { type: 'string', default: '20000' },
    only: { type: 'string' },
    codec: { type: 'string' },
    history: { type: 'string' },
    json: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    out: { type: 'string', default: join(import.meta.dirname, 'results', 'profiles') },
    help: { type: 'boolean', default: false },
  },
});
if (flags.help) {
  console.log(`npm run bench -- [options]
  --rounds N     rounds of each workload, medians are quoted (default 3)
  --jobs N       jobs in a drained workload (default 20000)
  --only NAME    noop, flow, events (from the log), live (events as they are sent), latency or step
  --codec NAME   encrypting or compressing, of examples/codec.ts
  --history N    all of it twice, in turn: in an empty database, and in one with N finished flows and their 4 N transitions
  --profile      look into node, Postgres and NATS as they work: a flame graph and a page of tables for each workload
  --out DIR      where --profile writes them (default bench/results/profiles)
  --json         one JSON object
Beside others: npm run bench:peers -- --help`);
  process.exit(0);
}
const rounds = Number(flags.rounds);
const jobs = Number(flags.jobs);
process.env.BENCH_CODEC = flags.codec ?? '';

const servers = new Servers({ profiled: flags.profile });
const profiler = flags.profile ? new Profiler(servers.dir) : undefined;
const contender: Contender = { module: './perdure.ts', peer: peers[0] as Contender['peer'] };
const execArgv = process.env.BENCH_ARGV?.split(' ') ?? [];

const flat = ({ perSecond, cpuPer1000, peakMiB }: Throughput): Sample => ({
  perSecond,
  ...cpuPer1000,
  ...(peakMiB === undefined ? {} : { peakMiB }),
});
const WORKLOADS: Record<string, { title: string; run(place: object): Promise<Sample> }> = {
  noop: {
    title: 'no-op jobs',
    run: async (place) => flat(await drain({ ...base, ...place, kind: 'noop', count: jobs })),
  },
  flow: {
    title: 'three-step statecharts',
    run: async (place) => flat(await drain({ ...base, ...place, kind: 'flow', count: jobs })),
  },
  events: {
    title: 'events to 1,000 actors',
    run: async (place) => flat(await eventsBacklog({ ...base, ...place, count: jobs * 2 })),
  },
  live: {
    title: 'events to 1,000 actors, as they are sent',
    run: async (place) => flat(await events({ ...base, ...place, count: jobs })),
  },
  latency: {
    title: 'one job, idle system',
    run: async (place) => ({ ...(await latency({ ...base, ...place, count: 1_000 })) }),
  },
};
const base = { contender, servers, execArgv, profiler };

const cells: Cell[] = [];
let steps: StepCost[] = [];
let history: History | undefined;
try {
  const places: { name: string; lasting?: string }[] = [{ name: '' }];
  if (flags.history !== undefined) {
    history = await past(Number(flags.history));
    places.push({ name: ' with a past', lasting: 'past' });
  }
  for (let round = 0; round < rounds; round++)
    for (const [name, workload] of Object.entries(WORKLOADS))
      for (const { name: where, ...place } of places) {
        if (flags.only !== undefined && flags.only !== name) continue;
        const sample = await workload.run(place);
        note(`${workload.title}${where}`, sample);
        await profiler?.collect(
          `${name}${where.replaceAll(' ', '-')}`,
          `${workload.title}${where}`,
        );
      }
  if (flags.only === undefined || flags.only === 'step') steps = stepCosts();
  await report();
} finally {
  await servers.stop();
}
process.exit(0);

/** A database with a long past, in which the measurements take place. */
async function past(count: number): Promise<History> {
  const stage = await Stage.open({ ...base, kind: 'flow', lasting: 'past' });
  try {
    await stage.startWorker().ready;
    await stage.client.call('bulk', TEMPLATES);
    await stage.settled(TEMPLATES);
    await stage.workers.pop()?.stop();
    const made = await makeHistory(stage, servers.dir, count);
    console.error(
      `a past of ${made.jobs} jobs and ${made.transitions} transitions, ${(made.bytes / 2 ** 20).toFixed(0)} MiB, in ${made.minutes.toFixed(1)} minutes`,
    );
    return made;
  } finally {
    await stage.close();
  }
}

function note(workload: string, sample: Sample): void {
  const known = cells.find((one) => one.workload === workload);
  const cell = known ?? { workload, peer: 'perdure', samples: [] };
  if (!known) cells.push(cell);
  cell.samples.push(sample);
  const numbers = Object.entries(sample).map(([name, value]) => `${name} ${short(value)}`);
  if (!flags.json) console.error(`${workload}: ${numbers.join(', ')}`);
}

async function report(): Promise<void> {
  const setting = await settingOf(servers);
  for (const file of profiler?.write(flags.out, setting) ?? [])
    console.error(`wrote ${relative('.', file)}`);
  if (flags.json) {
    console.log(JSON.stringify({ setting, rounds, jobs, history, cells, steps }));
    return;
  }
  console.log(
    `\n${setting.cores} cores, node ${setting.versions.node}, commit ${setting.commit}, median of ${rounds} rounds of ${jobs} jobs\n`,
  );
  for (const cell of cells) console.log(`${cell.workload.padEnd(40)} ${row(cell)}`);
  for (const cost of steps) console.log(costLine(cost));
}

function row(cell: Cell): string {
  const of = (name: string) => short(spread(cell, name)?.median ?? 0);
  const rate = spread(cell, 'perSecond');
  if (rate === undefined) return `p50 ${of('p50')} ms, p95 ${of('p95')} ms, p99 ${of('p99')} ms`;
  const cpu = ['workers', 'postgres', 'nats', 'client', 'all'].map((name) => `${name} ${of(name)}`);
  const peak = spread(cell, 'peakMiB');
  const memory = peak ? `, at most ${Math.round(peak.max)} MiB` : '';
  return `${short(rate.median).padStart(7)} /s (${short(rate.min)}–${short(rate.max)})   CPU-s/1000: ${cpu.join(', ')}${memory}`;
}
