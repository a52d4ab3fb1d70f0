import { styleText } from 'node:util';
import type { Command } from 'commander';
import { openConnection } from '../bus/connection.ts';
import { sleep, systemClock } from '../clock.ts';
import { type Namespace, namespace } from '../config.ts';
import { readDevFile } from '../dev/devFile.ts';
import { asError, PerdureError } from '../errors.ts';
import {
  type ClusterFacts,
  clusterFindings,
  LATE_COUNTED,
  lagFinding,
  orphans,
  SETTLED_MS,
} from '../inspect/clusterFindings.ts';
import { type Finding, fail, ok } from '../inspect/finding.ts';
import { LATE_MS } from '../inspect/lateOutbox.ts';
import { readNatsFacts } from '../inspect/natsFacts.ts';
import { natsFindings } from '../inspect/natsFindings.ts';
import { readPostgresFacts } from '../inspect/postgresFacts.ts';
import { postgresFindings } from '../inspect/postgresFindings.ts';
import { readSyncFacts, syncFinding } from '../inspect/syncFindings.ts';
import { withoutSecrets } from '../log.ts';
import type { ReadStore } from '../store/read.ts';
import { VERSION } from '../version.ts';
import { type ConnectionFlags, connectionOptions, REACH_MS } from './connection.ts';
import { endpointIfAny } from './endpoints.ts';
import { rememberWarnings } from './lastWarning.ts';
import { withReadStore, withSession } from './session.ts';
import { printJson, visible } from './table.ts';

interface Flags extends ConnectionFlags {
  monitor?: string;
  json?: true;
}

const QUARANTINED_COUNTED = 10_000;
/** Pause before shards without owner are looked at again, ms. */
const LOOK_AGAIN_MS = 500;
const NODE_MIN = 22;

/** `perdure doctor`. */
export function register(program: Command): void {
  connectionOptions(program.command('doctor'))
    .description('Check Postgres, NATS and the nodes, and say what to do.')
    .option('--monitor <url>', "address of nats-server's monitor, http://127.0.0.1:8222")
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  $ perdure doctor
  $ perdure doctor --monitor http://127.0.0.1:8222 --json | jq '.findings[] | select(.level != "ok")'

It changes nothing. Exits with 1 when something fails, with 0 when there are only warnings.`,
    )
    .action(doctor);
}

async function doctor(flags: Flags): Promise<void> {
  const [postgres, nats, sync] = await Promise.all([
    checkPostgres(flags),
    checkNats(flags),
    checkSync(flags),
  ]);
  const findings = [runtime(), ...postgres, ...nats, sync];
  const failed = findings.some((finding) => finding.level === 'fail');
  if (failed) process.exitCode = 1;
  if (flags.json) return printJson({ ok: !failed, findings });
  for (const finding of findings) print(finding);
}

function runtime(): Finding {
  const found = `perdure ${VERSION} on Node ${process.version}`;
  if (Number.parseInt(process.versions.node, 10) >= NODE_MIN) return ok('runtime', found);
  return fail('runtime', found, `Use Node ${NODE_MIN} or newer.`);
}

async function checkPostgres(flags: Flags): Promise<Finding[]> {
  const { url, namespace: name } = endpointIfAny('database', flags);
  if (url === undefined) return [unknownUrl('postgres', 'PERDURE_DATABASE_URL or --database')];
  const space = namespace(name);
  try {
    const target = { url, schema: space.schema, reachMs: REACH_MS };
    const facts = await withSession(target, (client) => readPostgresFacts(client, space));
    const reached = ok('postgres', `${withoutSecrets(url)} answers`);
    const cluster = 'version' in facts.schema ? await checkCluster(flags) : [];
    return [reached, ...postgresFindings(facts), ...cluster];
  } catch (thrown) {
    return [unreachable('postgres', thrown)];
  }
}

async function checkCluster(flags: Flags): Promise<Finding[]> {
  return withReadStore(flags, async (store) => {
    let facts = await readCluster(store);
    // A takeover or a deploy may be under way: only what lasts is worth a word.
    const until = performance.now() + SETTLED_MS;
    while (
      orphans(facts).length > 0 &&
      facts.nodes.some((node) => node.live) &&
      performance.now() < until
    ) {
      await sleep(systemClock, LOOK_AGAIN_MS);
      facts = await readCluster(store);
    }
    return clusterFindings(facts);
  });
}

async function readCluster(store: ReadStore): Promise<ClusterFacts> {
  const [nodes, shards, deadLetters, quarantined, parked, late] = await Promise.all([
    store.nodes(),
    store.shards(),
    store.deadLetterReasons({ pending: true }),
    store.quarantined({ limit: QUARANTINED_COUNTED }),
    store.parked(),
    store.lateOutbox({ olderThanMs: LATE_MS, limit: LATE_COUNTED }),
  ]);
  return { nodes, shards, deadLetters, quarantined, parked, late };
}

async function checkNats(flags: Flags): Promise<Finding[]> {
  const { url, namespace: name } = endpointIfAny('nats', flags);
  if (url === undefined) return [unknownUrl('nats', 'PERDURE_NATS_URL or --nats')];
  const heard = rememberWarnings();
  try {
    const connection = await openConnection({
      natsUrl: url,
      name: 'perdure doctor',
      clock: systemClock,
      log: heard.log,
      signal: AbortSignal.timeout(REACH_MS),
    });
    try {
      return [
        ok('nats', `${withoutSecrets(url)} answers`),
        ...(await askNats(connection, namespace(name), heard)),
      ];
    } finally {
      await connection.close();
    }
  } catch (thrown) {
    return [unreachable('nats', thrown, heard.reason())];
  }
}

async function askNats(
  connection: Awaited<ReturnType<typeof openConnection>>,
  space: Namespace,
  heard: ReturnType<typeof rememberWarnings>,
): Promise<Finding[]> {
  const facts = await readNatsFacts(connection, space, heard.log, heard.reason);
  const lag = facts.jobs === undefined ? [] : [lagFinding(facts.waiting, facts.consumers)];
  return [...natsFindings(facts, space), ...lag];
}

async function checkSync(flags: Flags): Promise<Finding> {
  // What runs here is no news of a server somewhere else.
  const elsewhere = flags.nats ?? process.env.PERDURE_NATS_URL;
  const dev = elsewhere ? undefined : readDevFile(flags.data);
  const monitor = flags.monitor ?? dev?.monitorUrl;
  if (monitor === undefined) return syncFinding(undefined);
  return syncFinding(
    await readSyncFacts(monitor).catch((thrown) => ({
      trouble: `${withoutSecrets(monitor)}: ${asError(thrown).message}`,
    })),
  );
}

const unknownUrl = (check: string, where: string) =>
  fail(check, 'nothing says where it is', `Set ${where}, or run perdure dev here.`);

function unreachable(check: string, thrown: unknown, reason?: string): Finding {
  const error = asError(thrown);
  const because = reason === undefined ? '' : ` (${reason})`;
  return fail(
    check,
    `${error.message}${because}`,
    error instanceof PerdureError && error.code === 'wrong_credentials'
      ? 'Correct user, password or database in the URL.'
      : 'Check that the server runs, the URL, and the network in between.',
  );
}

const STYLES = { ok: 'green', warn: 'yellow', fail: 'red' } as const;

function print({ level, check, found, advice }: Finding): void {
  const colour = process.stdout.isTTY && !process.env.NO_COLOR;
  const word = level.padEnd(4);
  const shown = colour ? styleText(STYLES[level], word) : word;
  process.stdout.write(`${shown}  ${check}: ${visible(found)}\n`);
  if (advice !== undefined) process.stdout.write(`      ${advice}\n`);
}
