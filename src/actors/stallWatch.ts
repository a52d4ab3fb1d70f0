import { atMost, type Cancel } from '../clock.ts';
import { asError } from '../errors.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';

/** A shard that has work and makes no progress, with what was seen. Counts only: safe to show. */
export interface StalledShard {
  shard: number;
  /** Without progress for this long, ms. */
  stalledMs: number;
  /** Messages JetStream has for it and has not delivered. */
  pending: number;
  mailbox: number;
  commitInFlight: boolean;
  /** Its reader is not open yet. */
  opening: boolean;
}

/** State of the breakers of both connections. */
interface Connections {
  nats: string;
  postgres: string;
}

interface Conditions extends Connections {
  busyActors: number;
  /** The node takes nothing new because it runs as much as it may, or its outbox is full. */
  full: boolean;
}

interface Seen {
  readonly shard: Shard;
  cursor: number;
  commitNo: number;
  /** When it was last seen to have moved. All times are monotonic, ms. */
  movedAt: number;
  pending: number;
  sampledAt: number;
  /** Since when it has had work and has not moved. */
  stuckSince: number | undefined;
  /** What has been said about this stall. */
  told: 'nothing' | 'explained' | 'stalled';
}

/** Rounds within `stallMs`. */
const ROUNDS = 3;

/**
 * Notices "there is work, and nothing moves": whatever the cause, a shard must not stand still in silence. It is shown,
 * and opened again, unless the cause is known: the node is full, or one of the servers is away. JetStream is asked at
 * most once in `stallMs` for each shard, so that a stall is noticed within twice that time.
 */
export class StallWatch {
  readonly #ring: Ring;
  readonly #shards: ReadonlyMap<number, Shard>;
  readonly #connections: () => Connections;
  readonly #seen = new Map<number, Seen>();
  #stalled: StalledShard[] = [];
  /** When a stall last had a known cause. */
  #explainedAt = Number.NEGATIVE_INFINITY;
  #next: Cancel = () => {};
  #stopped = false;

  constructor(
    ring: Ring,
    ownership: { readonly shards: ReadonlyMap<number, Shard> },
    connections: () => Connections,
  ) {
    this.#ring = ring;
    this.#shards = ownership.shards;
    this.#connections = connections;
  }

  start(): void {
    const { clock, limits, log } = this.#ring;
    const periodMs = limits.stallMs / ROUNDS;
    const dueAt = clock.monotonic() + periodMs;
    const turn = async () => {
      // This process did not run: nothing could move, and nothing follows from that.
      if (clock.monotonic() - dueAt > periodMs)
        for (const seen of this.#seen.values()) seen.stuckSince = undefined;
      await this.#round().catch((error) =>
        log.warn({ error: asError(error).message }, 'stall watch: round failed'),
      );
      if (!this.#stopped) this.start();
    };
    this.#next = clock.after(periodMs, () => void turn());
  }

  stop(): void {
    this.#stopped = true;
    this.#next();
  }

  /** What stands still now. */
  get stalled(): readonly StalledShard[] {
    return this.#stalled;
  }

  /** Messages of this node's shards that JetStream has not delivered yet, as last asked. */
  get lag(): number {
    let lag = 0;
    for (const { pending } of this.#seen.values()) lag += pending;
    return lag;
  }

  async #round(): Promise<void> {
    this.#observe();
    await this.#sample();
    if (this.#stopped) return;
    this.#observe();
    this.#judge();
  }

  /** Notes what has moved since the last look. */
  #observe(): void {
    const now = this.#ring.clock.monotonic();
    for (const number of this.#seen.keys())
      if (!this.#shards.has(number)) this.#seen.delete(number);
    for (const [number, shard] of this.#shards) {
      const { cursor, commitNo } = shard;
      const seen = this.#seen.get(number);
      if (seen?.shard !== shard) this.#seen.set(number, firstSight(shard, now, seen));
      else if (seen.cursor !== cursor || seen.commitNo !== commitNo)
        Object.assign(seen, {
          cursor,
          commitNo,
          movedAt: now,
          stuckSince: undefined,
          told: 'nothing',
        });
    }
  }

  async #sample(): Promise<void> {
    const { clock, limits } = this.#ring;
    const now = clock.monotonic();
    const due = [...this.#seen.values()].filter(
      ({ shard, sampledAt }) => shard.reader && now - sampledAt >= limits.stallMs,
    );
    const samples = due.map(async (seen) => {
      try {
        const lag = await seen.shard.reader?.lag();
        if (!lag) return;
        seen.pending = lag.waiting;
        // From before it was asked: what moved meanwhile makes the answer an old one.
        seen.sampledAt = now;
      } catch {
        // NATS is away, which is told elsewhere, or the consumer is gone, which its reader will notice.
      }
    });
    await atMost(clock, limits.stallMs, Promise.all(samples));
  }

  #judge(): void {
    const { clock, limits, load, outbox } = this.#ring;
    const now = clock.monotonic();
    const connections = this.#connections();
    const full = load.busyActors >= limits.busyActorsMax || outbox.isFull;
    const explained = full || connections.nats !== 'closed' || connections.postgres !== 'closed';
    if (explained) this.#explainedAt = now;
    this.#stalled = [];
    for (const seen of this.#seen.values()) {
      if (!hasWork(seen)) {
        seen.stuckSince = undefined;
        seen.told = 'nothing';
        continue;
      }
      seen.stuckSince ??= now;
      if (now - seen.stuckSince < limits.stallMs) continue;
      const stall = describe(seen, now);
      this.#stalled.push(stall);
      // After an outage there is as much time to get going as there was before it.
      const unexplained = !explained && now - this.#explainedAt >= limits.stallMs;
      this.#tell(
        seen,
        { ...stall, ...connections, busyActors: load.busyActors, full },
        unexplained,
      );
    }
  }

  #tell(seen: Seen, what: StalledShard & Conditions, unexplained: boolean): void {
    const { log, load } = this.#ring;
    const told = unexplained ? 'stalled' : 'explained';
    if (seen.told !== told) {
      if (seen.told === 'nothing') load.stalls++;
      seen.told = told;
      log[unexplained ? 'error' : 'warn'](what, 'shard: stalled');
    }
    // One that is still being opened has a loop of its own that goes on trying.
    if (unexplained && !what.opening)
      this.#ring.surprise(
        what.shard,
        `stalled: pending ${what.pending}, mailbox ${what.mailbox}, no progress for ${what.stalledMs} ms`,
      );
  }
}

function firstSight(shard: Shard, now: number, before: Seen | undefined): Seen {
  return {
    shard,
    cursor: shard.cursor,
    commitNo: shard.commitNo,
    movedAt: now,
    pending: before?.pending ?? 0,
    sampledAt: before?.sampledAt ?? Number.NEGATIVE_INFINITY,
    stuckSince: undefined,
    told: 'nothing',
  };
}

function hasWork({ shard, pending, sampledAt, movedAt }: Seen): boolean {
  if (shard.closed) return false;
  if (shard.mailboxSize > 0 || shard.waiting > 0 || shard.hasCommitInFlight) return true;
  return !shard.reader || (pending > 0 && sampledAt >= movedAt);
}

function describe({ shard, pending, stuckSince }: Seen, now: number): StalledShard {
  return {
    shard: shard.number,
    stalledMs: Math.round(now - (stuckSince ?? now)),
    pending,
    mailbox: shard.mailboxSize,
    commitInFlight: shard.hasCommitInFlight,
    opening: !shard.reader,
  };
}
