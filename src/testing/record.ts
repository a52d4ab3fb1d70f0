import { parse } from '../actors/codec.ts';
import { MemoryStore } from '../store/memory.ts';
import type { ActorState, DeadLetterState } from '../store/memoryTables.ts';
import { type Address, addressKey, type Origin } from '../store/store.ts';

/** One committed transition. */
export interface HistoryEntry {
  seq: number;
  /** As the machine got it; the first is `xstate.init`. */
  event: { type: string; [key: string]: unknown };
  /** State values; `from` is null for the first transition. */
  from: unknown;
  to: unknown;
  /** Who caused it. */
  origin: Origin;
  /** When, virtual time, ms since 1970. */
  at: number;
}

/** A timer that is armed. */
export interface TimerEntry {
  /** `xstate.after.1000.order.open` for an `after`; the id of a delayed `raise` or `sendTo`. */
  id: string;
  /** Left until it is due, ms. */
  inMs: number;
}

/** A message nobody could act on. */
export interface DeadLetter {
  reason: string;
  detail: string;
  /** `events.order.o-1` */
  subject: string;
  messageId: string | null;
  /** As it was published. */
  body: string;
}

/** The store, with its tables in sight. */
export class RecordStore extends MemoryStore {
  row(address: Address): (ActorState & { snapshot: string }) | undefined {
    const row = this.tables.actors.get(addressKey(address));
    return row && { ...row, snapshot: this.snapshotOf(row) as string };
  }

  historyOf(address: Address): HistoryEntry[] {
    const rows = this.tables.transitions.get(addressKey(address)) ?? [];
    return rows.map(({ seq, event, fromState, toState, origin, at }) => ({
      seq,
      event: parse(event) as HistoryEntry['event'],
      from: fromState === null ? null : JSON.parse(fromState),
      to: JSON.parse(toState),
      origin,
      at,
    }));
  }

  timersOf({ type, id }: Address): TimerEntry[] {
    return [...this.tables.timers.values()]
      .filter((timer) => timer.type === type && timer.id === id)
      .sort((a, b) => a.fireAt - b.fireAt || a.position - b.position)
      .map(({ timerId, fireAt }) => ({ id: timerId, inMs: fireAt - this.clock.now() }));
  }

  allDeadLetters(): DeadLetter[] {
    return [...this.tables.deadLetters.values()].map(told);
  }

  /** Deadline of the next timer after `now`. */
  nextTimerAt(now: number): number | undefined {
    let next: number | undefined;
    for (const { fireAt } of this.tables.timers.values())
      if (fireAt > now && (next === undefined || fireAt < next)) next = fireAt;
    return next;
  }

  /** Shards as they are owned now. */
  ownedBy(nodeId: string): { shard: number; epoch: number }[] {
    return this.tables.shards.filter(({ owner }) => owner === nodeId);
  }
}

const told = ({ reason, detail, subject, messageId, body }: DeadLetterState): DeadLetter => ({
  reason,
  detail,
  subject,
  messageId,
  body: Buffer.from(body).toString(),
});
