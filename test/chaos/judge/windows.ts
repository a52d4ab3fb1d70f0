/** What was done to the run on purpose. */
export interface Fault {
  kind: string;
  node?: string;
  /** Wall clock, ms since 1970; `untilMs` is when it was healed. */
  fromMs: number;
  untilMs: number;
}

/** The times in which faults excuse what happens: each fault, and a grace after it, joined where they overlap. */
export class Windows {
  readonly #joined: { from: number; until: number }[] = [];

  constructor(faults: readonly Fault[], graceMs: number) {
    for (const { fromMs, untilMs } of [...faults].sort((a, b) => a.fromMs - b.fromMs)) {
      const last = this.#joined.at(-1);
      const until = untilMs + graceMs;
      if (last && fromMs <= last.until) last.until = Math.max(last.until, until);
      else this.#joined.push({ from: fromMs, until });
    }
  }

  touch(from: number, until: number): boolean {
    return this.#joined.some((window) => window.from <= until && window.until >= from);
  }

  /** How much of a time lies outside of all windows, ms. */
  outside(from: number, until: number): number {
    let left = Math.max(0, until - from);
    for (const window of this.#joined)
      left -= Math.max(0, Math.min(until, window.until) - Math.max(from, window.from));
    return Math.max(0, left);
  }
}
