import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../support/cluster.ts';
import { BUSY, GIVEN_UP_MS, type Measure, measure } from './measures.ts';
import { job } from './reportActors.ts';
import type { RunningNode, Stage } from './stage.ts';

/** Faults of nodes and of their lines. */

const JOBS = 50;
const JOB_MS = 1_000;

const kill = measure({
  name: 'kill',
  rows: {
    moved: {
      title: 'kill -9 of a node: its busy actors make a transition elsewhere',
      ...{ unit: 'ms', bound: 5_000, aim: '≤ 2000 p99' },
    },
  },
  stage: { nodes: 2, proxied: false, tickers: BUSY },
  cluster: false,
  async round(stage) {
    const victim = await stage.busiest();
    const { nodeId } = victim;
    const marks = await stage.marks(nodeId);
    const at = Date.now();
    await victim.stop('SIGKILL');
    const moved = await stage.next(marks, at, GIVEN_UP_MS, nodeId);
    await victim.start();
    return { moved };
  },
});

const user = measure({
  name: 'user',
  rows: {
    rest: {
      title: `${JOBS} one-second jobs on two nodes, one killed: from the kill until all are done`,
      ...{ unit: 'ms', bound: 3_000, aim: '≤ 1700' },
    },
  },
  stage: { nodes: 2, proxied: false, tickers: { beats: 0, works: 0, pairs: 0 } },
  cluster: false,
  async round(stage, round) {
    const { world, client } = stage;
    const ids = Array.from({ length: JOBS }, (_, n) => `r${round}-${n}`);
    await Promise.all(ids.map((id) => client.start(job, { id, input: { ms: JOB_MS } })));
    await pause(JOB_MS / 2);
    const victim = await stage.busiest();
    const at = Date.now();
    await victim.stop('SIGKILL');
    const ended = async () => {
      const [row] = await world.sql.query<{ n: number; last: number }>(
        `SELECT count(*)::int AS n, (extract(epoch FROM max(updated_at)) * 1000)::float8 AS last
           FROM actor WHERE type = 'job' AND id = ANY($1) AND status = 'done'`,
        [ids],
      );
      return row?.n === JOBS && row.last;
    };
    const last = await until('all jobs are done', ended, GIVEN_UP_MS).catch(() => at + GIVEN_UP_MS);
    await victim.start();
    return { rest: [Math.round(Number(last) - at)] };
  },
});

type Trouble = (stage: Stage, victim: RunningNode) => Promise<unknown>;

/** A node that is alive and cannot work: its actors move, and it comes back by itself. */
function cutOff(name: string, what: string, begin: Trouble, end: Trouble): Measure {
  return measure({
    name,
    rows: {
      moved: {
        title: `${what}: its actors make a transition elsewhere`,
        ...{ unit: 'ms', bound: 15_000, aim: '≤ 10000' },
      },
    },
    stage: { nodes: 2, proxied: true, tickers: BUSY },
    cluster: false,
    async round(stage) {
      const victim = await stage.busiest();
      const { nodeId } = victim;
      const marks = await stage.marks(nodeId);
      const at = Date.now();
      await begin(stage, victim);
      const moved = await stage.next(marks, at, GIVEN_UP_MS, nodeId);
      await end(stage, victim);
      return { moved };
    },
  });
}

const lineCut = (what: 'nats' | 'postgres' | 'both', words: string) =>
  cutOff(
    `cut-${what}`,
    `a node cut off from ${words}`,
    ({ world }, victim) => world.line(victim).cut(what),
    ({ world }, victim) => world.line(victim).heal(),
  );

const drain = measure({
  name: 'drain',
  rows: {
    pause: {
      title: 'SIGTERM of one of two nodes: longest pause of each actor',
      ...{ unit: 'ms', bound: 2_000, aim: '≤ 500' },
    },
  },
  stage: { nodes: 2, proxied: false, tickers: BUSY },
  cluster: false,
  async round(stage) {
    const leaving = await stage.busiest();
    const marks = await stage.marks();
    await leaving.stop('SIGTERM');
    await stage.ticks(GIVEN_UP_MS);
    const pauses = await stage.pauses(marks);
    await leaving.start();
    return { pause: pauses };
  },
});

const rolling = measure({
  name: 'rolling',
  rows: {
    pause: {
      title: 'rolling restart of three nodes: longest pause of each actor',
      ...{ unit: 'ms', bound: 2_000, aim: '≤ 500' },
    },
  },
  stage: { nodes: 3, proxied: false, tickers: BUSY },
  cluster: false,
  async round(stage) {
    const marks = await stage.marks();
    for (const node of stage.world.nodes) {
      await node.stop('SIGTERM');
      await node.start();
    }
    await stage.settle();
    return { pause: await stage.pauses(marks) };
  },
});

const join = measure({
  name: 'join',
  rows: {
    fair: {
      title: 'a third node joins two loaded ones: until each has its fair share',
      ...{ unit: 'ms', bound: 10_000 },
    },
    pause: {
      title: 'meanwhile: longest pause of each actor',
      ...{ unit: 'ms', bound: 1_000 },
    },
  },
  stage: { nodes: 3, startedNodes: 2, proxied: false, tickers: BUSY },
  cluster: false,
  async round(stage) {
    const third = stage.world.nodes[2];
    if (!third) throw new Error('the stage has three nodes');
    const marks = await stage.marks();
    const at = Date.now();
    await third.start();
    const fair = await until('fair shares', () => stage.isFair(), GIVEN_UP_MS).then(
      () => Date.now() - at,
      () => GIVEN_UP_MS,
    );
    await stage.ticks(GIVEN_UP_MS);
    const pauses = await stage.pauses(marks);
    await third.stop('SIGTERM');
    return { fair: [fair], pause: pauses };
  },
});

export const NODE_MEASURES: readonly Measure[] = [
  kill,
  user,
  cutOff(
    'stop',
    'SIGSTOP of a node',
    async (_, victim) => victim.signal('SIGSTOP'),
    async (_, victim) => victim.signal('SIGCONT'),
  ),
  lineCut('nats', 'NATS'),
  lineCut('postgres', 'Postgres'),
  lineCut('both', 'NATS and Postgres'),
  drain,
  rolling,
  join,
];
