import type { ReasonCount } from '../store/letters.ts';
import type { LateRow, NodeRow, ParkedRow, QuarantinedRow, ShardRow } from '../store/read.ts';
import { VERSION } from '../version.ts';
import { SUSPECT_CRASHES } from './clusterView.ts';
import { type Finding, fail, ok, warn } from './finding.ts';
import { LATE_MS, lateOutbox } from './lateOutbox.ts';

/** What Postgres has on record of the nodes and their shards. */
export interface ClusterFacts {
  nodes: NodeRow[];
  shards: ShardRow[];
  /** How many dead letters wait, by reason, the most frequent first. */
  deadLetters: ReasonCount[];
  /** At most as many as were asked for. */
  quarantined: QuarantinedRow[];
  parked: ParkedRow[];
  /** Older than `LATE_MS`, the oldest first; at most `LATE_COUNTED`. */
  late: LateRow[];
}

/** What lasts longer than this is no takeover on its way: after an outage nobody takes anything for a lease, ms. */
export const SETTLED_MS = 15_000;
/** Rows of the outbox that are asked for. */
export const LATE_COUNTED = 10_000;
/** Names in one line of findings. */
const NAMED_MAX = 8;
/** More than nodes take in within a few seconds. */
const LAG_MAX = 10_000;

/** Judges the nodes of a namespace. Pure. */
export function clusterFindings(facts: ClusterFacts): Finding[] {
  return [
    nodes(facts),
    ...nodesWithoutNats(facts),
    ...versions(facts),
    shards(facts),
    ...suspects(facts),
    quarantine(facts),
    parked(facts),
    deadLetters(facts),
    late(facts),
  ];
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

function nodesWithoutNats(facts: ClusterFacts): Finding[] {
  const running = live(facts);
  const without = running.filter(({ nats_ok }) => !nats_ok);
  if (without.length === 0) return [];
  const check = 'nodes on NATS';
  const found = `${without.length} of ${running.length} do not reach NATS: ${listed(without.map(({ name }) => name))}`;
  if (without.length === running.length)
    return [
      fail(
        check,
        found,
        'Nothing new is taken in. Check that NATS runs, its URL, and the network in between.',
      ),
    ];
  return [
    warn(
      check,
      found,
      'Their shards go to the others. Check the network between these nodes and NATS, and their credentials.',
    ),
  ];
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
  if (live(facts).length === 0)
    return warn('shards', `all ${all} without owner`, 'A node takes them when it starts.');
  return fail(
    'shards',
    `${free.length} of ${all} without a live owner for over ${SETTLED_MS / 1_000} s: ${listed(free)}`,
    'Live nodes take such shards within seconds: look for warnings in their logs, restart them one by one.',
  );
}

function suspects({ shards }: ClusterFacts): Finding[] {
  const found = shards.filter(
    ({ crashes, suspect_seq }) => suspect_seq !== null || crashes >= SUSPECT_CRASHES,
  );
  if (found.length === 0) return [];
  const words = found.map(
    ({ shard, crashes, suspect_seq }) =>
      `${shard} (${crashes} owners died${suspect_seq === null ? '' : `, message ${suspect_seq} of the log is tried alone`})`,
  );
  return [
    warn(
      'crashing shards',
      listed(words),
      'Something in these shards ends the nodes that own them: see how they ended (memory, a blocked thread). What does it is set aside by itself.',
    ),
  ];
}

function quarantine({ quarantined }: ClusterFacts): Finding {
  if (quarantined.length === 0) return ok('quarantine', 'nobody is in it');
  return warn(
    'quarantine',
    `${quarantined.length} in it: ${listed(quarantined.map(({ type, id }) => `${type}/${id}`))}`,
    'They kept killing nodes. Correct the machine, then perdure quarantine release TYPE ID; perdure quarantine ls has more.',
  );
}

/** What merely could not be opened everywhere needs nobody: only what waits is worth a word. */
function parked({ parked: rows }: ClusterFacts): Finding {
  const waiting = rows.filter(({ waiting, messages }) => waiting > 0 || messages > 0);
  if (waiting.length === 0) return ok('parked', 'nothing waits for a node that can open it');
  const words = waiting.map(
    ({ type, version, messages, since, waiting: actors, opened_by, nodes }) =>
      `${version === null ? type : `${type}@${version}`}, which ${opened_by} of ${nodes} nodes open (${messages} messages${since === null ? '' : ` since ${since}`}, ${actors} actors)`,
  );
  return warn(
    'parked',
    listed(words),
    'Start a node that knows what none opens. What some open goes on when they have its shards, within seconds.',
  );
}

function listed(names: readonly (string | number)[]): string {
  const more = names.length > NAMED_MAX ? ', …' : '';
  return `${names.slice(0, NAMED_MAX).join(', ')}${more}`;
}

function deadLetters({ deadLetters }: ClusterFacts): Finding {
  if (deadLetters.length === 0) return ok('dead letters', 'none waits');
  const all = deadLetters.reduce((sum, { count }) => sum + count, 0);
  const reasons = deadLetters.map(({ reason, count }) => `${count} ${reason}`);
  return warn(
    'dead letters',
    `${all} wait: ${reasons.join(', ')}`,
    'perdure dead ls says why; perdure dead redrive publishes them again once the cause is gone.',
  );
}

function late({ late: rows, nodes }: ClusterFacts): Finding {
  const { waiting, more, oldest } = lateOutbox(rows, LATE_COUNTED, nodes);
  if (oldest === null) return ok('outbox', `nothing waits for over ${LATE_MS / 1_000} s`);
  const { message_id, of, since, why } = oldest;
  return warn(
    'outbox',
    `${waiting}${more ? ' or more' : ''} messages or outcomes of actors have not arrived for over ${LATE_MS / 1_000} s; the oldest, ${message_id} (${of}), since ${since}: ${why}`,
    'Look for "outbox: not published yet" in the logs of the nodes, and at perdure shards: nodes that are far behind take them late. A node that holds 16,000 takes nothing new.',
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
