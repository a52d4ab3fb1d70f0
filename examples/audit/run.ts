/**
 * `npm start`: audits the packages installed in this checkout with one actor each under `perdure dev`, kills the
 * node in the middle, and checks the outcome against a plain sequential computation.
 */
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createClient, type PerdureClient } from '../../src/index.ts';
import { packageType, REVIEWER, reviewerType } from './actors.ts';
import { type Audited, listPackages, type Package } from './audit.ts';
import { check } from './check.ts';
import { logTail, NAMESPACE, type PerdureDev, startPerdureDev } from './perdureDev.ts';
import { RecordReader } from './record.ts';
import { type Report, Teller, table } from './report.ts';
import { auditSequentially } from './sequential.ts';

const HELP = `npm start -- [options]

Audits installed packages with one durable actor each, kills the node in the middle, checks the result.

  --packages <dir>  the node_modules to audit; default: this checkout's
  --json            print the report as one JSON object; progress goes to stderr
  --keep            keep the data directory and say where it is
  --help            print this

Exit codes: 0 equal to the sequential computation, 1 not, 2 asked in a wrong way, 130 interrupted.
`;

/** Longest wait for all packages to finish, ms. */
const FINISH_MS = 60_000;
const LOOK_EVERY_MS = 50;

/** A demo that runs: what it needs of its surroundings. */
interface Stage {
  root: string;
  data: string;
  teller: Teller;
  /** Aborts on Ctrl-C. */
  signal: AbortSignal;
  /** Has the way to undo what was started. */
  cleanup: (() => Promise<void>)[];
}

async function demo(stage: Stage): Promise<Report> {
  const { root, data, teller } = stage;
  const startedAt = performance.now();
  if (!existsSync(root)) throw new Error(`There is no directory ${root}.`);
  const packages = await listPackages(root);
  if (packages.length === 0) throw new Error(`There are no packages in ${root}.`);
  const journal = join(data, 'journal');
  const dev = startPerdureDev(data, journal);
  stage.cleanup.push(() => dev.stop());
  const [ready, sequential] = await Promise.all([dev.ready, computeSequentially(stage, packages)]);
  const { expected } = sequential;
  teller.say(`perdure dev is ready; node ${ready.pids.nodes[0]}`);

  const record = await RecordReader.open(ready.databaseUrl, journal);
  stage.cleanup.push(() => record.close());
  const client = createClient({ natsUrl: ready.natsUrl, namespace: NAMESPACE });
  stage.cleanup.push(() => client.close());

  const actorsSince = performance.now();
  const accepted = await publish(client, root, packages);
  const kill = await untilFinished(stage, dev, record, packages.length, ready.pids.nodes[0] ?? 0);
  const actorsSeconds = secondsSince(actorsSince);

  const inDoubt = [...expected.values()].filter(({ approvedBy }) => approvedBy !== null);
  const reviewed = await reviews(client, inDoubt.length);
  const recorded = await record.read();
  const checked = check(expected, recorded);
  if (reviewed !== inDoubt.length)
    checked.problems.push(
      `the reviewer took ${reviewed ?? 'nobody knows how many'} requests, not ${inDoubt.length}`,
    );
  if (accepted !== packages.length)
    checked.problems.push(`${accepted} of ${packages.length} packages were accepted`);
  const { waiting } = await record.progress();
  const after = recorded.transitions.filter(({ nodeId }) => nodeId !== kill.nodeId);
  const firstAt = Math.min(...after.map(({ at }) => at));
  const all = [...expected.values()];
  return {
    ok: checked.problems.length === 0,
    accepted,
    waiting: { atKill: kill.waiting, atEnd: waiting },
    ...checked,
    files: sum(all.map(({ files }) => files)),
    bytes: sum(all.map(({ bytes }) => bytes)),
    reviewed,
    killedPid: kill.pid,
    secondsToFirstTransition: after.length === 0 ? null : (firstAt - kill.at) / 1000,
    seconds: {
      total: secondsSince(startedAt),
      actors: actorsSeconds,
      sequential: sequential.seconds,
    },
    approvals: inDoubt.map(({ name, version, licence, doubt, approvedBy }) => ({
      name,
      version,
      licence,
      doubt,
      approvedBy,
    })),
  };
}

async function computeSequentially(
  { root, teller }: Stage,
  packages: readonly Package[],
): Promise<{ expected: Map<string, Audited>; seconds: number }> {
  teller.say(`${packages.length} packages; starting perdure dev, computing the audit sequentially`);
  const since = performance.now();
  const expected = await auditSequentially(root, packages);
  const seconds = secondsSince(since);
  teller.say(`sequential audit: ${seconds.toFixed(1)} s`);
  return { expected, seconds };
}

/** Starts the reviewer, then an actor for each package. Returns how many JetStream acknowledged. */
async function publish(
  client: PerdureClient,
  root: string,
  packages: readonly Package[],
): Promise<number> {
  await client.start(reviewerType, { id: REVIEWER, until: 'committed' });
  const receipts = await Promise.all(
    packages.map(({ id, path }) => client.start(packageType, { id, input: { id, path, root } })),
  );
  return receipts.filter(({ duplicate }) => !duplicate).length;
}

interface Kill {
  pid: number;
  nodeId: string;
  /** Same machine, same clock as the database's; ms since 1970. */
  at: number;
  waiting: number;
}

/** Shows progress until every package has finished, and kills the node when half of them have. */
async function untilFinished(
  { teller, signal }: Stage,
  dev: PerdureDev,
  record: RecordReader,
  total: number,
  pid: number,
): Promise<Kill> {
  const nodeId = await record.nodeId(pid);
  const deadline = performance.now() + FINISH_MS;
  let kill: Kill | undefined;
  for (;;) {
    const { started, finished, waiting } = await record.progress();
    teller.progress(
      `started ${started}/${total}  finished ${finished}  waiting for approval ${waiting}`,
    );
    if (!kill && finished >= total / 2) {
      process.kill(pid, 'SIGKILL');
      kill = { pid, nodeId, at: Date.now(), waiting: (await record.progress()).waiting };
      teller.say(
        `finished ${finished} of ${total}: kill -9 of node ${pid}; perdure dev starts another`,
      );
    }
    if (kill && finished === total) return kill;
    if (performance.now() > deadline) {
      if (kill) return kill;
      throw new Error(`Only ${finished} of ${total} packages finished within ${FINISH_MS} ms.`);
    }
    await Promise.race([wait(LOOK_EVERY_MS, undefined, { signal }), dev.ended]);
  }
}

/** The requests the reviewer has counted, after a moment for the last of them; null when no node answers. */
async function reviews(client: PerdureClient, expected: number): Promise<number | null> {
  try {
    await client
      .waitFor(reviewerType, REVIEWER, ({ context }) => context.reviewed >= expected)
      .catch(() => {});
    return (await client.snapshot(reviewerType, REVIEWER)).context.reviewed;
  } catch {
    return null;
  }
}

const secondsSince = (since: number) => (performance.now() - since) / 1000;
const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

const { values: flags } = parse();
const interrupted = new AbortController();
const cleanup: Stage['cleanup'] = [];
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(name, () => {
    // The impatient second one goes through to perdure dev, which then kills.
    if (interrupted.signal.aborted) void cleanup[0]?.();
    interrupted.abort();
  });
process.exit(await main());

function parse() {
  try {
    return parseArgs({
      options: {
        packages: { type: 'string', default: resolve(import.meta.dirname, '../../node_modules') },
        json: { type: 'boolean', default: false },
        keep: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    process.stderr.write(`audit: ${(error as Error).message}\n`);
    process.exit(2);
  }
}

async function main(): Promise<number> {
  if (flags.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const { signal } = interrupted;
  const teller = new Teller(flags.json ? process.stderr : process.stdout);
  const data = mkdtempSync(join(tmpdir(), 'perdure-audit-'));
  // Under root, Postgres runs as another user, who must be able to enter.
  chmodSync(data, 0o755);
  try {
    const root = resolve(flags.packages);
    const report = await Promise.race([
      demo({ root, data, teller, signal, cleanup }),
      once(signal, 'abort').then(() => undefined),
    ]);
    if (report === undefined) return 130;
    process.stdout.write(flags.json ? `${JSON.stringify(report)}\n` : table(report));
    // The data is about to be removed, and with it what the nodes had to say.
    if (!report.ok) process.stderr.write(`perdure dev said:\n${logTail(data)}\n`);
    return report.ok ? 0 : 1;
  } catch (error) {
    if (signal.aborted) return 130;
    process.stderr.write(`audit: ${error instanceof Error ? error.message : error}\n`);
    return 1;
  } finally {
    for (const undo of cleanup.toReversed()) await undo().catch(() => {});
    if (flags.keep) teller.say(`data is kept in ${data}`);
    else rmSync(data, { recursive: true, force: true, maxRetries: 3 });
  }
}
