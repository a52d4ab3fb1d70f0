import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Client } from 'pg';
import { namespace, SHARDS } from '../src/config.ts';
import { startNats } from '../src/dev/natsServer.ts';
import { startPostgres } from '../src/dev/postgres.ts';
import { migrate } from '../src/store/migrate.ts';
import { actorPages, OPENED } from './inspectActorPage.ts';
import { type Inspector, overviewCost, type Pids, type Turn, watchedCost } from './inspectCost.ts';
import { fill } from './inspectFill.ts';
import { latencies, quantile, TO_THE_END, toTheEnd } from './inspectQuestions.ts';

const HELP = `What the inspector costs when there are many actors: node bench/inspect.ts [options]

  --actors N        actors there are (200000)
  --transitions N   transitions they have together (5 for each)
  --rounds N        times each question is asked, an actor's page opened, or pages are opened and closed (20; 5; 4)
  --only WHAT       questions, page, overview or watchers, with commas between; default: all
  --minutes N       how long the overview is looked at (3)
  --pages N         pages that look on (50)
  --flows N         three-step flows in one turn (20000)
  --data DIR        keep the data there, and use it again
  --help            this`;

const { values: flags } = parseArgs({
  options: {
    actors: { type: 'string', default: '200000' },
    transitions: { type: 'string' },
    rounds: { type: 'string' },
    only: { type: 'string', default: 'questions,page,overview,watchers' },
    minutes: { type: 'string', default: '3' },
    pages: { type: 'string', default: '50' },
    flows: { type: 'string', default: '20000' },
    data: { type: 'string' },
    help: { type: 'boolean' },
  },
});
if (flags.help) {
  console.log(HELP);
  process.exit();
}
const actors = Number(flags.actors);
const transitions = Number(flags.transitions ?? actors * 5);
const only = flags.only.split(',');
const dir = flags.data
  ? resolve(flags.data)
  : mkdtempSync(join(tmpdir(), 'perdure-bench-inspect-'));
mkdirSync(dir, { recursive: true });
chmodSync(dir, 0o755);

const postgres = await startPostgres({ dir: join(dir, 'postgres') });
const nats = await startNats({
  dir: join(dir, 'nats'),
  // Putting the jobs is not what is measured, and would take most of the time with a sync for each.
  configText: `jetstream { store_dir: ${JSON.stringify(join(dir, 'nats', 'jetstream'))}, sync_interval: "2m" }`,
});
const client = new Client(postgres.url);
const inspectors = new Set<Inspector>();
try {
  // Not the default one: the workers of the benchmarks name theirs in every subject.
  const space = namespace('inspected');
  await client.connect();
  await migrate({ client, namespace: space, shards: SHARDS });
  await client.query(`SET search_path = ${space.schema}`);
  const { rows: there } = await client.query('SELECT FROM actor LIMIT 1');
  if (there.length === 0) await fill(client, { actors, transitions });
  const { rows: sizes } = await client.query<{ name: string; size: string; rows: string }>(
    `SELECT relname AS name, pg_size_pretty(pg_total_relation_size(oid)) AS size, reltuples::int8 AS rows
       FROM pg_class WHERE oid IN ('actor'::regclass, 'transition'::regclass, 'searchable'::regclass) ORDER BY 1`,
  );
  for (const { name, size, rows } of sizes) console.log(`${name}: ${rows} rows, ${size}`);
  const { rows: some } = await client.query<{ id: string }>(
    `SELECT id FROM actor WHERE type = 'order' AND shard = 1 LIMIT 100`,
  );

  const pids = { postgres: postgres.pid, nats: nats.pid };
  const actorOf = (n: number) => some[n % some.length]?.id ?? '';
  const inspector = await startInspector();
  if (only.includes('questions')) await askQuestions(inspector.url, actorOf);
  if (only.includes('overview')) await lookAtOverview(inspector, pids);
  await inspector.stop();
  if (only.includes('page')) await openActors(actorOf);
  if (only.includes('watchers')) await lookOn(pids);
} finally {
  await Promise.all([...inspectors].map((one) => one.stop()));
  await client.end();
  await nats.stop('SIGKILL');
  await postgres.stop(flags.data ? 'SIGINT' : 'SIGKILL');
  if (!flags.data) rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
}
process.exit();

/** A process of its own, as it would be: what it costs is not what asking costs. */
async function startInspector(): Promise<Inspector> {
  const urls = ['--database', postgres.url, '--nats', nats.url];
  const main = new URL('../src/cli/main.ts', import.meta.url).pathname;
  if (!existsSync(main)) throw new Error(`${main} is not there`);
  const args = [
    main,
    'inspect',
    '--json',
    '--no-token',
    '--namespace',
    'inspected',
    '--data',
    dir,
    ...urls,
  ];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const line = await new Promise<string>((done, failed) => {
    child.stdout?.once('data', (text) => done(String(text)));
    child.once('exit', () => failed(new Error('the inspector has ended')));
  });
  const gone = new Promise<void>((done) => child.once('exit', () => done()));
  const inspector: Inspector = {
    pid: child.pid as number,
    url: (JSON.parse(line) as { url: string }).url,
    stop() {
      inspectors.delete(inspector);
      child.kill('SIGINT');
      return gone;
    },
  };
  inspectors.add(inspector);
  return inspector;
}

async function askQuestions(url: string, actorOf: (round: number) => string): Promise<void> {
  const took = await latencies(url, Number(flags.rounds ?? 20), actorOf);
  const ms = (value: number) => value.toFixed(1).padStart(7);
  for (const [name, each] of took)
    console.log(
      `${name.padEnd(30)} first ${ms(each[0] ?? 0)}   p50 ${ms(quantile(each, 0.5))}   p95 ${ms(quantile(each, 0.95))} ms`,
    );
  for (const name of TO_THE_END) {
    const { ms: all, answers, longest, found } = await toTheEnd(url, name);
    console.log(
      `to the end, ${name}: ${found} found in ${(all / 1_000).toFixed(1)} s, ${answers} answers, the longest ${longest.toFixed(0)} ms`,
    );
  }
}

function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}

async function openActors(actorOf: (n: number) => string): Promise<void> {
  const took = await actorPages({
    inspect: startInspector,
    // As a node does that starts with another machine of the same version: it has to be drawn anew.
    recordAgain: () => client.query('UPDATE machine SET recorded_at = now()'),
    rounds: Number(flags.rounds ?? 5),
    actorOf,
  });
  for (const what of OPENED) {
    const [least, middle, most] = [0, 0.5, 1].map((share) =>
      quantile(took[what], share).toFixed(0),
    );
    console.log(
      `actor page in a browser, ${what}, until it answers: median ${middle} ms (${least}–${most})`,
    );
  }
}

async function lookAtOverview(inspector: Inspector, pids: Pids): Promise<void> {
  const { idle, opening, open } = await overviewCost(inspector, pids, Number(flags.minutes));
  console.log(`no page open: ${percent(idle)} of one core`);
  console.log(`to open the overview: ${opening.toFixed(2)} CPU-s`);
  console.log(`open, each minute: ${open.map(percent).join(', ')} of one core`);
}

async function lookOn(pids: Pids): Promise<void> {
  const place = {
    ...{ name: 'inspected', kind: 'flow' as const, tuned: false, worker: 0, slowAtOnce: 0 },
    ...{ marks: dir, databaseUrl: postgres.url, natsUrl: nats.url, redisPort: 0 },
    restate: { ingress: '', admin: '', endpoints: [] },
  };
  const [pages, rounds, flows] = [flags.pages, flags.rounds ?? 4, flags.flows].map(Number);
  const found = await watchedCost({
    ...{ inspect: startInspector, pids, place },
    ...{ pages: pages as number, rounds: rounds as number, flows: flows as number },
  });
  const say = (name: string, { perSecond, cpuPer1000, inspector: own, heard = 0 }: Turn) =>
    console.log(
      `${name.padEnd(12)} ${perSecond.toFixed(0).padStart(6)} flows/s   ${cpuPer1000.toFixed(3)} CPU-s/1,000   inspector ${percent(own)}   heard ${(heard / 2 ** 20).toFixed(0)} MiB`,
    );
  for (const round of found) {
    say('no page', round.without);
    say(`${pages} pages`, round.with);
  }
  for (const what of ['perSecond', 'cpuPer1000'] as const) {
    const ratios = found.map((round) => round.with[what] / round.without[what]);
    console.log(
      `${what} with pages, over without: median ${quantile(ratios, 0.5).toFixed(3)} of ${ratios.map((one) => one.toFixed(3)).join(', ')}`,
    );
  }
}
