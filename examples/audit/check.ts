import { isDeepStrictEqual } from 'node:util';
import type { Audited } from './audit.ts';
import type { Recorded, TransitionRow } from './record.ts';

/** What the check counted, and everything that is not as it must be. */
export interface Checked {
  finished: number;
  transitions: number;
  /** Invokes that ran, each counted once. */
  invokes: number;
  /** Runs beyond the first: what the killed node had begun and another one did again. */
  invokesRerun: number;
  lost: number;
  duplicated: number;
  problems: string[];
}

/** `read`, `hash` and `detect`. */
const INVOKES = 3;

/**
 * Holds what is recorded against the sequential computation: each package has one actor, done, with the same
 * result in every field; its history is 1..n with every event once; and no invoke ran for a transition that is not recorded.
 */
export function check(expected: ReadonlyMap<string, Audited>, recorded: Recorded): Checked {
  const problems: string[] = [];
  const packages = new Map(
    recorded.actors.filter((actor) => actor.type === 'package').map((actor) => [actor.id, actor]),
  );
  let finished = 0;
  for (const [id, audited] of expected) {
    const actor = packages.get(id);
    if (actor?.status === 'done') {
      finished++;
      problems.push(...differences(id, audited, actor.output));
    } else problems.push(`${id} is lost: ${actor?.error?.message ?? actor?.status ?? 'no actor'}`);
  }
  const strangers = [...packages.keys()].filter((id) => !expected.has(id));
  problems.push(...strangers.map((id) => `${id} was never asked for`));

  const histories = groupBy(recorded.transitions, ({ type, id }) => `${type}/${id}`);
  let repeated = 0;
  for (const [actor, history] of histories) {
    if (history.some(({ seq }, index) => seq !== index + 1))
      problems.push(`${actor} has a history with a gap: ${history.map(({ seq }) => seq)}`);
    const again = repeats(history);
    problems.push(...again.map((event) => `${actor} took ${event} twice`));
    repeated += again.length;
  }

  const runs = groupBy(recorded.runs, ({ key }) => key);
  for (const key of runs.keys()) {
    const [type, id, , seq] = key.split('/');
    const cause = histories.get(`${type}/${id}`)?.[Number(seq) - 1];
    if (!cause) problems.push(`${key} ran and the transition that started it is not recorded`);
  }
  if (runs.size !== expected.size * INVOKES)
    problems.push(`${runs.size} invokes ran; there should be ${expected.size * INVOKES}`);
  for (const { reason, subject } of recorded.deadLetters)
    problems.push(`dead letter: ${reason} for ${subject}`);
  return {
    finished,
    transitions: recorded.transitions.length,
    invokes: runs.size,
    invokesRerun: recorded.runs.length - runs.size,
    lost: expected.size - finished,
    duplicated: strangers.length + repeated + Math.max(0, runs.size - expected.size * INVOKES),
    problems,
  };
}

function differences(id: string, expected: Audited, output: unknown): string[] {
  const actual = Object(output) as Record<string, unknown>;
  const fields = new Set([...Object.keys(expected), ...Object.keys(actual)]);
  return [...fields]
    .map((field) => ({ field, want: expected[field as keyof Audited], have: actual[field] }))
    .filter(({ want, have }) => !isDeepStrictEqual(want, have))
    .map(
      ({ field, want, have }) =>
        `${id}: ${field} is ${JSON.stringify(have)}, computed sequentially ${JSON.stringify(want)}`,
    );
}

/** A package meets each of its events once; a reviewer the same kind often, each with an id of its own. */
function repeats(history: readonly TransitionRow[]): string[] {
  const seen = new Set<string>();
  return history
    .map(({ type, eventType, eventId }) =>
      type === 'package' ? eventType : `${eventType} ${eventId}`,
    )
    .filter((event) => seen.has(event) || !seen.add(event));
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group) group.push(item);
    else groups.set(keyOf(item), [item]);
  }
  return groups;
}
