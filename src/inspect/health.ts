import type { StalledShard } from '../actors/stallWatch.ts';
import { type Clock, systemClock } from '../clock.ts';

/** What a node can tell about itself; nothing here asks a server. */
export interface NodeState {
  nodeId: string;
  phase: 'starting' | 'started' | 'draining';
  /** Since when it is in this phase. All times are wall time, ms since 1970. */
  phaseSince: number;
  /** Why it could not be reached, before it was reached for the first time; then the breaker's own account. */
  nats: Breaker;
  postgres: Breaker;
  lease: { ageMs: number; since: number } | undefined;
  leaseMs: number;
  stalled: readonly StalledShard[];
}

/** A supervised connection: `closed` works, `open` waits for its next try, `half-open` tries. */
export interface Breaker {
  state: 'closed' | 'open' | 'half-open';
  since: number;
  error: string | null;
  reconnects: number;
}

/** One thing that must be well before a node is ready. */
interface Part {
  ok: boolean;
  state: string;
  /** ISO 8601. */
  since: string;
  /** The last one there was, also when all is well again. */
  lastError: string | null;
}

/** Body of `/readyz`. */
export interface Readiness {
  ready: boolean;
  node: string;
  parts: Record<'node' | 'lease' | 'nats' | 'postgres', Part>;
  /** Shards that stand still; the node is ready nevertheless, the others move. */
  degraded: readonly StalledShard[];
}

/** Whether a node takes part: started, lease held, both servers reached, not draining. */
export function readinessOf(state: NodeState, clock: Clock = systemClock): Readiness {
  const { phase } = state;
  const parts = {
    node: part(phase === 'started', phase, state.phaseSince, null),
    lease: leasePart(state, clock),
    nats: breakerPart(state.nats),
    postgres: breakerPart(state.postgres),
  };
  return {
    ready: Object.values(parts).every(({ ok }) => ok),
    node: state.nodeId,
    parts,
    degraded: state.stalled,
  };
}

function leasePart({ lease, leaseMs, phaseSince }: NodeState, clock: Clock): Part {
  if (!lease) return part(false, 'none', phaseSince, null);
  const { ageMs, since } = lease;
  if (ageMs < leaseMs) return part(true, 'held', since, null);
  const over = clock.now() - (ageMs - leaseMs);
  return part(false, 'lost', over, `not renewed for ${Math.round(ageMs)} ms`);
}

const breakerPart = ({ state, since, error }: Breaker): Part =>
  part(state === 'closed', state, since, error);

function part(ok: boolean, state: string, since: number, lastError: string | null): Part {
  return { ok, state, since: new Date(since).toISOString(), lastError };
}
