import type { Clock } from '../clock.ts';
import { backoff } from '../clock.ts';
import { asError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { type CommitResult, type ShardCommit, type Store, StoreUnknown } from '../store/store.ts';
import type { StoreTransaction } from '../store/userTransaction.ts';
import type { Lease } from './lease.ts';

/** A shard as the committer sees it. */
export interface CommitSource {
  readonly number: number;
  readonly epoch: number;
  /** Somebody else speaks for the shard now; outcomes are of no interest any more. */
  readonly closed: boolean;
  /** Transitions that wait. */
  readonly waiting: number;
  /** What is handed over next is committed in this, and alone. */
  readonly transaction: StoreTransaction | undefined;
  /** Hands over what is to be committed next; the source stays untouched until `landed`, `fenced`, `mistaken` or `refused`. */
  take(): ShardCommit | undefined;
  /** The part is in Postgres. `at`: database time, null when the answer was lost and the deadlines are not known. */
  landed(commitNo: number, at: number | null): void;
  /** The part was not landed when it was looked up; it is sent again with this epoch. */
  resend(epoch: number): ShardCommit;
  /** Somebody else owns the shard: forget everything. */
  fenced(): void;
  /** Somebody the part takes for new is there; it did not land. */
  mistaken(): void;
  /** Postgres refused the statement; nothing landed. */
  refused(error: Error): void;
  /** The part has not landed, and cannot be sent again: what it goes with is gone. */
  lost(): void;
}

/**
 * Group commit: takes whatever steps are ready from any shard, in one statement, one round trip. While one
 * statement is in flight the next gathers; up to `inFlightMax` run at once, over disjoint shards.
 *
 *  C1  A shard has at most one statement in flight.
 *  C2  An unknown outcome is never sent again blindly: the epoch is bumped first, behind the old statement's lock
 *      (S3); then the commit number says whether it landed, and it never can any more if it did not (design §4).
 *  C3  The committer learns the outcome of every statement it sent before the shard moves on.
 *  C4  What goes with a transaction is sent on its session, once. It waits for nobody else's statement.
 */
export class Committer {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #rounds: Clock;
  readonly #log: Logger;
  readonly #nodeId: string;
  readonly #lease: Lease;
  readonly #commitMax: number;
  readonly #inFlightMax: number;
  readonly #dirty = new Set<CommitSource>();
  /** Nobody waits for what they have. Since when they have it, monotonic, ms; oldest first. */
  readonly #lazy = new Map<CommitSource, number>();
  #lazyTimer = false;
  readonly #busy = new Set<CommitSource>();
  /** Statements under way, without those of transactions. */
  #inFlight = 0;
  /** Transitions in statements under way. */
  #sent = 0;
  #scheduled = false;
  /** For metrics. */
  readonly counts = {
    commits: 0,
    unknown: 0,
    /** Of one shard each: another node owns it. */
    fenced: 0,
    deadLetters: new Map<string, number>(),
  };
  readonly #landed: (ms: number, transitions: number) => void;

  constructor(options: {
    store: Store;
    clock: Clock;
    /** What is put off for a moment is put off by this. */
    rounds: Clock;
    log: Logger;
    nodeId: string;
    lease: Lease;
    commitMax: number;
    inFlightMax: number;
    /** A statement has landed: how long it took, and what it carried. */
    landed?: (ms: number, transitions: number) => void;
  }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#rounds = options.rounds;
    this.#log = options.log;
    this.#nodeId = options.nodeId;
    this.#lease = options.lease;
    this.#commitMax = options.commitMax;
    this.#inFlightMax = options.inFlightMax;
    this.#landed = options.landed ?? (() => {});
  }

  /** The shard has something to commit. */
  offer(source: CommitSource): void {
    this.#lazy.delete(source);
    this.#dirty.add(source);
    this.#schedule();
  }

  /**
   * The shard has something nobody waits for (an outcome is out, an action is done). Each statement syncs the disk, and whose
   * commit is waited for would feel it: so it goes along with one that is sent anyway, or with all others of its kind before long.
   */
  offerLazily(source: CommitSource): void {
    if (this.#dirty.has(source) || this.#lazy.has(source)) return;
    this.#lazy.set(source, this.#rounds.monotonic());
    this.#waitLazily(LAZY_MS);
  }

  #waitLazily(ms: number): void {
    if (this.#lazyTimer) return;
    this.#lazyTimer = true;
    this.#rounds.after(ms, () => {
      this.#lazyTimer = false;
      const [since] = this.#lazy.values();
      if (since === undefined) return;
      const leftMs = since + LAZY_MS - this.#rounds.monotonic();
      if (leftMs > 0) return this.#waitLazily(leftMs);
      for (const source of this.#lazy.keys()) this.#dirty.add(source);
      this.#lazy.clear();
      this.#schedule();
    });
  }

  /** The shard is closed; what is in flight for it is left to land or not. */
  withdraw(source: CommitSource): void {
    this.#dirty.delete(source);
    this.#lazy.delete(source);
  }

  /** Transitions that have not landed: they wait for a statement, or are in one. */
  get unlanded(): number {
    let unlanded = this.#sent;
    for (const { waiting } of this.#dirty) unlanded += waiting;
    return unlanded;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.soon(() => {
      this.#scheduled = false;
      this.#sendAlone();
      while (this.#inFlight < this.#inFlightMax && this.#send());
    });
  }

  #sendAlone(): void {
    for (const source of this.#dirty) {
      const { transaction } = source;
      if (!transaction || this.#busy.has(source)) continue;
      this.#dirty.delete(source);
      const commit = source.take();
      if (!commit) continue;
      this.#run([{ source, commit, transaction }]);
    }
  }

  #send(): boolean {
    const sources: CommitSource[] = [];
    let size = 0;
    for (const source of this.#dirty) {
      if (this.#busy.has(source) || source.transaction) continue;
      sources.push(source);
      size += source.waiting;
      if (size >= this.#commitMax) break;
    }
    if (sources.length === 0) return false;
    for (const source of this.#lazy.keys())
      if (!this.#busy.has(source) && !source.transaction) sources.push(source);
    const parts: Part[] = [];
    for (const source of sources) {
      this.#dirty.delete(source);
      this.#lazy.delete(source);
      const commit = source.take();
      if (commit) parts.push({ source, commit });
    }
    if (parts.length === 0) return false;
    this.#inFlight++;
    this.#run(parts, () => this.#inFlight--);
    return true;
  }

  #run(parts: Part[], ended?: () => void): void {
    const size = parts.reduce((sum, { commit }) => sum + commit.transitions.length, 0);
    this.#sent += size;
    for (const { source } of parts) this.#busy.add(source);
    void this.#commit(parts).finally(() => {
      this.#sent -= size;
      ended?.();
      for (const { source } of parts) this.#busy.delete(source);
      if (this.#dirty.size > 0) this.#schedule();
    });
  }

  async #commit(parts: Part[]): Promise<void> {
    try {
      const commits = parts.map(({ commit }) => commit);
      const from = this.#clock.monotonic();
      const { committed, mistaken, at } = await this.#write(parts, commits);
      this.#count(commits, committed, this.#clock.monotonic() - from);
      await this.#confirm();
      for (const { source, commit } of parts)
        if (committed.has(source.number)) source.landed(commit.commitNo, at);
        else if (mistaken.has(source.number)) source.mistaken();
        else this.#fence(source);
    } catch (error) {
      if (error instanceof StoreUnknown) return this.#resolve(parts);
      await this.#refused(parts, asError(error));
    }
  }

  #write(parts: readonly Part[], commits: readonly ShardCommit[]): Promise<CommitResult> {
    const [first] = parts;
    return first?.transaction
      ? first.transaction.commit(this.#nodeId, first.commit)
      : this.#store.commit(this.#nodeId, commits);
  }

  /**
   * An answer that comes when the lease is over may be an old one: this node may have stood still since, and another
   * one may own the shard. Before anything is caused, what was lost is closed.
   */
  #confirm(): Promise<void> | undefined {
    return this.#lease.holds ? undefined : this.#lease.held();
  }

  #count(commits: readonly ShardCommit[], committed: ReadonlySet<number>, ms: number): void {
    let transitions = 0;
    for (const commit of commits) {
      if (!committed.has(commit.shard)) continue;
      transitions += commit.transitions.length;
      this.#countDeadLetters(commit);
    }
    this.counts.commits++;
    this.#landed(ms, transitions);
  }

  #countDeadLetters({ deadLetters }: ShardCommit): void {
    const counts = this.counts.deadLetters;
    for (const { reason } of deadLetters) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }

  #fence(source: CommitSource): void {
    this.counts.fenced++;
    source.fenced();
  }

  async #resolve(all: Part[]): Promise<void> {
    // The epoch moves on here and in Postgres in one go: in between, a look at the record would take it for a stranger's.
    await this.#confirm();
    // A closed shard was opened again since: that bumped the epoch already, and read what has landed.
    const parts = all.filter(({ source }) => !source.closed);
    if (parts.length === 0) return;
    this.counts.unknown++;
    this.#log.warn({ shards: parts.length }, 'commit: outcome unknown, asking Postgres');
    const opened = await this.#store.reclaim(
      this.#nodeId,
      parts.map(({ commit: { shard, epoch } }) => ({ shard, epoch })),
    );
    const byShard = new Map(opened.map((shard) => [shard.shard, shard]));
    const again: Part[] = [];
    for (const { source, commit, transaction } of parts) {
      const shard = byShard.get(source.number);
      if (!shard) {
        this.#fence(source);
        continue;
      }
      const next = source.resend(shard.epoch);
      if (shard.commitNo >= commit.commitNo) {
        this.#countDeadLetters(commit);
        source.landed(commit.commitNo, null);
      } else if (transaction) source.lost();
      else again.push({ source, commit: next });
    }
    this.#log.info(
      { landed: parts.length - again.length, again: again.length },
      'commit: outcome known',
    );
    if (again.length > 0) await this.#commit(again);
  }

  /** One shard's bad part must not hold up the others: each is tried alone before anybody is blamed. */
  async #refused(all: Part[], error: Error): Promise<void> {
    const parts = all.filter(({ source }) => !source.closed);
    if (parts.length > 1) {
      for (const part of parts) await this.#commit([part]);
      return;
    }
    for (const { source, transaction } of parts) {
      const refusal = { shard: source.number, epoch: source.epoch, error: error.message };
      if (transaction) this.#log.warn(refusal, 'transaction: not committed, it runs again');
      else this.#log.error(refusal, 'commit: refused by Postgres');
      await new Promise<void>((resolve) =>
        this.#clock.after(backoff(this.#clock, 2, 250, 1_000), resolve),
      );
      source.refused(error);
    }
  }
}

/** So long is waited for a statement that it can go along with. */
const LAZY_MS = 25;

interface Part {
  source: CommitSource;
  commit: ShardCommit;
  /** Then it is the only one. */
  transaction?: StoreTransaction;
}
