import type { TypeLoad } from './ring.ts';

/** Transitions that are told with a pulse. */
const RECENT = 10;
/** One that is longer is left out of them, UTF-16 units: actors may emit anything. */
const RECENT_LENGTH_MAX = 4_096;
/** How many of the times that messages waited are told with a pulse. */
const WAITED = 50;

/** What was committed for the actors of one type. */
export type TypePulse = Pick<TypeLoad, 'transitions' | 'started' | 'done' | 'error'>;

/** What a node tells of each second, also of one in which it has committed nothing: it is there, and is heard. */
export interface PulseWord {
  node: string;
  word: 'pulse';
  types: Record<string, TypePulse>;
  /** For how long the oldest messages of its commits had been in the log, ms, ascending; of many, some from everywhere between. */
  waited: number[];
  /** The last transitions, as the live feed tells them, the newest last. */
  recent: object[];
}

/** Undefined for another word, or anything else that somebody has published there. */
export function readPulse(body: Uint8Array): PulseWord | undefined {
  try {
    const told = JSON.parse(Buffer.from(body).toString()) as Record<string, unknown>;
    return isPulse(told) ? told : undefined;
  } catch {
    return undefined;
  }
}

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;
const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const hasCounts = (value: unknown): boolean =>
  isRecord(value) &&
  (['transitions', 'started', 'done', 'error'] as const).every((name) => isCount(value[name]));
const isEntry = (value: unknown): boolean =>
  isRecord(value) && typeof value.type === 'string' && typeof value.id === 'string';

function isPulse(
  told: Partial<Record<keyof PulseWord, unknown>>,
): told is Partial<Record<keyof PulseWord, unknown>> & PulseWord {
  const { node, word, types, waited, recent } = told;
  return (
    word === 'pulse' &&
    typeof node === 'string' &&
    isRecord(types) &&
    Object.values(types).every(hasCounts) &&
    Array.isArray(waited) &&
    waited.every(isCount) &&
    Array.isArray(recent) &&
    recent.every(isEntry)
  );
}

/**
 * Counts what a node has committed since the last pulse: whoever shows how much goes on need not hear every transition of
 * the cluster for that.
 */
export class Pulse {
  readonly #nodeId: string;
  #recent: string[] = [];
  #next = 0;
  #waited: number[] = [];
  readonly #before = new Map<string, TypePulse>();

  constructor(nodeId: string) {
    this.#nodeId = nodeId;
  }

  /** A transition, as the live feed tells it. */
  told(text: string): void {
    if (text.length <= RECENT_LENGTH_MAX) this.#recent[this.#next++ % RECENT] = text;
  }

  waited(ms: number): void {
    this.#waited.push(Math.round(ms));
  }

  /** `PulseWord` as JSON. `types`: counts since the node began. */
  take(types: ReadonlyMap<string, TypeLoad>): string {
    const since: Record<string, TypePulse> = {};
    for (const [type, { transitions, started, done, error }] of types) {
      const before = this.#before.get(type) ?? { transitions: 0, started: 0, done: 0, error: 0 };
      if (transitions > before.transitions)
        since[type] = {
          transitions: transitions - before.transitions,
          started: started - before.started,
          done: done - before.done,
          error: error - before.error,
        };
      this.#before.set(type, { transitions, started, done, error });
    }
    const oldest = this.#next > RECENT ? this.#next % RECENT : 0;
    const recent = [...this.#recent.slice(oldest), ...this.#recent.slice(0, oldest)];
    const waited = spread(this.#waited);
    this.#recent = [];
    this.#next = 0;
    this.#waited = [];
    const [node, counted] = [JSON.stringify(this.#nodeId), JSON.stringify(since)];
    return `{"node":${node},"word":"pulse","types":${counted},"waited":[${waited}],"recent":[${recent}]}`;
  }
}

/** At most `WAITED` of them, ascending, evenly spread: the least and the greatest are among them. */
function spread(values: readonly number[]): number[] {
  const sorted = values.toSorted((a, b) => a - b);
  if (sorted.length <= WAITED) return sorted;
  const step = (sorted.length - 1) / (WAITED - 1);
  return Array.from({ length: WAITED }, (_, i) => sorted[Math.round(i * step)] as number);
}
