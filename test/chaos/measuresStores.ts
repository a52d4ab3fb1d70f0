import { setTimeout as pause } from 'node:timers/promises';
import type { Mark } from './marks.ts';
import { ALL, GIVEN_UP_MS, type Measure, measure } from './measures.ts';
import { job } from './reportActors.ts';
import type { Server } from './servers.ts';
import type { Stage } from './stage.ts';
import { logLeader, type World } from './world.ts';

/** Faults of the servers. */

/** Does the fault; resolves with the moment from which on everything should come back, ms since 1970. */
type Fault = (world: World) => Promise<number>;

function returns(name: string, title: string, fault: Fault): Measure {
  return measure({
    name,
    rows: { back: { title, unit: 'ms', bound: 10_000, aim: '≤ 5000' } },
    stage: { nodes: 2, proxied: false, tickers: ALL },
    cluster: true,
    async round(stage) {
      const marks = await stage.marks();
      const backAt = await fault(stage.world);
      return { back: await stage.next(marks, backAt, GIVEN_UP_MS) };
    },
  });
}

/** Down and up at once; resolves with the time all of them serve. */
async function restart(servers: readonly Server[], signal: 'SIGINT' | 'SIGQUIT' | 'SIGKILL') {
  await Promise.all(servers.map((server) => server.stop(signal)));
  await Promise.all(servers.map((server) => server.start()));
  return Date.now();
}

export const STORE_MEASURES: readonly Measure[] = [
  returns(
    'postgres',
    'Postgres restarted (fast): from its return until every actor ticks',
    ({ servers }) => restart([servers.postgres], 'SIGINT'),
  ),
  returns(
    'postgres-crash',
    'Postgres crashed: from its return until every actor ticks',
    ({ servers }) => restart([servers.postgres], 'SIGKILL'),
  ),
  returns(
    'nats-leader',
    'leader of the log killed and restarted: from its return until every actor ticks',
    async (world) => {
      const leader = await logLeader(world);
      if (!leader) throw new Error('the log has no leader');
      return restart([leader], 'SIGKILL');
    },
  ),
  returns(
    'nats',
    'all nats-servers killed and restarted: from their return until every actor ticks',
    ({ servers }) => restart(servers.nats, 'SIGKILL'),
  ),
];

const WARM_UP_MS = 20_000;
/** Jobs a second while a store is away. */
const OUTAGE_RATE = 10;
const RATE_WINDOW_MS = 1_000;
/** The share of the usual transitions a second that counts as full speed. */
const FULL = 0.9;

function outage(
  name: string,
  title: string,
  lengthMs: number,
  of: (world: World) => readonly Server[],
  acceptedLeast: number,
): Measure {
  return measure({
    name,
    rows: {
      back: { title: `${title}: from its return until full speed`, unit: 'ms', bound: 10_000 },
      done: { title: '… until every job accepted meanwhile is done', unit: 'ms', bound: 60_000 },
      grown: { title: '… growth of the largest node', unit: 'MB', bound: 100 },
      accepted: { title: '… jobs accepted meanwhile', unit: 'jobs', bound: acceptedLeast },
    },
    stage: { nodes: 2, proxied: false, tickers: ALL },
    cluster: true,
    async round(stage, round) {
      const { world } = stage;
      // What the nodes grow by while they are young is not the outage's fault.
      await pause(WARM_UP_MS);
      const usual = await speed(stage, Date.now() - 5_000, 5_000);
      const marks = await stage.marks();
      const before = world.nodes.map((node) => node.memory());
      const servers = of(world);
      await Promise.all(servers.map((server) => server.stop('SIGKILL')));
      const publishing = publish(stage, round, lengthMs);
      await pause(lengthMs);
      const grown = world.nodes.map((node, n) => (node.memory() - (before[n] ?? 0)) / 1e6);
      await Promise.all(servers.map((server) => server.start()));
      const backAt = Date.now();
      const { ids, meanwhile } = await publishing;
      const back = await fullSpeed(stage, marks, backAt, usual);
      const done = await finished(stage, ids, backAt);
      return { back: [back], done: [done], grown: [Math.max(...grown)], accepted: [meanwhile] };
    },
  });
}

/** Tries a job at a steady rate for a while; resolves with those accepted, and how many were before the time was over. */
async function publish({ client }: Stage, round: number, lengthMs: number) {
  const ids: string[] = [];
  let meanwhile = 0;
  let over = false;
  const tries: Promise<void>[] = [];
  for (let n = 0; n < (lengthMs / 1_000) * OUTAGE_RATE; n++) {
    const id = `o${round}-${n}`;
    tries.push(
      client.start(job, { id, input: { ms: 0 }, timeoutMs: 5_000 }).then(
        () => {
          ids.push(id);
          if (!over) meanwhile++;
        },
        () => {},
      ),
    );
    await pause(1_000 / OUTAGE_RATE);
  }
  over = true;
  await Promise.all(tries);
  return { ids, meanwhile };
}

/** Transitions a second of the actors that tick. */
async function speed({ world }: Stage, fromMs: number, forMs: number): Promise<number> {
  const [row] = await world.sql.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM transition
      WHERE type <> 'job' AND at >= to_timestamp($1::float8 / 1000) AND at < to_timestamp($2::float8 / 1000)`,
    [fromMs, fromMs + forMs],
  );
  return ((row?.n ?? 0) * 1_000) / forMs;
}

/** From `backAt` until every actor has ticked and a whole second has been as fast as usual, ms. */
async function fullSpeed(stage: Stage, marks: readonly Mark[], backAt: number, usual: number) {
  const ticked = Math.max(...(await stage.next(marks, backAt, GIVEN_UP_MS)));
  for (let fromMs = backAt; fromMs < backAt + GIVEN_UP_MS; fromMs += RATE_WINDOW_MS / 2) {
    const endMs = fromMs + RATE_WINDOW_MS;
    if (endMs > Date.now()) await pause(endMs - Date.now());
    if ((await speed(stage, fromMs, RATE_WINDOW_MS)) >= FULL * usual)
      return Math.max(ticked, fromMs - backAt);
  }
  return GIVEN_UP_MS;
}

async function finished({ world }: Stage, ids: readonly string[], backAt: number): Promise<number> {
  const deadline = Date.now() + 90_000;
  while (Date.now() < deadline) {
    const [row] = await world.sql.query<{ n: number; last: number }>(
      `SELECT count(*)::int AS n, (extract(epoch FROM max(updated_at)) * 1000)::float8 AS last
         FROM actor WHERE type = 'job' AND id = ANY($1) AND status = 'done'`,
      [ids],
    );
    if (row?.n === ids.length) return Math.max(0, Math.round((row.last ?? 0) - backAt));
    await pause(200);
  }
  return Date.now() - backAt;
}

/** Outages of both stores and of each. Jobs must be accepted throughout the one of Postgres. */
export function outageMeasures(lengthMs: number): readonly Measure[] {
  const length = lengthMs >= 60_000 ? `${lengthMs / 60_000} min` : `${lengthMs / 1_000} s`;
  // The first and the last few may be under way.
  const all = Math.floor((lengthMs / 1_000) * OUTAGE_RATE * 0.98);
  return [
    outage(
      'outage-postgres',
      `${length} without Postgres`,
      lengthMs,
      (w) => [w.servers.postgres],
      all,
    ),
    outage('outage-nats', `${length} without NATS`, lengthMs, (w) => w.servers.nats, 0),
    outage(
      'outage-both',
      `${length} without either`,
      lengthMs,
      ({ servers }) => [servers.postgres, ...servers.nats],
      0,
    ),
  ];
}
