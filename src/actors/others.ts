import type { Clock } from '../clock.ts';
import type { OtherNodes } from '../store/elsewhere.ts';
import type { OpenedVersion } from '../store/sharing.ts';
import type { Registry } from './registry.ts';

/**
 * What the other nodes can open, as last heard of: with every look at the record, and when a stranger comes. Nodes that
 * drain are no others any more.
 */
export class Others {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #ask: () => Promise<readonly OtherNodes[]>;
  #groups: readonly OtherNodes[] = [];
  /** Since when nodes that say this look dead, by what they say; monotonic, ms. */
  readonly #deadSince = new Map<string, number>();
  #asking: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(registry: Registry, clock: Clock, ask: () => Promise<readonly OtherNodes[]>) {
    this.#registry = registry;
    this.#clock = clock;
    this.#ask = ask;
  }

  observe(groups: readonly OtherNodes[]): void {
    const now = this.#clock.monotonic();
    const dead = new Set<string>();
    const living = new Set(
      groups.filter(({ alive }) => alive).map(({ opens }) => JSON.stringify(opens)),
    );
    this.#groups = groups.filter(({ opens, alive }) => {
      const said = JSON.stringify(opens);
      if (alive || living.has(said)) return alive;
      dead.add(said);
      const since = this.#deadSince.get(said) ?? now;
      this.#deadSince.set(said, since);
      // A lease session that is merely opened again takes less. What is migrated does not come back.
      return now - since < GONE_AFTER_MS;
    });
    for (const said of this.#deadSince.keys()) if (!dead.has(said)) this.#deadSince.delete(said);
  }

  /** Those the shards are shared with. */
  get sharing(): readonly OtherNodes[] {
    return this.#groups.filter(({ alive, sharing }) => alive && sharing > 0);
  }

  /** Some of them open something else than this node, so that it matters who owns what. */
  get differ(): boolean {
    const ours = JSON.stringify(this.#registry.opens);
    return this.sharing.some(({ opens }) => JSON.stringify(opens) !== ours);
  }

  /** Another node knows this version itself: actors of it are left to that one. */
  keep(type: string, version: string): boolean {
    return this.#groups.some(({ opens }) => isKnown(opens, type, version));
  }

  knowType(type: string): boolean {
    return this.#groups.some(({ opens }) => opens.some((open) => open.type === type));
  }

  /** Whether actors of this version are opened here, as far as their version goes; null: there is none yet. */
  areNotNeededFor(type: string, version: string | null): boolean {
    if (version === null) return this.#registry.newest(type) !== undefined;
    if (this.#registry.version(type, version)) return true;
    return this.#registry.migrating(type, version) !== undefined && !this.keep(type, version);
  }

  /** Whether nodes that open this can do what is needed. */
  canDo(opens: readonly OpenedVersion[], need: string): boolean {
    const at = need.indexOf('@');
    if (at < 0) return opens.some(({ type }) => type === need);
    const type = need.slice(0, at);
    const version = need.slice(at + 1);
    if (isKnown(opens, type, version)) return true;
    const isOnlyMoved = opens.some((open) => open.type === type && open.version === version);
    const isKept = this.keep(type, version) || isKnown(this.#registry.opens, type, version);
    return isOnlyMoved && !isKept;
  }

  /**
   * Resolves with an answer to a question asked after this call, so that whoever had joined by then is in it. Callers
   * share the questions; there are no more than one in `ASK_EVERY_MS`.
   */
  refresh(): Promise<void> {
    if (!this.#asking) return this.#begin();
    this.#next ??= this.#asking.then(() => {
      this.#next = undefined;
      return this.#begin();
    });
    return this.#next;
  }

  #begin(): Promise<void> {
    const rest = new Promise<void>((resolve) => this.#clock.after(ASK_EVERY_MS, resolve));
    const answered = this.#ask().then((groups) => this.observe(groups));
    this.#asking = Promise.allSettled([answered, rest]).then(() => {
      this.#asking = undefined;
    });
    return answered;
  }
}

/** A need, as it is recorded. */
export const needOf = (type: string, version: string | null): string =>
  version === null ? type : `${type}@${version}`;

const isKnown = (opens: readonly OpenedVersion[], type: string, version: string): boolean =>
  opens.some((open) => open.type === type && open.version === version && open.as === version);

/** A node whose session lock is gone for this long does not come back, ms. */
const GONE_AFTER_MS = 1_000;
const ASK_EVERY_MS = 25;
