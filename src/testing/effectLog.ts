/** Something user code was asked to do, as it began. */
export interface EffectEntry {
  kind: 'action' | 'invoke';
  /** `type/id` */
  actor: string;
  /** Of the action, or the `src` of the invoke. */
  name: string;
  /** The transition that caused it. */
  seq: number;
  /** Same on every repetition: `type/id/invokeId/seq` of an invoke, `type/id/seq/index` of an action. */
  key: string;
  /** From 1. After a crash an invoke keeps its number; an action counts how often it began. */
  attempt: number;
  /** Of an invoke. */
  input?: unknown;
}

/** What happened outside of the actors, in order. */
export class EffectLog {
  readonly entries: EffectEntry[] = [];

  action(actor: string, seq: number, index: number, name: string): void {
    const key = `${actor}/${seq}/${index}`;
    const attempt = this.entries.filter((entry) => entry.key === key).length + 1;
    this.entries.push({ kind: 'action', actor, name, seq, key, attempt });
  }

  invoke(
    actor: string,
    seq: number,
    invokeId: string,
    name: string,
    attempt: number,
    input: unknown,
  ): void {
    const key = `${actor}/${invokeId}/${seq}`;
    this.entries.push({ kind: 'invoke', actor, name, seq, key, attempt, input });
  }
}
