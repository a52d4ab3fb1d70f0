import type { Envelope } from '../../../src/actors/envelope.ts';
import { addressKey, type StoredTransition } from '../../../src/store/store.ts';
import type { HistoryReport } from '../../support/history.ts';
import type { Accepted } from '../load/load.ts';
import { type Program, RETRY_MS, STUCK_MS } from '../load/program.ts';
import type { Complaints } from './complaints.ts';
import type { Facts } from './facts.ts';
import { worksOf } from './runs.ts';
import type { Windows } from './windows.ts';

/** An actor with something to do may stand still for so long, and a timer be late, when no fault was near, ms. */
const BOUND_MS = 30_000;

export interface Progress {
  /** Longest time an actor stood still with something to do, ms; all of it, and the part no fault excuses. */
  gapMs: number;
  unexcusedGapMs: number;
  /** The same for timers: after the deadline, ms. */
  lateMs: number;
  unexcusedLateMs: number;
}

/**
 * How long what was due had to wait: timers (11), and actors (13). A transition is due when its cause is there: the
 * acknowledgement of a publish, the commit that sent a message, a deadline, the earliest end of work. Before that, and
 * while the actor makes other transitions, nobody waits.
 */
export function judgeProgress(
  facts: Facts,
  fired: HistoryReport['fired'],
  accepted: Accepted,
  programs: readonly Program[],
  faults: Windows,
  complaints: Complaints,
): Progress {
  const { history, readAt } = facts;
  const progress: Progress = { gapMs: 0, unexcusedGapMs: 0, lateMs: 0, unexcusedLateMs: 0 };
  const deadlines = new Map(fired.map(({ actor, seq, dueAt }) => [`${actor}/${seq}`, dueAt]));
  const works = worksOf(programs);
  const acked = new Map<string, number>();
  for (const { messageId, ackedAt } of accepted.jobs) acked.set(messageId, ackedAt);
  for (const { eventId, ackedAt } of accepted.events) acked.set(eventId, ackedAt);
  const times = new Map<string, number>();
  for (const transition of history.transitions) times.set(nameOf(transition), transition.at);

  let previous: StoredTransition | undefined;
  const lastAt = new Map<string, number>();
  for (const transition of history.transitions) {
    const key = addressKey(transition);
    if (previous && addressKey(previous) !== key) previous = undefined;
    const dueAt = dueTime(key, transition, previous);
    if (dueAt !== undefined) {
      const from = Math.max(dueAt, previous?.at ?? 0);
      judgeGap(nameOf(transition).replace(/\/(\d+)$/, '#$1'), from, transition);
    }
    lastAt.set(key, transition.at);
    previous = transition;
  }

  function dueTime(
    key: string,
    { origin, eventId, seq, event }: StoredTransition,
    before: StoredTransition | undefined,
  ): number | undefined {
    switch (origin) {
      case 'start':
      case 'event':
        return acked.get(eventId ?? '');
      case 'actor':
        return times.get((eventId ?? '').replace(/\/[^/]+$/, ''));
      case 'timer':
        return deadlines.get(`${key}/${seq}`);
      case 'invoke': {
        const { actorId } = JSON.parse(event) as { actorId: string };
        const started = before && (JSON.parse(before.snapshot) as Envelope).started[actorId];
        const startedAt = times.get(`${key}/${started}`);
        const work = works.get(`${key.slice(0, key.indexOf('/'))}/${actorId}`);
        if (startedAt === undefined || !work) return undefined;
        if (work.kind === 'stuck') return startedAt + STUCK_MS;
        const attempts = work.kind === 'doomed' ? work.failures : work.failures + 1;
        return startedAt + attempts * work.ms + (attempts - 1) * RETRY_MS;
      }
      default:
        return before?.at;
    }
  }

  function judgeGap(name: string, from: number, { at, origin }: StoredTransition): void {
    const unexcused = faults.outside(from, at);
    if (origin === 'timer') {
      progress.lateMs = Math.max(progress.lateMs, at - from);
      progress.unexcusedLateMs = Math.max(progress.unexcusedLateMs, unexcused);
    }
    progress.gapMs = Math.max(progress.gapMs, at - from);
    progress.unexcusedGapMs = Math.max(progress.unexcusedGapMs, unexcused);
    if (unexcused <= BOUND_MS) return;
    const told = `${Math.round(at - from)} ms, ${Math.round(unexcused)} of them without a fault near`;
    if (origin === 'timer') complaints.add(11, `${name} fired late: ${told}`);
    else complaints.add(13, `${name} was due and waited ${told}`);
  }

  for (const { type, id, timerId, fireAt } of history.timers)
    if (faults.outside(fireAt, readAt) > BOUND_MS)
      complaints.add(
        11,
        `${type}/${id}: ${timerId} is ${Math.round(readAt - fireAt)} ms late and has not fired`,
      );
  const active = new Set(
    history.actors.filter(({ status }) => status === 'active').map(addressKey),
  );
  for (const job of accepted.jobs) {
    const key = addressKey(job);
    if (!job.complete || !active.has(key)) continue;
    const from = Math.max(job.ackedAt, lastAt.get(key) ?? 0);
    const unexcused = faults.outside(from, readAt);
    progress.gapMs = Math.max(progress.gapMs, readAt - from);
    progress.unexcusedGapMs = Math.max(progress.unexcusedGapMs, unexcused);
    if (unexcused > BOUND_MS)
      complaints.add(
        13,
        `${key} has all it needs and has stood still for ${Math.round(readAt - from)} ms`,
      );
  }
  return progress;
}

/** `type/id/seq`, as outbox ids begin. */
const nameOf = ({ type, id, seq }: StoredTransition): string => `${type}/${id}/${seq}`;
