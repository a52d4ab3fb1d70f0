import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { svg } from './chart.ts';
import { settingOf } from './machine.ts';
import type { Peer } from './peer.ts';
import { jetStream, postgresRows, type Raw, xstateSteps } from './raw.ts';
import { markdown } from './report.ts';
import type { Cell, PeerFacts, Results } from './results.ts';
import { SERVER_SETTINGS, Servers } from './servers.ts';
import type { Contender } from './stage.ts';
import { type Sample, WORKLOADS, type Workload } from './workloads.ts';

/** Perdure and what one would pick instead, side by side: `npm run bench:peers -- --help`. */
const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string' },
    only: { type: 'string', multiple: true, default: [] },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    out: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (flags.help) {
  console.log(`npm run bench:peers -- [options]
  --rounds N             rounds of each workload, medians are quoted (default 5, with --quick 1)
  --only PEER/WORKLOAD   part of a name / name; either may be left out (bullmq, /flow, dbos/latency); may be repeated
  --quick                a fifth of the jobs, a twentieth of the sleeping instances
  --out NAME             bench/results/NAME.{json,md,svg} (default: peers, with --quick or --only quick)
  --json                 the results as JSON on stdout, too
Workloads: ${WORKLOADS.map(({ name }) => name).join(', ')}`);
  process.exit(0);
}

const MODULES = [
  'perdure',
  ...['graphile', 'pgboss', 'bullmq', 'dbos', 'restate', 'restateXstate', 'celery'].map(
    (name) => `peers/${name}`,
  ),
];
const HERE = import.meta.dirname;
const rounds = Number(flags.rounds ?? (flags.quick ? 1 : 5));
const name = flags.out ?? (flags.quick || flags.only.length > 0 ? 'quick' : 'peers');
const startedAt = performance.now();
const say = (line: string) => process.stderr.write(`${line}\n`);

const installed = install();
const servers = new Servers();
const stopEarly = async () => {
  await servers.stop();
  process.exit(130);
};
process.once('SIGINT', stopEarly).once('SIGTERM', stopEarly);
try {
  const results = await measureAll();
  show(results);
} finally {
  await servers.stop();
}
process.exit(0);

/** The peers' packages, in a directory of their own. Words for why not, when they cannot be had. */
function install(): string | undefined {
  const peers = join(HERE, 'peers');
  const lock = (path: string) => existsSync(path) && readFileSync(path, 'utf8');
  const mark = join(peers, 'node_modules', '.installed');
  if (lock(mark) === lock(join(peers, 'package-lock.json'))) return undefined;
  say('installing the peers (270 MB)');
  try {
    // Prebuilt parts are packages; of the scripts one would report the installation to somebody.
    execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: peers,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    writeFileSync(mark, readFileSync(join(peers, 'package-lock.json')));
    return undefined;
  } catch (error) {
    return `npm ci failed in bench/peers: ${(error as Error).message.split('\n')[0]}`;
  }
}

async function load(): Promise<{ contenders: Contender[]; facts: PeerFacts[] }> {
  const contenders: Contender[] = [];
  const facts: PeerFacts[] = [];
  for (const module of MODULES) {
    const path = `./${module}.ts`;
    try {
      if (installed !== undefined && module !== 'perdure') throw new Error(installed);
      const { peers } = (await import(path)) as { peers: readonly Peer[] };
      for (const peer of peers.filter((one) =>
        WORKLOADS.some((workload) => wanted(one.name, workload.name)),
      )) {
        const found = await factsOf(peer);
        facts.push(found);
        if (found.skipped === undefined) contenders.push({ module: path, peer });
        else say(`${peer.name} is not measured: ${found.skipped}`);
      }
    } catch (error) {
      const skipped = (error as Error).message;
      say(`${module} is not measured: ${skipped}`);
      facts.push({ name: module, versions: {}, servers: {}, settings: [], caveats: [], skipped });
    }
  }
  return { contenders, facts };
}

async function factsOf(peer: Peer): Promise<PeerFacts> {
  const { settings, caveats } = peer;
  const facts: PeerFacts = {
    name: peer.name,
    versions: peer.versions(),
    servers: {},
    settings,
    caveats,
  };
  for (const server of peer.servers) {
    facts.servers[server] = SERVER_SETTINGS[server];
    try {
      Object.assign(facts.versions, (await servers.get(server)).versions);
    } catch (error) {
      facts.skipped = (error as Error).message;
    }
  }
  return facts;
}

function wanted(peer: string, workload: string): boolean {
  return (
    flags.only.length === 0 ||
    flags.only.some((only) => {
      const [who = '', what = ''] = only.split('/');
      return peer.includes(who) && (what === '' || workload === what);
    })
  );
}

async function measureAll(): Promise<Results> {
  // At the start: the checkout may go on while this runs.
  const setting = await settingOf(servers);
  const { contenders, facts } = await load();
  const cells: Cell[] = [];
  const raw: Record<string, Raw[]> = {};
  for (let round = 0; round < rounds; round++) {
    await measureRaw(raw);
    // In turn, each round begun by another one: nobody always has the machine that another one has warmed.
    for (const workload of WORKLOADS)
      for (const i of contenders.keys()) {
        const contender = contenders[(i + round) % contenders.length] as Contender;
        if (wanted(contender.peer.name, workload.name))
          await measureOne(cells, workload, contender, round);
      }
    // It takes hours with slow peers: what is done is not lost with the rest.
    write(resultsOf(setting, facts, contenders, cells, raw, round + 1));
  }
  return resultsOf(setting, facts, contenders, cells, raw, rounds);
}

function resultsOf(
  setting: Results['setting'],
  facts: PeerFacts[],
  contenders: readonly Contender[],
  cells: readonly Cell[],
  raw: Record<string, Raw[]>,
  done: number,
): Results {
  const order = (cell: Cell) => contenders.findIndex(({ peer }) => peer.name === cell.peer);
  return {
    setting,
    extent: `${flags.quick ? 'Quick' : 'Full'}${flags.only.length > 0 ? `, only ${flags.only.join(' ')}` : ''}`,
    rounds: done,
    minutes: (performance.now() - startedAt) / 60_000,
    raw,
    peers: facts,
    cells: cells.toSorted((a, b) => order(a) - order(b)),
  };
}

async function measureRaw(raw: Record<string, Raw[]>): Promise<void> {
  // They go with a comparison of all, or nobody has anything to compare them with.
  if (!flags.only.every((only) => only.startsWith('/'))) return;
  const count = flags.quick ? 10_000 : 40_000;
  const note = (what: string, one: Raw) => {
    raw[what] = [...(raw[what] ?? []), one];
  };
  const rows = await postgresRows(await servers.get('postgres'), count);
  note('Postgres, rows inserted', rows.insert);
  note('Postgres, rows updated', rows.update);
  for (const [server, words] of [
    ['nats', 'sync always'],
    ['nats-default', 'sync default'],
  ] as const) {
    const { publish, consume } = await jetStream(await servers.get(server), count);
    note(`JetStream, ${words}, published`, publish);
    note(`JetStream, ${words}, consumed and acknowledged`, consume);
  }
  note('XState, steps', await xstateSteps(count * 4));
}

async function measureOne(
  cells: Cell[],
  workload: Workload,
  contender: Contender,
  round: number,
): Promise<void> {
  const { peer } = contender;
  if (workload.ours && peer.name !== 'perdure') return;
  let cell = cells.find((one) => one.workload === workload.name && one.peer === peer.name);
  if (cell === undefined) {
    cell = { workload: workload.name, peer: peer.name, samples: [] };
    cells.push(cell);
    const no = whyNot(workload, peer);
    if (no !== undefined) cell.no = no;
  }
  if (round >= (workload.roundsMost ?? rounds)) return;
  // What was not done within the cap, or cannot be done, is not asked again.
  if (
    cell.no !== undefined ||
    cell.samples.some((sample) => sample[workload.main] === Number.POSITIVE_INFINITY)
  )
    return;
  const from = performance.now();
  try {
    const sample = await workload.run({ contender, servers, quick: flags.quick });
    cell.samples.push(sample);
    say(`${line(workload, peer, sample)}   [${Math.round((performance.now() - from) / 1_000)} s]`);
  } catch (error) {
    cell.no = `failed: ${(error as Error).message.split('\n')[0]}`;
    say(`${workload.name} ${peer.name}: ${(error as Error).stack}`);
  }
}

function whyNot(workload: Workload, peer: Peer): string | undefined {
  const work = peer.workloads[workload.kind];
  if (work === undefined) return 'nothing of the kind';
  if ('no' in work) return work.no;
  if (workload.name === 'recovery-tuned') return work.untunable;
  return undefined;
}

function line(workload: Workload, peer: Peer, sample: Sample): string {
  const numbers = Object.entries(sample)
    .filter(([what]) => !what.startsWith('cpu ') || what === 'cpu all')
    .map(([what, value]) => `${what} ${Number(value.toPrecision(4))}`);
  return `${workload.name.padEnd(15)} ${peer.name.padEnd(24)} ${numbers.join(', ')}`;
}

function jsonOf(results: Results): string {
  // JSON has no Infinity.
  const plain = (_: string, value: unknown) =>
    value === Number.POSITIVE_INFINITY ? '> 120' : value;
  return JSON.stringify(results, plain, 2);
}

function write(results: Results): void {
  const dir = join(HERE, 'results');
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, `${name}.json`), `${jsonOf(results)}\n`);
  writeFileSync(join(dir, `${name}.svg`), svg(results));
  writeFileSync(join(dir, `${name}.md`), markdown(results, `${name}.svg`));
  say(`round ${results.rounds}: written to bench/results/${name}.{json,md,svg}`);
}

function show(results: Results): void {
  if (flags.json) console.log(jsonOf(results));
  else console.log(markdown(results, `${name}.svg`));
}
