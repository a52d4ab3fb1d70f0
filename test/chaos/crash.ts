import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startNats } from '../../src/dev/natsServer.ts';
import { startPostgres } from '../../src/dev/postgres.ts';
import { runCrash } from '../support/clusterCrash.ts';

// node test/chaos/crash.ts --seed N --jobs 300 --seconds 20
//
// Jobs are published over the given time while the node that does them gets kill -9 every second or two. Then the
// whole history is judged. Exit code 1 when anything is wrong. Brings servers of its own unless URLs are given.

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    jobs: { type: 'string', default: '300' },
    seconds: { type: 'string', default: '20' },
    nats: { type: 'string' },
    database: { type: 'string' },
  },
});
const seed = whole('seed', values.seed);
const jobs = whole('jobs', values.jobs);
const seconds = whole('seconds', values.seconds);

function whole(name: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0) return value;
  console.error(`--${name} ${text} is not a whole number.`);
  process.exit(2);
}

const again = `node test/chaos/crash.ts --seed ${seed} --jobs ${jobs} --seconds ${seconds}`;
console.log(again);
const dir = mkdtempSync(join(tmpdir(), 'perdure-crash-'));
// Postgres may run as another user, who must be able to enter.
chmodSync(dir, 0o755);
const stops: (() => Promise<void>)[] = [];
let failed = true;
try {
  let { database, nats } = values;
  if (database === undefined) {
    const server = await startPostgres({ dir: join(dir, 'postgres') });
    stops.push(() => server.stop('SIGKILL'));
    database = server.url;
  }
  if (nats === undefined) {
    const server = await startNats({ dir: join(dir, 'nats') });
    stops.push(() => server.stop('SIGKILL'));
    nats = server.url;
  }
  const { violations, history, kills, gapsMs, tookMs } = await runCrash({
    seed,
    jobs,
    seconds,
    databaseUrl: database,
    natsUrl: nats,
    namespace: `crash_${seed.toString(36)}`,
    dir: join(dir, 'journal'),
    killsMax: Math.max(10, Math.ceil(seconds / 2)),
    say: (line) => console.log(line),
  });
  const sorted = [...gapsMs].sort((a, b) => a - b);
  console.table({
    'jobs done': `${jobs} in ${(tookMs / 1_000).toFixed(1)} s`,
    'kill -9': kills,
    'longest pause after one': `${sorted.at(-1) ?? 0} ms`,
    'median pause': `${sorted[Math.floor(sorted.length / 2)] ?? 0} ms`,
    nodes: history.nodes,
    actors: history.actors,
    transitions: history.transitions,
    'highest epoch': history.epochsMax,
    'idempotency keys': history.keys,
    'runs of them': history.runs,
    violations: violations.length,
  });
  for (const violation of violations) console.error(`VIOLATION ${violation}`);
  failed = violations.length > 0;
} finally {
  await Promise.all(stops.map((stop) => stop()));
  if (failed) console.error(`FAILED. Again with: ${again}`);
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
}
process.exit(failed ? 1 : 0);
