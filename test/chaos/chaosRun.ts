import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Journal } from '../support/cluster.ts';
import type { JournalLine } from '../support/history.ts';
import { countErrors, diagnose, dropServerData, dumpTables } from './evidence.ts';
import { type Judgement, judgeRun } from './invariants.ts';
import { type Accepted, atRest, createLoad, type Load } from './load/load.ts';
import { type DoneFault, unleash } from './nemesis.ts';
import { describe, type FaultKind, type PlannedFault, planFaults, type Store } from './schedule.ts';
import { type Servers, startServers } from './servers.ts';
import { type Setting, settingOf } from './setting.ts';
import { journalFile, openWorld, type World } from './world.ts';

export interface ChaosOptions {
  seed: number;
  lengthMs: number;
  nodes: number;
  /** Jobs a second. */
  rate: number;
  kinds: readonly FaultKind[];
  /** After everything else, this long without the store. */
  outage?: { what: Store; lengthMs: number };
  /** Empty, and to be entered by the user Postgres runs as. Holds everything the run leaves behind. */
  dir: string;
  /** The servers' data stays as well as their logs. */
  keep: boolean;
  signal: AbortSignal;
  say: (line: string) => void;
}

export interface ChaosReport {
  setting: Setting;
  /** As they happened. */
  faults: DoneFault[];
  violations: string[];
  table: Record<string, string | number>;
}

/** Healthy nodes on healthy servers are ready within this, ms. */
const READY_MS = 60_000;
/** What was accepted is done this long after the last fault, ms. */
const DRAIN_MS = 90_000;
/** Before an outage and after it, to come to rest, ms. */
const BREATH_MS = 15_000;
/** A node that is asked to end has done so within this, ms. */
const END_MS = 15_000;
/** A node may grow by this in an outage, bytes. */
const GROWTH_MAX = 100e6;

/** A world under load, faults, healing, judgement. @throws what keeps the run itself from working; when `signal` aborts */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { dir, signal } = options;
  const startedAt = performance.now();
  const say = (line: string) => {
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
    options.say(`${seconds.padStart(7)} s  ${line}`);
    appendFileSync(join(dir, 'timeline.txt'), `${new Date().toISOString()} ${line}\n`);
  };
  const plan = planRun(options);
  writeFileSync(join(dir, 'schedule.json'), JSON.stringify(plan, null, 1));
  options.say(['planned:', ...plan.map((fault) => `  ${describe(fault)}`)].join('\n'));

  let servers: Servers | undefined;
  let world: World | undefined;
  try {
    servers = await startServers(join(dir, 'servers'), 3);
    signal.throwIfAborted();
    world = await openWorld({
      servers,
      namespace: `chaos_${options.seed.toString(36)}`,
      nodes: options.nodes,
      file: join(import.meta.dirname, 'load/actors.ts'),
      env: {
        PERDURE_TEST_DIR: dir,
        PERDURE_CHAOS_SEED: `${options.seed}`,
        PERDURE_LOG_LEVEL: 'info',
      },
      logs: join(dir, 'logs'),
      proxied: true,
    });
    await within(READY_MS, 'the nodes are ready', world.heal());
    say('3 nats-servers, Postgres and all nodes are ready; faults count from here');
    return await misuse(world, plan, { ...options, say });
  } finally {
    await world?.close();
    await servers?.stop();
    if (!options.keep) dropServerData(join(dir, 'servers'));
  }
}

function planRun(options: ChaosOptions): PlannedFault[] {
  const nodes = Array.from({ length: options.nodes }, (_, n) => `n${n + 1}`);
  const plan = planFaults({ ...options, nodes });
  if (options.outage) {
    const { what, lengthMs } = options.outage;
    const fromMs = options.lengthMs + BREATH_MS;
    plan.push({ deed: { kind: 'outage', what }, fromMs, untilMs: fromMs + lengthMs });
  }
  return plan;
}

async function misuse(
  world: World,
  plan: readonly PlannedFault[],
  options: ChaosOptions,
): Promise<ChaosReport> {
  const { dir, seed, signal, say } = options;
  const load = await createLoad({ ...placeOf(world), seed, dir, say });
  load.start(options.rate);
  const last = plan.at(-1);
  const outageEnds = last?.deed.kind === 'outage' ? last.untilMs + BREATH_MS : 0;
  const lengthMs = Math.max(options.lengthMs, outageEnds);
  const faults = await unleash({ world, plan, lengthMs, signal, say });
  signal.throwIfAborted();
  writeFileSync(join(dir, 'faults.json'), JSON.stringify(faults, null, 1));

  const violations: string[] = [];
  const tell = (error: Error) => void violations.push(error.message);
  await within(READY_MS, 'all nodes are ready after the healing', world.heal()).catch(tell);
  const accepted = await load.stop();
  say('all is healed, nothing more is asked for');
  const healedAt = performance.now();
  const quiescent = await drained(world, accepted, options);
  const drainMs = Math.round(performance.now() - healedAt);
  if (quiescent) say('everything is at rest');
  else {
    violations.push(`not at rest ${DRAIN_MS / 1_000} s after the last fault; see stuck.json`);
    await diagnose(world, dir);
  }
  const { table, ...judged } = await judge(world, load, accepted, { faults, quiescent, dir });
  violations.push(...world.surprises, ...judged.violations, ...overgrown(faults));
  const ends = await Promise.all(world.nodes.map((node) => node.stop('SIGTERM', END_MS)));
  ends.forEach((end, n) => {
    if (end === 'killed')
      violations.push(`${world.nodes[n]?.name} did not end within ${END_MS} ms`);
  });
  if (violations.length > 0) {
    writeFileSync(join(dir, 'violations.txt'), violations.map((line) => `${line}\n`).join(''));
    await dumpTables(placeOf(world), dir);
  }
  return {
    setting: await settingOf(world.servers),
    faults,
    violations,
    table: {
      ...counted(faults),
      'at rest after, ms': drainMs,
      ...table,
      'errors logged by nodes': world.nodes.reduce((n, { logFile }) => n + countErrors(logFile), 0),
      violations: violations.length,
    },
  };
}

async function judge(
  world: World,
  load: Load,
  accepted: Accepted,
  facts: { faults: DoneFault[]; quiescent: boolean; dir: string },
): Promise<Judgement> {
  const { faults, quiescent, dir } = facts;
  const journal = new Journal<JournalLine>(journalFile(dir)).read();
  return judgeRun({ place: placeOf(world), load, accepted, journal, faults, quiescent });
}

/** Whether everything came to rest in time; looks twice a second. */
async function drained(world: World, accepted: Accepted, options: ChaosOptions): Promise<boolean> {
  const deadline = performance.now() + DRAIN_MS;
  let toldAt = performance.now();
  for (;;) {
    options.signal.throwIfAborted();
    const rest = await atRest(world.sql, accepted).catch((error: Error) => ({
      done: false,
      error: error.message,
    }));
    if (rest.done) return true;
    if (performance.now() > deadline) return false;
    if (performance.now() - toldAt > 5_000) {
      toldAt = performance.now();
      options.say(`not yet at rest: ${JSON.stringify(rest)}`);
    }
    await pause(500);
  }
}

const placeOf = ({ namespace, natsUrl, databaseUrl }: World) => ({
  namespace,
  natsUrl,
  databaseUrl,
});

function counted(faults: readonly DoneFault[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kind } of faults) counts[`fault: ${kind}`] = (counts[`fault: ${kind}`] ?? 0) + 1;
  return counts;
}

function overgrown(faults: readonly DoneFault[]): string[] {
  return faults
    .filter(({ grewBytes = 0 }) => grewBytes > GROWTH_MAX)
    .map(({ grewBytes = 0 }) => `a node grew by ${Math.round(grewBytes / 1e6)} MB in the outage`);
}

/** @throws Error when `work` takes longer. */
async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  const over = new AbortController();
  const late = pause(ms, undefined, { signal: over.signal }).then(() => {
    throw new Error(`not within ${ms} ms: ${what}`);
  });
  late.catch(() => {});
  return Promise.race([work, late]).finally(() => over.abort());
}
