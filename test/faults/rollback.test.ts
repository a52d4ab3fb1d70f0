import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { namespace } from '../../src/config.ts';
import { type RunningNats, startNats } from '../../src/dev/natsServer.ts';
import { type RunningPostgres, startPostgres } from '../../src/dev/postgres.ts';
import { counter, tick } from '../support/actorsCluster.ts';
import { PURSE_START, purse, type TransferInput, transfer } from '../support/actorsCrash.ts';
import { randomFrom } from '../support/cluster.ts';
import { openStage, type Stage, type StageNode, startTicks } from '../support/clusterStage.ts';
import { eventually, seed } from '../support/services.ts';

// A store is put back to an earlier state, or loses what it held, while nodes run: the other one makes good for it.

const PURSES = 6;

let dir: string;
let postgres: RunningPostgres;
let nats: RunningNats;
let stage: Stage;
let random: () => number;

beforeEach(async () => {
  random = randomFrom(seed());
  accepted = [];
  dir = mkdtempSync(join(tmpdir(), 'perdure-rollback-'));
  // Postgres may run as another user, who must be able to enter.
  chmodSync(dir, 0o755);
  [postgres, nats] = await Promise.all([
    startPostgres({ dir: join(dir, 'postgres') }),
    startNats({ dir: join(dir, 'nats') }),
  ]);
});
/** Nodes with the actors of a file of test/support. */
async function open(actors: string): Promise<void> {
  stage = await openStage({
    databaseUrl: postgres.url,
    natsUrl: nats.url,
    file: join(import.meta.dirname, '../support', actors),
    limits: { outboxRepublishMs: 1_500 },
  });
}

afterEach(async () => {
  await stage?.close();
  await Promise.all([postgres?.stop('SIGKILL'), nats?.stop('SIGKILL')]);
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
});

async function startPurses(): Promise<void> {
  for (let n = 0; n < PURSES; n++)
    await stage.client.start(purse, { id: `p${n}`, until: 'committed' });
}

let accepted: string[] = [];

async function startTransfer(id: string): Promise<void> {
  const from = Math.floor(random() * PURSES);
  const input: TransferInput = {
    from: `p${from}`,
    to: `p${(from + 1 + Math.floor(random() * (PURSES - 1))) % PURSES}`,
    amount: 1 + Math.floor(random() * 50),
    chargeMs: Math.floor(random() * 40),
    waitMs: 20 + Math.floor(random() * 300),
    shipMs: Math.floor(random() * 40),
    failures: 0,
  };
  await stage.client.start(transfer, { id, input, messageId: `start-${id}`, timeoutMs: 30_000 });
  accepted.push(id);
}

/** Every transfer that was accepted ends, no money is made or lost, and the histories are sound. */
async function allIsWell(): Promise<void> {
  await eventually(
    async () => {
      const rows = await stage.query<{ id: string; state: string; status: string }>(
        `SELECT id, a.state, a.status FROM unnest($1::text[]) AS w (id)
           LEFT JOIN actor a USING (id) WHERE a.status IS DISTINCT FROM 'done'`,
        [accepted],
      );
      const told = rows.slice(0, 5).map(({ id, state }) => `${id} ${state}`);
      return rows.length === 0 || Promise.reject(new Error(`${rows.length}: ${told}`));
    },
    { what: 'every transfer ends', timeoutMs: 60_000 },
  );
  const purses = await stage.query<{ snapshot: string }>(
    `SELECT snapshot FROM current_actor JOIN transition USING (type, id, seq) WHERE type = 'purse'`,
  );
  const balances = purses.map(({ snapshot }) => JSON.parse(snapshot).snapshot.context.balance);
  expect(balances.reduce((sum, balance) => sum + balance, 0)).toBe(PURSES * PURSE_START);
  const expected = {
    jobs: accepted.map((id) => ({ type: 'transfer', id })),
    events: accepted.map((id) => ({ type: 'transfer', id, eventId: `start-${id}` })),
  };
  expect(await stage.judge([transfer, purse], { expected })).toEqual([]);
}

const copy = (from: string, to: string) => {
  rmSync(to, { recursive: true, force: true });
  execFileSync('cp', ['-a', from, to]);
};

async function restartPostgres(meanwhile: () => void): Promise<void> {
  await postgres.stop('SIGINT');
  meanwhile();
  postgres = await startPostgres({ dir: join(dir, 'postgres'), port: postgres.port });
}

const COUNTERS = 20;

test('Postgres is put back to an earlier state, and the log is read again from there', async () => {
  const data = join(dir, 'postgres', 'data');
  const kept = join(dir, 'kept');
  await open('actorsCluster.ts');
  await stage.start('n1');
  await stage.start('n2');
  await stage.shared([32, 32]);
  await startTicks(stage, 12, tick);
  for (let n = 0; n < COUNTERS; n++) await stage.client.start(counter, { id: `c${n}` });
  const events: { type: string; id: string; eventId: string }[] = [];
  const add = async (count: number) => {
    for (let n = 0; n < count; n++) {
      const event = { type: 'counter', id: `c${n % COUNTERS}`, eventId: `e${events.length}` };
      events.push(event);
      await stage.client.send(counter, event.id, { type: 'ADD' }, { messageId: event.eventId });
    }
  };
  await add(100);
  await restartPostgres(() => copy(data, kept));
  // A node, hand-overs, epochs, actors and hundreds of commits that Postgres will know nothing of.
  await stage.start('n3');
  await stage.shared([20, 22, 22]);
  await add(100);
  await stage.client.start(counter, { id: 'late', until: 'committed', timeoutMs: 20_000 });
  await stage.moving('tick');
  await restartPostgres(() => copy(kept, data));
  await add(100);
  await stage.moving('tick', 20_000);
  await stage.sharedFairly(3);
  await eventually(
    async () => {
      const rows = await stage.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM transition WHERE event_type = 'ADD'`,
      );
      return rows[0]?.n === events.length || Promise.reject(new Error(`${rows[0]?.n}`));
    },
    { what: 'every event is there', timeoutMs: 20_000 },
  );
  const expected = { events, jobs: [{ type: 'counter', id: 'late' }] };
  // The journal tells of work that Postgres has forgotten.
  expect(
    await stage.judge([tick, counter], { expected, ...({ journal: undefined } as object) }),
  ).toEqual([]);
}, 90_000);

/** The log's stream, by the hand of an operator. */
async function withLog<T>(
  act: (jsm: Awaited<ReturnType<typeof jetstreamManager>>, stream: string) => Promise<T>,
): Promise<T> {
  const nc = await connect({ servers: nats.url });
  try {
    return await act(await jetstreamManager(nc), namespace(stage.namespace).jobsStream);
  } finally {
    await nc.close();
  }
}

/** Two nodes, one of them frozen while messages to the purses it owns are on their way. */
async function openWithUnapplied(): Promise<StageNode> {
  await open('actorsCrash.ts');
  await stage.start('n1');
  const frozen = await stage.start('n2');
  await stage.shared([32, 32]);
  await startPurses();
  for (let n = 0; n < 60; n++) await startTransfer(`t${n}`);
  await eventually(
    async () => {
      const rows = await stage.query(`SELECT FROM actor WHERE type = 'transfer'`);
      return rows.length === accepted.length;
    },
    { what: 'every transfer is begun' },
  );
  for (let n = 0; n < 30; n++) await startTransfer(`u${n}`);
  await eventually(
    async () => (await stage.query(`SELECT FROM actor WHERE type = 'transfer'`)).length === 90,
    { what: 'every transfer is begun', everyMs: 1 },
  );
  frozen.process.kill('SIGSTOP');
  await eventually(
    async () => {
      const rows = await stage.query(
        `SELECT FROM outbox o JOIN actor a USING (type, id) JOIN shard s ON s.shard = a.shard
          WHERE o.kind = 'send' AND s.owner = $1`,
        [frozen.nodeId],
      );
      return rows.length > 0;
    },
    { what: 'messages are on their way', everyMs: 1 },
  );
  return frozen;
}

test('the log is deleted, and what was on its way is sent again', async () => {
  const frozen = await openWithUnapplied();
  await withLog((jsm, stream) => jsm.streams.delete(stream));
  frozen.process.kill('SIGCONT');
  await startTransfer('after');
  await allIsWell();
}, 90_000);

test('the log is emptied, and what was on its way is sent again', async () => {
  const frozen = await openWithUnapplied();
  await withLog((jsm, stream) => jsm.streams.purge(stream));
  frozen.process.kill('SIGCONT');
  await startTransfer('after');
  await allIsWell();
}, 90_000);
