import { subjects } from '../bus/subjects.ts';
import type { Cancel } from '../clock.ts';
import { asError } from '../errors.ts';
import type { Ownership } from './ownership.ts';
import type { Ring } from './ring.ts';

/**
 * The slow rounds of a node: idle actors leave memory, timers come into the horizon, stale outbox rows are published
 * again, the log is trimmed. Returns the way to stop.
 */
export function startUpkeep(ring: Ring, ownership: Ownership): () => void {
  const { clock, limits, log } = ring;
  const cancels = new Map<string, Cancel>();
  let stopped = false;
  const every = (name: string, periodMs: number, work: () => void | Promise<void>) => {
    const turn = async () => {
      try {
        await work();
      } catch (error) {
        if (!stopped)
          log.warn({ round: name, error: asError(error).message }, 'upkeep: round failed');
      }
      if (!stopped)
        cancels.set(
          name,
          clock.after(periodMs, () => void turn()),
        );
    };
    cancels.set(
      name,
      clock.after(periodMs, () => void turn()),
    );
  };
  const owned = () => [...ownership.shards.keys()];

  every('passivate', Math.min(1_000, limits.passivateAfterMs), () => {
    const full = ring.load.residents > limits.residentsMax;
    for (const shard of ownership.shards.values()) shard.passivate(full);
  });
  every('pulse', PULSE_MS, () => {
    ring.bus.broadcast(subjects.nodes(ring.namespace), ring.pulse.take(ring.load.types));
  });
  every('timers', limits.timerHorizonMs / 3, async () => {
    const { at, timers } = await ring.store.nearTimers(owned(), limits.timerHorizonMs);
    ring.timers.observe(at);
    for (const timer of timers) if (ownership.shards.has(timer.shard)) ring.timers.add(timer);
  });
  every('outbox', limits.outboxRepublishMs / 3, async () => {
    const rows = await ring.store.staleOutbox(owned(), limits.outboxRepublishMs, STALE_MAX);
    ring.outbox.relayAgain(rows, rows.length < STALE_MAX);
  });
  every('log', LOG_ROUND_MS, async () => {
    const passed: { shard: number; seq: number }[] = [];
    for (const shard of ownership.shards.values()) {
      const seq = await shard.passed();
      if (seq !== undefined) passed.push({ shard: shard.number, seq });
    }
    const seq = await ring.store.markLog(passed, limits.replayWindowMs);
    if (seq > 0) await ring.bus.trimLog(seq);
  });

  return () => {
    stopped = true;
    for (const cancel of cancels.values()) cancel();
  };
}

/** Stale rows that are read at once: after a long outage there may be any number. */
const STALE_MAX = 10_000;
const LOG_ROUND_MS = 30_000;
const PULSE_MS = 1_000;
