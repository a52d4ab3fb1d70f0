import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { peers } from './perdure.ts';
import { jetStream, postgresRows, xstateSteps } from './raw.ts';
import { Servers } from './servers.ts';
import type { Contender } from './stage.ts';
import { drain } from './throughput.ts';

/**
 * Whether the engine has become slower: CPU-seconds of all processes for 1,000 jobs, over those that the bare servers and
 * XState take for 1,000 of what a job is made of, measured in the same run. A machine that is slow today is slow at both.
 * `npm run bench:guard`, and `-- --record` after a change that was meant.
 */
const { values: flags } = parseArgs({ options: { record: { type: 'boolean', default: false } } });
const FILE = new URL('./guard.json', import.meta.url);
/** What is worse by more than this fails. */
const TOLERANCE = 1.3;
const ROUNDS = 3;
/** No further round is begun after this, ms: CI waits. */
const ENOUGH_MS = 30_000;

interface Ratios {
  noop: number;
  flow: number;
}

const servers = new Servers();
// Without a sync for each publish: putting the backlog is not what is measured, and would take most of the time.
const contender: Contender = { module: './perdure.ts', peer: peers[1] as Contender['peer'] };
try {
  const rounds: Record<'bare' | 'noop' | 'flow', number>[] = [];
  const round = async () =>
    rounds.push({
      bare: await bare(),
      noop: await cpu('noop', 15_000),
      flow: await cpu('flow', 5_000),
    });
  // What else runs on the machine makes CPU time longer and never shorter.
  const least = (name: 'bare' | 'noop' | 'flow') => Math.min(...rounds.map((one) => one[name]));
  const ratios = (): Ratios => ({
    noop: least('noop') / least('bare'),
    flow: least('flow') / least('bare'),
  });
  while (rounds.length < ROUNDS && performance.now() < ENOUGH_MS) await round();
  // The bare parts may have had the machine's quick moment, and the jobs a slow one: what is slower stays so.
  for (let more = 0; more < ROUNDS && !flags.record && isSlower(ratios()); more++) await round();
  process.exitCode = judge(ratios());
} finally {
  await servers.stop();
}
process.exit();

async function cpu(kind: 'noop' | 'flow', count: number): Promise<number> {
  // Nothing but the start is taken off: the least of differences would be the one with the luckiest warm-up.
  return (await drain({ contender, servers, kind, count, warmUp: 1 })).cpuPer1000.all as number;
}

/** A row inserted, a row updated, a message published, taken and acknowledged, ten steps: CPU-seconds for 1,000. */
async function bare(): Promise<number> {
  const rows = await postgresRows(await servers.get('postgres'), 10_000);
  const { publish, consume } = await jetStream(await servers.get('nats-default'), 5_000);
  const steps = await xstateSteps(50_000);
  const parts = [rows.insert, rows.update, publish, consume].map((raw) => raw.cpuPer1000);
  return parts.reduce((sum, part) => sum + part, 0) + steps.cpuPer1000 * 10;
}

function recorded(): Ratios {
  return JSON.parse(readFileSync(FILE, 'utf8')) as Ratios;
}

function isSlower(now: Ratios): boolean {
  const before = recorded();
  return now.noop / before.noop > TOLERANCE || now.flow / before.flow > TOLERANCE;
}

function judge(now: Ratios): number {
  if (flags.record) {
    writeFileSync(FILE, `${JSON.stringify(now, null, 2)}\n`);
    console.log(`recorded: noop ${now.noop.toFixed(2)}, flow ${now.flow.toFixed(2)}`);
    return 0;
  }
  const before = recorded();
  let failed = 0;
  for (const kind of ['noop', 'flow'] as const) {
    const worse = now[kind] / before[kind];
    const words = `${kind}: ${now[kind].toFixed(2)} times the bare parts, recorded ${before[kind].toFixed(2)} (${worse.toFixed(2)})`;
    if (worse > TOLERANCE) failed = 1;
    console.log(worse > TOLERANCE ? `SLOWER ${words}` : `ok ${words}`);
  }
  return failed;
}
