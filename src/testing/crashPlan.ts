/** One place at which a node dies. Commits are counted from 1, through all nodes of the cluster. */
export type CrashPoint =
  /** Before the store has the commit: it never happened. */
  | { at: 'before-commit'; commit: number }
  /** The store has it; nothing that it causes has begun. */
  | { at: 'after-commit'; commit: number }
  /** After the first `effects` actions and invokes of the commit have been begun. */
  | { at: 'between-effects'; commit: number; effects: number };

/** When nodes die by themselves. `every-commit`: each node, after its first commit. */
export type CrashOption = 'never' | 'every-commit' | CrashPoint;

/** Counts commits and their effects, and says when it is time to die. */
export class CrashPlan {
  readonly #option: CrashOption;
  /** Effects begun after each commit, before the next. */
  readonly #effects: number[] = [];
  #over = false;

  constructor(option: CrashOption) {
    this.#option = option;
  }

  /** From now on nobody dies, and nothing counts. */
  end(): void {
    this.#over = true;
  }

  /** A commit is about to be sent. */
  diesBefore(): boolean {
    if (this.#over) return false;
    this.#effects.push(0);
    return this.#isAt('before-commit');
  }

  /** It is in the store. */
  diesAfter(): boolean {
    return !this.#over && (this.#option === 'every-commit' || this.#isAt('after-commit'));
  }

  /** An effect has begun. */
  diesAfterEffect(): boolean {
    const commit = this.#effects.length;
    if (this.#over || commit === 0) return false;
    const effects = (this.#effects[commit - 1] ?? 0) + 1;
    this.#effects[commit - 1] = effects;
    return (
      this.#isAt('between-effects') && (this.#option as { effects: number }).effects === effects
    );
  }

  #isAt(at: CrashPoint['at']): boolean {
    const option = this.#option;
    return typeof option === 'object' && option.at === at && option.commit === this.#effects.length;
  }

  /** Every point at which a node could have died in this run. */
  points(): CrashPoint[] {
    return this.#effects.flatMap((count, index) => {
      const commit = index + 1;
      return [
        { at: 'before-commit' as const, commit },
        { at: 'after-commit' as const, commit },
        ...Array.from({ length: count }, (_, first) => ({
          at: 'between-effects' as const,
          commit,
          effects: first + 1,
        })),
      ];
    });
  }
}
