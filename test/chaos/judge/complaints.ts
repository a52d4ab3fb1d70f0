/** The invariants, by the numbers that a violation begins with. */
export const INVARIANTS = {
  1: 'no loss',
  2: 'no duplicate',
  3: 'dense log',
  4: 'no fork',
  5: 'epochs ascend',
  6: 'single writer',
  7: 'no invention',
  8: 'read your commit',
  9: 'outbox causality',
  10: 'effects once for each key',
  11: 'timers',
  12: 'first in, first out',
  13: 'bounded recovery',
  14: 'convergence',
  15: 'poison contained',
} as const;

export type Invariant = keyof typeof INVARIANTS;

const SHOWN_MAX = 15;

/** Collects violations; of one invariant only the first are told, since one bug can break thousands of actors. */
export class Complaints {
  readonly #told = new Map<Invariant, string[]>();

  add(invariant: Invariant, text: string): void {
    const told = this.#told.get(invariant) ?? [];
    this.#told.set(invariant, told);
    told.push(text);
  }

  get list(): string[] {
    return [...this.#told]
      .sort(([a], [b]) => a - b)
      .flatMap(([invariant, texts]) => {
        const name = `${invariant} ${INVARIANTS[invariant]}`;
        const shown = texts.slice(0, SHOWN_MAX).map((text) => `${name}: ${text}`);
        const hidden = texts.length - shown.length;
        return hidden > 0 ? [...shown, `${name}: … and ${hidden} more`] : shown;
      });
  }
}

/** Which invariant a sentence of `judgeHistory` is about; the first that fits. */
const SENTENCES: [RegExp, Invariant][] = [
  [/was applied before|and is dead, too/, 2],
  [/log is not dense|the row stands at|has transitions and no row/, 3],
  [/epoch \d+ after \d+/, 5],
  [/two writers in epoch/, 6],
  [/accepted, and neither|accepted and is lost|for an unknown reason/, 1],
  [/was never sent|was sent to|says something else|nobody started|was not running/, 7],
  [/never arrived at|still in the outbox|was never published/, 9],
  [/timer/, 11],
  [/still busy|actions acknowledged/, 14],
  [/ ran |^action |never ran/, 10],
];

export const invariantOf = (sentence: string): Invariant =>
  SENTENCES.find(([pattern]) => pattern.test(sentence))?.[1] ?? 4;
