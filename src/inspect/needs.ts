import { leavesOf } from '../actors/chart.ts';
import type { Late } from './lateOutbox.ts';

export type NeedKind =
  | 'no_node'
  | 'no_nats'
  | 'dead_letters'
  | 'quarantined'
  | 'parked'
  | 'shards'
  | 'late'
  | 'failed'
  | 'still';

/** Something a human should look at. */
export interface Need {
  kind: NeedKind;
  count: number;
  /** There are more than were counted. */
  more: boolean;
  what: string;
  detail: string;
  /** Work stands still until somebody sees to it. */
  grave: boolean;
}

interface Places {
  status: string;
  type: string;
  state: unknown;
  count: number;
}

/** What it is judged by, as the overview has it; null: not counted yet. */
export interface NeedFacts {
  nodes: { live: number; list: readonly { live: boolean; nats_ok: boolean }[] };
  shards: { ill: readonly { shard: number; health: string }[] };
  dead_letters: { waiting: number; more: boolean; reasons: Readonly<Record<string, number>> };
  quarantined: number;
  late: Late;
  parked:
    | readonly { type: string; version: string | null; actors: number; messages: number }[]
    | null;
  population: readonly Places[] | null;
  still: readonly Places[] | null;
}

/** What needs a human, the worst first. Judged here alone, for the page and for `perdure top`. Pure. */
export function needsOf(facts: NeedFacts): Need[] {
  const { nodes, dead_letters: letters, quarantined, late } = facts;
  const { ill } = facts.shards;
  const parked = facts.parked ?? [];
  const still = facts.still ?? [];
  const failed = (facts.population ?? []).filter(({ status }) => status === 'error');
  const needs: Need[] = [
    need('no_node', nodes.live === 0 ? 1 : 0, 'no node runs', 'jobs are accepted and wait'),
    need(
      'no_nats',
      nodes.list.filter(({ live, nats_ok }) => live && !nats_ok).length,
      'without NATS',
      'nodes that do not reach it take nothing new',
    ),
    {
      ...need('dead_letters', letters.waiting, 'dead letters', reasonsText(letters.reasons)),
      more: letters.more,
    },
    need('quarantined', quarantined, 'in quarantine', 'they kept ending nodes'),
    need(
      'parked',
      parked.reduce((all, { actors, messages }) => all + actors + messages, 0),
      'parked',
      some(parked.map(({ type, version }) => `${type}@${version ?? '?'}`)),
    ),
    need(
      'shards',
      ill.length,
      'shards are not well',
      some(ill.map(({ shard, health }) => `${shard} ${health}`)),
    ),
    {
      ...need(
        'late',
        late.waiting,
        'messages are late',
        late.oldest
          ? `the oldest, for ${late.oldest.of}, since ${late.oldest.since}: ${late.oldest.why}`
          : '',
      ),
      more: late.more,
    },
    need('failed', sum(failed), 'failed actors', 'they have ended in an error'),
    need(
      'still',
      sum(still),
      'may be stuck',
      `where one has not moved for a day: ${some(still.map(({ type, state }) => `${type} ${leavesOf(state).join(' ')}`))}`,
    ),
  ];
  return needs.filter(({ count }) => count > 0);
}

/** Nothing stands still because of these; somebody may have meant them. */
const MILD: readonly NeedKind[] = ['late', 'failed', 'still'];

const need = (kind: NeedKind, count: number, what: string, detail: string): Need => ({
  ...{ kind, count, what, detail },
  more: false,
  grave: !MILD.includes(kind),
});

const NAMED_MAX = 3;

const some = (names: readonly string[]): string =>
  `${names.slice(0, NAMED_MAX).join(', ')}${names.length > NAMED_MAX ? ', …' : ''}`;

const reasonsText = (reasons: Readonly<Record<string, number>>): string =>
  Object.entries(reasons)
    .map(([reason, count]) => `${count} ${reason}`)
    .join(', ');

const sum = (rows: readonly { count: number }[]): number =>
  rows.reduce((all, { count }) => all + count, 0);
