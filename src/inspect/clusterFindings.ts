import type { DeadLetterRow, NodeRow, ShardRow } from '../store/read.ts';
import { VERSION } from '../version.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

/** What Postgres has on record of the nodes and their shards. */
export interface ClusterFacts {
  nodes: NodeRow[];
  shards: ShardRow[];
  /** Dead letters that wait; at most as many as were asked for. */
  deadLetters: DeadLetterRow[];
}

/** What a second look after this long still finds is no takeover on its way, ms. */
export const SETTLED_MS = 3_000;
/** More than nodes take in within a few seconds. */
const LAG_MAX = 10_000;

/** Judges the nodes of a namespace. Pure. */
export function clusterFindings(facts: ClusterFacts): Finding[] {
  return [nodes(facts), ...versions(facts), shards(facts), deadLetters(facts)];
}

const live = ({ nodes }: ClusterFacts) => nodes.filter((node) => node.live);

/** Shards nobody alive owns. */
export function orphans(facts: ClusterFacts): number[] {
  const owners = new Set(live(facts).map((node) => node.node_id));
  return facts.shards
    .filter(({ owner }) => owner === null || !owners.has(owner))
    .map(({ shard }) => shard);
}

function nodes(facts: ClusterFacts): Finding {
  const running = live(facts);
  if (running.length === 0)
    return warn('nodes', 'none runs: jobs are kept and wait', 'Start one: perdure serve FILE.');
  const names = running.map(({ name, shards }) => `${name} (${shards} shards)`).join(', ');
  return ok('nodes', `${running.length} live: ${names}`);
}

function versions(facts: ClusterFacts): Finding[] {
  const found = [...new Set(live(facts).map((node) => node.version))].sort();
  if (found.length === 0 || (found.length === 1 && found[0] === VERSION)) return [];
  return [
    warn(
      'node versions',
      `nodes run perdure ${found.join(' and ')}; this is ${VERSION}`,
      'Fine during a rolling deploy; finish it.',
    ),
  ];
}

function shards(facts: ClusterFacts): Finding {
  const free = orphans(facts);
  const { length: all } = facts.shards;
  if (free.length === 0) return ok('shards', `all ${all} owned`);
  const named = free.length > 8 ? `${free.slice(0, 8).join(', ')}, …` : free.join(', ');
  if (live(facts).length === 0)
    return warn('shards', `all ${all} without owner`, 'A node takes them when it starts.');
  return fail(
    'shards',
    `${free.length} of ${all} without a live owner for over ${SETTLED_MS / 1_000} s: ${named}`,
    'Live nodes take such shards within seconds: look for warnings in their logs, restart them one by one.',
  );
}

function deadLetters({ deadLetters }: ClusterFacts): Finding {
  if (deadLetters.length === 0) return ok('dead letters', 'none waits');
  const counts = new Map<string, number>();
  for (const { reason } of deadLetters) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const reasons = [...counts].sort(([, a], [, b]) => b - a).map(([name, n]) => `${n} ${name}`);
  return warn(
    'dead letters',
    `${deadLetters.length} wait: ${reasons.join(', ')}`,
    'perdure dead ls says why; perdure dead redrive publishes them again once the cause is gone.',
  );
}

/** How far nodes are behind the log. `consumers` is 0 when nobody reads. Pure. */
export function lagFinding(waiting: number, consumers: number): Finding {
  const check = 'log lag';
  if (consumers === 0) return ok(check, 'nobody reads the log now; see nodes');
  if (waiting <= LAG_MAX) return ok(check, `${waiting} messages not applied yet`);
  return warn(
    check,
    `${waiting} messages not applied yet`,
    'If it grows, add nodes (perdure serve) or look for slow commits in Postgres.',
  );
}
