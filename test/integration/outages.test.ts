import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createClient, type PerdureClient } from '../../src/client.ts';
import { PerdureError } from '../../src/errors.ts';
import { PURSE_START, purse, type TransferInput, transfer } from '../support/actorsCrash.ts';
import { capture } from '../support/actorsJournal.ts';
import {
  Journal,
  type NodeProcess,
  openSql,
  type Place,
  pause,
  prepare,
  randomFrom,
  readOutcomes,
  spawnNode,
} from '../support/cluster.ts';
import { checkHistory, type JournalLine } from '../support/history.ts';
import {
  eventually,
  freshNamespace,
  type OwnServer,
  seed,
  startOwnServices,
} from '../support/services.ts';

// Servers go away and come back under load, and nobody lifts a finger (G7, G8).

/** Full work again this long after a server's return, ms. */
const RESUME_MS = 10_000;
const EVERY_MS = 30;

let services: Awaited<ReturnType<typeof startOwnServices>>;
let place: Place;
let dir: string;
let node: NodeProcess;
let client: PerdureClient;
let loading = true;
let load: Promise<void>;
const random = randomFrom(seed());
const accepted: string[] = [];
const pending: Promise<void>[] = [];

const jobInput = (n: number): TransferInput => ({
  from: `p${n % 4}`,
  to: `p${(n + 1) % 4}`,
  amount: 1 + Math.floor(random() * 50),
  chargeMs: Math.floor(random() * 40),
  waitMs: 20 + Math.floor(random() * 500),
  shipMs: Math.floor(random() * 40),
  failures: 0,
});

/** Asks again with the same message id until it is accepted, as the error's `retryable` says. */
async function start(id: string, input: TransferInput): Promise<void> {
  for (;;)
    try {
      await client.start(transfer, { id, input, messageId: `start-${id}`, timeoutMs: 2_000 });
      accepted.push(id);
      return;
    } catch (error) {
      if (!(error instanceof PerdureError && error.retryable)) throw error;
      await pause(20);
    }
}

beforeAll(async () => {
  services = await startOwnServices();
  dir = mkdtempSync(join(tmpdir(), 'perdure-outage-'));
  place = {
    databaseUrl: services.postgres.url,
    natsUrl: services.nats.url,
    namespace: freshNamespace(),
  };
  await prepare(place);
  node = spawnNode({
    ...place,
    file: join(import.meta.dirname, '../support/actorsCrash.ts'),
    env: { PERDURE_TEST_DIR: dir },
  });
  await node.ready;
  client = createClient(place);
  for (let n = 0; n < 4; n++) await client.start(purse, { id: `p${n}`, until: 'committed' });
  load = (async () => {
    for (let n = 0; loading; n++) {
      pending.push(start(`t${n}`, jobInput(n)));
      await pause(EVERY_MS);
    }
  })();
});

afterAll(async () => {
  loading = false;
  await node?.kill();
  await client?.close();
  await services?.stop();
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
});

async function count(where: string): Promise<number> {
  const sql = await openSql(place);
  try {
    const [row] = await sql.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${where}`);
    return row?.n ?? 0;
  } finally {
    await sql.close();
  }
}

let probes = 0;

/** Takes servers away, brings them back, and expects work to go on by itself. */
async function outage(
  servers: [OwnServer, 'SIGINT' | 'SIGQUIT' | 'SIGTERM' | 'SIGKILL'][],
  awayMs: number,
) {
  const before = await count(`actor WHERE type = 'transfer' AND status = 'done'`);
  await eventually(
    async () => (await count(`actor WHERE type = 'transfer' AND status = 'done'`)) > before + 10,
    { what: 'work before the outage' },
  );
  await Promise.all(servers.map(([server, signal]) => server.stop(signal)));
  await pause(awayMs);
  await Promise.all(servers.map(([server]) => server.start()));
  const backAt = performance.now();
  // A job that is asked for now goes all the way through, with its messages, timers and results.
  const id = `probe${++probes}`;
  await start(id, { ...jobInput(probes), waitMs: 1, chargeMs: 0, shipMs: 0 });
  await eventually(
    async () => (await count(`actor WHERE id = '${id}' AND status = 'done'`)) === 1,
    {
      what: `a whole job after ${servers.map(([, signal]) => signal).join(', ')}`,
      timeoutMs: RESUME_MS,
    },
  );
  expect(performance.now() - backAt).toBeLessThan(RESUME_MS);
  expect(node.process.exitCode).toBe(null);
}

test('a fast restart of Postgres', () => outage([[services.postgres, 'SIGINT']], 0));
test('a crash of Postgres', () => outage([[services.postgres, 'SIGQUIT']], 1_000));
test('a graceful restart of nats-server', () => outage([[services.nats, 'SIGTERM']], 0));
test('a kill -9 of nats-server', () => outage([[services.nats, 'SIGKILL']], 1_000));
test('both servers at once', () =>
  outage(
    [
      [services.postgres, 'SIGQUIT'],
      [services.nats, 'SIGKILL'],
    ],
    500,
  ));

test('jobs are accepted while Postgres is away', async () => {
  await services.postgres.stop('SIGINT');
  const before = accepted.length;
  await eventually(() => accepted.length > before + 20, { what: 'jobs accepted by NATS alone' });
  await services.postgres.start();
});

test('running actors go on while NATS is away', async () => {
  const sql = await openSql(place);
  try {
    // Their timers come due when NATS is long gone, however slow this machine is at stopping it.
    const ids = Array.from({ length: 5 }, (_, n) => `cool${n}`);
    await Promise.all(ids.map((id, n) => start(id, { ...jobInput(n), waitMs: 3_000 })));
    const cooling = `actor WHERE id LIKE 'cool%' AND state = '"cooling"'`;
    await eventually(async () => (await count(cooling)) === ids.length, { what: 'they wait' });
    await services.nats.stop('SIGTERM');
    const [before] = await sql.query<{ n: number }>(`SELECT count(*)::int AS n FROM transition`);
    // Results and timers of what runs are committed; nothing of it needs NATS.
    await eventually(
      async () => {
        const [now] = await sql.query<{ n: number }>(
          `SELECT count(*)::int AS n FROM transition WHERE origin IN ('invoke', 'timer')`,
        );
        const [all] = await sql.query<{ n: number }>(`SELECT count(*)::int AS n FROM transition`);
        return (now?.n ?? 0) > 0 && (all?.n ?? 0) >= (before?.n ?? 0) + 5;
      },
      { what: 'transitions without NATS' },
    );
  } finally {
    await services.nats.start();
    await sql.close();
  }
});

test('in the end nothing is lost, nothing is there twice, and everything has been told', async () => {
  loading = false;
  await load;
  await Promise.all(pending);
  const jobs = accepted.length;
  await eventually(
    async () => (await count(`actor WHERE type = 'transfer' AND status <> 'active'`)) === jobs,
    { what: `${jobs} jobs are done`, timeoutMs: 25_000 },
  );
  await eventually(
    async () =>
      (await count('outbox')) + (await count('actor WHERE busy OR acted_seq <> seq')) === 0,
    { what: 'rest', timeoutMs: 25_000 },
  );
  const { violations, transitions } = await checkHistory({
    ...place,
    types: [transfer, purse],
    quiescent: true,
    expected: {
      jobs: accepted.map((id) => ({ type: 'transfer', id })),
      events: accepted.map((id) => ({ type: 'transfer', id, eventId: `start-${id}` })),
    },
    journal: new Journal<JournalLine>(join(dir, 'journal.jsonl')).read(),
    capture,
    outcomes: await readOutcomes(place),
  });
  expect(violations).toEqual([]);
  expect(transitions).toBeGreaterThan(jobs * 7);
  const sql = await openSql(place);
  const purses = await sql.query<{ snapshot: string }>(
    `SELECT snapshot FROM current_actor JOIN transition USING (type, id, seq) WHERE type = 'purse'`,
  );
  await sql.close();
  const balances = purses.map(({ snapshot }) => JSON.parse(snapshot).snapshot.context.balance);
  expect(balances.reduce((sum, balance) => sum + balance, 0)).toBe(4 * PURSE_START);
}, 90_000);
