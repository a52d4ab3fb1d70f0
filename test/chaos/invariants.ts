import { fnv1a } from '../../src/bus/subjects.ts';
import { capture } from '../support/actorsJournal.ts';
import { type Place, pause } from '../support/cluster.ts';
import { type JournalLine, judgeHistory } from '../support/history.ts';
import { Complaints, invariantOf } from './judge/complaints.ts';
import { type ClusterFacts, type Facts, readCluster, readFacts } from './judge/facts.ts';
import { judgeMessages } from './judge/messages.ts';
import { judgeOutcomes } from './judge/outcomes.ts';
import { judgeProgress } from './judge/progress.ts';
import { judgeRuns } from './judge/runs.ts';
import { type Fault, Windows } from './judge/windows.ts';
import type { Accepted, Load } from './load/load.ts';

export type { Fault } from './judge/windows.ts';

export interface RunEvidence {
  load: Pick<Load, 'types' | 'programs'>;
  accepted: Accepted;
  /** Everything the nodes' actors wrote down. */
  journal: JournalLine[];
  faults: readonly Fault[];
  /** Everything accepted has come to its end, and nothing is under way. */
  quiescent: boolean;
}

export interface Judgement {
  /** One sentence each, beginning with the number and name of the invariant; empty when all is well. */
  violations: string[];
  table: Record<string, string | number>;
}

/** A fault may make work run again for so long after it was healed, ms. */
const RERUN_GRACE_MS = 20_000;
/** Everything must be going again so long after a fault was healed, ms. */
const RECOVERY_GRACE_MS = 30_000;
/** About so many transitions are folded from the start of their log; all are replayed one by one. */
const FOLDS_MAX = 50_000;
/** Time a healthy cluster gets to settle who owns what, ms. */
const CONVERGE_MS = 15_000;

/**
 * Judges a run by the invariants 1 to 15 over what the two stores, the publisher and the actors have recorded. Call it
 * while the nodes still run: convergence is about them.
 */
export async function judgeRun(options: RunEvidence & { place: Place }): Promise<Judgement> {
  const facts = await readFacts(options.place);
  if (options.quiescent) facts.cluster = await converged(options.place, facts.cluster);
  return judgeFacts(facts, options);
}

async function converged(place: Place, first: ClusterFacts): Promise<ClusterFacts> {
  const deadline = performance.now() + CONVERGE_MS;
  let seen = first;
  while (unsettled(seen).length > 0 && performance.now() < deadline) {
    await pause(500);
    seen = await readCluster(place);
  }
  return seen;
}

/** Pure. */
export function judgeFacts(facts: Facts, evidence: RunEvidence): Judgement {
  const { load, accepted, journal, quiescent } = evidence;
  const complaints = new Complaints();
  const history = judgeHistory(facts.history, {
    types: load.types,
    quiescent,
    expected: { jobs: accepted.jobs, events: accepted.events },
    journal,
    capture,
    outcomes: facts.outcomes,
    folds: (actor) => fnv1a(actor) % Math.ceil(facts.history.transitions.length / FOLDS_MAX) === 0,
  });
  // The journal was read before the history: without rest it lacks what ran in between.
  for (const sentence of history.violations)
    if (quiescent || !/has a result and never ran/.test(sentence))
      complaints.add(invariantOf(sentence), sentence);
  const sums = judgeOutcomes(facts.history, accepted, load.programs, quiescent, complaints);
  judgeMessages(facts, accepted, complaints);
  const reruns = new Windows(evidence.faults, RERUN_GRACE_MS);
  const runs = judgeRuns(journal, load.programs, reruns, complaints);
  const recovery = new Windows(evidence.faults, RECOVERY_GRACE_MS);
  const progress = judgeProgress(
    facts,
    history.fired,
    accepted,
    load.programs,
    recovery,
    complaints,
  );
  if (quiescent) for (const sentence of unsettled(facts.cluster)) complaints.add(14, sentence);
  for (const { type, id } of facts.cluster.quarantined)
    complaints.add(15, `${type}/${id} is in quarantine, and there is no poison in this load`);

  const violations = complaints.list;
  return {
    violations,
    table: {
      'jobs accepted': accepted.jobs.length,
      'jobs finished': sums.finished,
      'events accepted': accepted.events.length,
      'publishes of unknown fate': accepted.unknown.length,
      'commits read back': accepted.committed.length,
      transitions: history.transitions,
      'invoke keys': runs.keys,
      'invoke runs': runs.runs,
      'retries of failed runs': runs.retries,
      're-runs explained by a fault': runs.explained,
      'timers fired': history.fired.length,
      transfers: sums.transfers,
      'sum of all purses': `${sums.held} of ${sums.owed}`,
      'longest gap': milliseconds(progress.gapMs),
      'longest gap outside of faults': milliseconds(progress.unexcusedGapMs),
      'latest timer': milliseconds(progress.lateMs),
      'latest timer outside of faults': milliseconds(progress.unexcusedLateMs),
      'highest epoch': history.epochsMax,
      'nodes seen': history.nodes,
      violations: violations.length,
    },
  };
}

const milliseconds = (ms: number): string => `${Math.round(ms)} ms`;

/** What is not as it must be once faults are over (14). */
function unsettled({ shards, consumers }: ClusterFacts): string[] {
  return [
    ...shards
      .filter(({ owner, live }) => owner !== null && !live)
      .map(({ shard, owner }) => `shard ${shard} belongs to ${owner}, which is dead`),
    ...shards
      .filter(({ owner }) => owner === null)
      .map(({ shard }) => `nobody owns shard ${shard}`),
    ...consumers
      .filter(({ pending, unacked }) => pending > 0 || unacked > 0)
      .map(
        ({ name, pending, unacked }) =>
          `${name}: ${pending} not delivered, ${unacked} not acknowledged`,
      ),
  ];
}
