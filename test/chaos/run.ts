import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { killDaemons } from '../../src/dev/daemon.ts';
import { runChaos } from './chaosRun.ts';
import { chaosMarkdown, writePages } from './pages.ts';
import { runReport } from './report.ts';
import { FAULT_KINDS, type FaultKind, type Store } from './schedule.ts';

// node test/chaos/run.ts --seed N --minutes M; --help says the rest. Exit code 1 when anything is wrong.

const HELP = `npm run chaos -- [options]
  --seed N           the same seed plans the same load and the same faults (default: drawn)
  --minutes M        how long faults happen (default 2)
  --nodes N          3 to 5 (default 3)
  --rate N           jobs a second (default 20)
  --faults a,b,c     only these: ${FAULT_KINDS.join(', ')}
  --outage STORE     afterwards five minutes without postgres, nats or both
  --outage-seconds N another length of the outage
  --out FILE         writes FILE.json and FILE.md
  --dir DIR          where evidence goes (default: a new directory for temporary files)
  --keep             keeps the evidence of a run without violations, and the servers' data

npm run chaos -- --report [options]
  --rounds N         how often each thing is measured (default 10)
  --only a,b         only these measures; an unknown name lists them
  --cluster          everything on three nats-servers
  --outage           the five-minute outages as well (one round of each store)
  --out FILE         writes FILE.json and FILE.md
`;

const { values: flags } = parseArgs({
  // --outage has a value in a run and none in a report.
  args: process.argv.slice(2).map((arg, n, all) => {
    const bare = arg === '--outage' && !['postgres', 'nats', 'both'].includes(all[n + 1] ?? '');
    return bare ? '--outage=all' : arg;
  }),
  options: {
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    minutes: { type: 'string', default: '2' },
    nodes: { type: 'string', default: '3' },
    rate: { type: 'string', default: '20' },
    faults: { type: 'string', default: FAULT_KINDS.join(',') },
    outage: { type: 'string' },
    'outage-seconds': { type: 'string', default: '300' },
    dir: { type: 'string' },
    keep: { type: 'boolean', default: false },
    report: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '10' },
    only: { type: 'string' },
    cluster: { type: 'boolean', default: false },
    out: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

if (flags.help) {
  process.stdout.write(HELP);
  process.exit(0);
}

function number(
  name: 'seed' | 'minutes' | 'nodes' | 'rate' | 'rounds' | 'outage-seconds',
  low = 0,
  high = 2 ** 31,
) {
  const value = Number(flags[name]);
  if (flags[name].trim() !== '' && value >= low && value <= high) return value;
  return refuse(`--${name} ${flags[name]} is not a number from ${low} to ${high}.`);
}

function refuse(why: string): never {
  console.error(`${why}\n\n${HELP}`);
  process.exit(2);
}

const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => {
    if (stopping.signal.aborted) {
      killDaemons();
      process.exit(130);
    }
    console.error('stopping; once more to stop at once');
    stopping.abort();
  });

const dir =
  flags.dir === undefined ? mkdtempSync(join(tmpdir(), 'perdure-chaos-')) : resolve(flags.dir);
mkdirSync(dir, { recursive: true });
if (readdirSync(dir).length > 0) refuse(`${dir} is not empty.`);
// Postgres may run as another user, who must be able to enter.
chmodSync(dir, 0o755);

let keep = true;
try {
  const good = flags.report ? await report() : await chaos();
  process.exitCode = good ? 0 : 1;
  keep = flags.keep || (!good && !flags.report);
} catch (error) {
  if (!stopping.signal.aborted) throw error;
  process.exitCode = 130;
  keep = flags.keep;
} finally {
  if (keep && existsSync(dir)) console.log(`evidence: ${dir}`);
  else rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
}
process.exit();

async function chaos(): Promise<boolean> {
  const seed = Math.floor(number('seed'));
  const minutes = number('minutes', 0.05, 24 * 60);
  const nodes = Math.floor(number('nodes', 2, 5));
  const rate = number('rate', 0.1, 10_000);
  const kinds = flags.faults.split(',').filter((kind) => kind !== '') as FaultKind[];
  const unknown = kinds.find((kind) => !FAULT_KINDS.includes(kind));
  if (unknown !== undefined) refuse(`There is no fault ${unknown}.`);
  if (flags.outage === 'all') refuse('--outage wants to know of what: postgres, nats or both.');
  const lengthMs = number('outage-seconds', 1) * 1_000;
  const outage = flags.outage && { what: flags.outage as Store, lengthMs };
  const again = [
    `npm run chaos -- --seed ${seed} --minutes ${minutes} --nodes ${nodes} --rate ${rate}`,
    ...(kinds.length === FAULT_KINDS.length ? [] : [`--faults ${kinds.join(',')}`]),
    ...(outage ? [`--outage ${outage.what} --outage-seconds ${lengthMs / 1_000}`] : []),
  ].join(' ');
  console.log(`seed ${seed}\n${again}`);
  const result = await runChaos({
    ...{ seed, nodes, rate, kinds, dir },
    ...(outage ? { outage } : {}),
    lengthMs: minutes * 60_000,
    keep: flags.keep,
    signal: stopping.signal,
    say: (line: string) => console.log(line),
  });
  const { violations, table } = result;
  console.table(table);
  if (flags.out !== undefined)
    writePages(resolve(flags.out), { again, ...result }, chaosMarkdown(again, result));
  for (const violation of violations) console.error(`VIOLATION ${violation}`);
  if (violations.length > 0) console.error(`FAILED. Again with: ${again}`);
  return violations.length === 0;
}

function report(): Promise<boolean> {
  return runReport({
    rounds: Math.floor(number('rounds', 1)),
    ...(flags.only === undefined ? {} : { only: flags.only.split(',') }),
    ...(flags.out === undefined ? {} : { out: resolve(flags.out) }),
    cluster: flags.cluster,
    outages: flags.outage !== undefined,
    outageMs: number('outage-seconds', 1) * 1_000,
    dir,
    signal: stopping.signal,
    say: (line: string) => console.log(line),
  });
}
