import { type ChildProcess, fork } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openBus } from '../src/bus/nats.ts';
import { systemClock } from '../src/clock.ts';
import { namespace, SHARDS } from '../src/config.ts';
import { startNats } from '../src/dev/natsServer.ts';
import { startPostgres } from '../src/dev/postgres.ts';
import { createClient, type NodeStatus } from '../src/index.ts';
import { createLogger } from '../src/log.ts';
import { migrate } from '../src/store/migrate.ts';
import { counter, noop } from './actors.ts';
import { cpuSeconds } from './cpu.ts';
import { costLine, type StepCost, stepCosts } from './step.ts';

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
    json: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (flags.help) {
  console.log(`npm run bench -- [options]
  --rounds N     rounds of each workload, medians are quoted (default 3)
  --jobs N       jobs in a drained workload (default 20000)
  --only NAME    noop, flow, events, latency or step
  --codec NAME   encrypting or compressing, of examples/codec.ts
  --profile      write a .cpuprofile of the node
  --json         one JSON object`);
  process.exit(0);
}
const rounds = Number(flags.rounds);
const jobs = Number(flags.jobs);

interface Result {
  workload: string;
  unit: string;
  /** Per second, one for each round. */
  rates: number[];
  /** CPU-seconds per 1,000 by process, one for each round. */
  cpu: { node: number; postgres: number; nats: number }[];
}

const dir = mkdtempSync(join(tmpdir(), 'perdure-bench-'));
chmodSync(dir, 0o755);
const log = createLogger({ level: 'error' });
const [postgres, nats] = await Promise.all([
  startPostgres({ dir: join(dir, 'postgres') }),
  startNats({ dir: join(dir, 'nats') }),
]);
const results: Result[] = [];
let steps: StepCost[] = [];
let latency: { p50: number; p95: number; p99: number } | undefined;
try {
  const wanted = (name: string) => flags.only === undefined || flags.only === name;
  for (let round = 0; round < rounds; round++) {
    if (wanted('noop')) await drained('noop', 'no-op jobs', 1, round);
    if (wanted('flow')) await drained('flow', 'three-step statecharts', 4, round);
    if (wanted('events')) await events(round);
  }
  if (wanted('latency')) latency = await oneJob();
  if (wanted('step')) steps = stepCosts();
  report();
} finally {
  await Promise.all([nats.stop('SIGKILL'), postgres.stop('SIGKILL')]);
  rmSync(dir, { recursive: true, force: true });
}

/** Jobs wait in the log; a node starts and drains them. */
async function drained(type: string, workload: string, transitions: number, round: number) {
  const place = await prepare(`${type}${round}`);
  await publish(place.ns, jobs, (i) => [`jobs.${type}.j${i}`, `{"n":${i}}`]);
  const before = usage();
  const { node, ready } = startNode(place.ns);
  await ready;
  const nodeBefore = cpuSeconds(node.pid as number);
  const seconds = await reached(node, jobs * transitions);
  note(
    workload,
    'jobs/s',
    jobs / seconds,
    jobs,
    before,
    cpuSeconds(node.pid as number) - nodeBefore,
  );
  await stopNode(node);
}

/** Events to 1,000 living actors. */
async function events(round: number) {
  const place = await prepare(`events${round}`);
  const { node, ready } = startNode(place.ns);
  await ready;
  await publish(place.ns, 1_000, (i) => [`jobs.counter.c${i}`, '{}']);
  await reached(node, 1_000);
  await stopNode(node);
  const count = jobs * 2;
  await publish(place.ns, count, (i) => [`events.counter.c${i % 1_000}`, '{"type":"ADD","by":1}']);
  const before = usage();
  const again = startNode(place.ns);
  await again.ready;
  const nodeBefore = cpuSeconds(again.node.pid as number);
  const seconds = await reached(again.node, count);
  const cpu = cpuSeconds(again.node.pid as number) - nodeBefore;
  note('events to 1,000 actors', 'events/s', count / seconds, count, before, cpu);
  await stopNode(again.node);
}

/** One job at a time on the idle system, from `start` to the confirmed commit, as a client sees it. */
async function oneJob() {
  const place = await prepare('latency');
  const { node, ready } = startNode(place.ns);
  await ready;
  const client = createClient({ natsUrl: nats.url, namespace: place.ns, logger: log });
  const times: number[] = [];
  for (let i = 0; i < 1_200; i++) {
    const startedAt = performance.now();
    await client.start(noop, { until: 'committed' });
    if (i >= 200) times.push(performance.now() - startedAt);
  }
  await client.start(counter, {});
  await client.close();
  await stopNode(node);
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(times.length * share)] as number;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

async function prepare(name: string): Promise<{ ns: string }> {
  await migrate({ databaseUrl: postgres.url, namespace: namespace(name), shards: SHARDS, log });
  return { ns: name };
}

async function publish(ns: string, count: number, message: (i: number) => [string, string]) {
  const bus = await openBus({
    natsUrl: nats.url,
    namespace: namespace(ns),
    shards: SHARDS,
    clock: systemClock,
    log,
  });
  const inFlight = new Set<Promise<unknown>>();
  for (let i = 0; i < count; i++) {
    const [subject, body] = message(i);
    const one = bus
      .publish(`${ns}.${subject}`, body, { messageId: `${subject}-${i}`, timeoutMs: 60_000 })
      .finally(() => inFlight.delete(one));
    inFlight.add(one);
    if (inFlight.size >= 500) await Promise.race(inFlight);
  }
  await Promise.all(inFlight);
  await bus.close();
}

function startNode(ns: string): { node: ChildProcess; ready: Promise<void> } {
  const node = fork(new URL('./node.ts', import.meta.url), {
    env: {
      ...process.env,
      PERDURE_NATS_URL: nats.url,
      PERDURE_DATABASE_URL: postgres.url,
      PERDURE_NAMESPACE: ns,
      BENCH_CODEC: flags.codec ?? '',
    },
    execArgv: [
      ...(process.env.BENCH_ARGV?.split(' ') ?? []),
      ...(flags.profile ? ['--cpu-prof', '--cpu-prof-interval', '500'] : []),
    ],
  });
  return { node, ready: new Promise((resolve) => node.once('message', () => resolve())) };
}

function reached(node: ChildProcess, transitions: number): Promise<number> {
  const startedAt = performance.now();
  return new Promise((resolve, reject) => {
    node.once('exit', () => reject(new Error('the node ended before its work did')));
    node.on('message', (status: NodeStatus) => {
      if (status.transitions >= transitions) resolve((performance.now() - startedAt) / 1000);
    });
  });
}

async function stopNode(node: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => node.once('exit', resolve));
  node.kill('SIGTERM');
  await gone;
}

function usage() {
  return { postgres: cpuSeconds(postgres.pid), nats: cpuSeconds(nats.pid) };
}

function note(
  workload: string,
  unit: string,
  rate: number,
  count: number,
  before: ReturnType<typeof usage>,
  nodeCpu: number,
) {
  const after = usage();
  const per = (seconds: number) => (seconds / count) * 1_000;
  const known = results.find((row) => row.workload === workload);
  const result = known ?? { workload, unit, rates: [], cpu: [] };
  if (!known) results.push(result);
  result.rates.push(rate);
  result.cpu.push({
    node: per(nodeCpu),
    postgres: per(after.postgres - before.postgres),
    nats: per(after.nats - before.nats),
  });
  if (!flags.json) console.error(`${workload}: ${Math.round(rate)} ${unit}`);
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] as number;
}

function report(): void {
  const rows = results.map(({ workload, unit, rates, cpu }) => ({
    workload,
    unit,
    median: Math.round(median(rates)),
    min: Math.round(Math.min(...rates)),
    max: Math.round(Math.max(...rates)),
    cpuPer1000: {
      node: round3(median(cpu.map((row) => row.node))),
      postgres: round3(median(cpu.map((row) => row.postgres))),
      nats: round3(median(cpu.map((row) => row.nats))),
      all: round3(median(cpu.map((row) => row.node + row.postgres + row.nats))),
    },
  }));
  const ms = latency && {
    p50: round3(latency.p50),
    p95: round3(latency.p95),
    p99: round3(latency.p99),
  };
  if (flags.json) {
    console.log(
      JSON.stringify({
        cores: cpus().length,
        node: process.version,
        rounds,
        jobs,
        results: rows,
        latencyMs: ms,
        steps,
      }),
    );
    return;
  }
  console.log(
    `\n${cpus().length} cores, node ${process.version}, median of ${rounds} rounds of ${jobs} jobs\n`,
  );
  for (const { workload, unit, median: middle, min, max, cpuPer1000: cpu } of rows)
    console.log(
      `${workload.padEnd(24)} ${String(middle).padStart(7)} ${unit.padEnd(9)} (${min}–${max})   CPU-s/1000: node ${cpu.node}, postgres ${cpu.postgres}, nats ${cpu.nats}, all ${cpu.all}`,
    );
  if (ms)
    console.log(`one job, idle system       p50 ${ms.p50} ms, p95 ${ms.p95} ms, p99 ${ms.p99} ms`);
  for (const cost of steps) console.log(costLine(cost));
}

function round3(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
