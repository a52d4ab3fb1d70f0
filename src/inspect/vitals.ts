import type { Ownership } from '../actors/ownership.ts';
import type { NodeLoad, Ring } from '../actors/ring.ts';
import type { StallWatch } from '../actors/stallWatch.ts';
import type { NatsBus } from '../bus/nats.ts';
import type { Clock } from '../clock.ts';
import type { PostgresStore } from '../store/postgres.ts';
import { type Breaker, type NodeState, type Readiness, readinessOf } from './health.ts';
import type { MetricsParts, MetricsSource } from './metrics.ts';

/** The parts of a node that runs. */
interface Running {
  ring: Ring;
  ownership: Ownership;
  watch: StallWatch;
}

/** What a node tells of itself, from the moment it begins to start. Reads what the parts know; asks nobody. */
export class Vitals implements MetricsSource {
  readonly load: NodeLoad;
  /** Set by the node as it comes that far. */
  store: PostgresStore | undefined;
  bus: NatsBus | undefined;
  running: Running | undefined;
  /** Why a server was not reached, while it has never been. */
  readonly waiting: Record<'nats' | 'postgres', string | null> = { nats: null, postgres: null };
  readonly #clock: Clock;
  readonly #nodeId: string;
  readonly #leaseMs: number;
  #phase: NodeState['phase'] = 'starting';
  #phaseSince: number;

  constructor(clock: Clock, nodeId: string, leaseMs: number, load: NodeLoad) {
    this.load = load;
    this.#clock = clock;
    this.#nodeId = nodeId;
    this.#leaseMs = leaseMs;
    this.#phaseSince = clock.now();
  }

  enter(phase: NodeState['phase']): void {
    this.#phase = phase;
    this.#phaseSince = this.#clock.now();
  }

  readiness(): Readiness {
    return readinessOf(
      {
        nodeId: this.#nodeId,
        phase: this.#phase,
        phaseSince: this.#phaseSince,
        ...this.breakers(),
        lease: this.store?.lease(),
        leaseMs: this.#leaseMs,
        stalled: this.running?.watch.stalled ?? [],
      },
      this.#clock,
    );
  }

  breakers(): Record<'nats' | 'postgres', Breaker> {
    return {
      nats: this.bus?.health ?? this.#never('nats'),
      postgres: this.store?.health() ?? this.#never('postgres'),
    };
  }

  leaseAgeMs(): number | undefined {
    return this.store?.lease()?.ageMs;
  }

  parts(): MetricsParts | undefined {
    const { store, running } = this;
    if (!store || !running) return undefined;
    const { ring, ownership, watch } = running;
    const { outbox, committer, timers, invocations } = ring;
    return {
      ownedShards: ownership.shards.size,
      parked: ownership.parked,
      stalledShards: watch.stalled.length,
      lag: watch.lag,
      timers: timers.size,
      mailbox: sum(ownership.shards.values()),
      invokes: { running: invocations.running, waiting: invocations.waiting },
      outbox: { held: outbox.held, ...outbox.counts },
      commits: committer.counts,
      waiting: store.waiting(),
    };
  }

  #never(server: 'nats' | 'postgres'): Breaker {
    const error = this.waiting[server];
    return { state: 'open', since: this.#phaseSince, error, reconnects: 0 };
  }
}

function sum(shards: Iterable<{ mailboxSize: number }>): number {
  let items = 0;
  for (const { mailboxSize } of shards) items += mailboxSize;
  return items;
}
