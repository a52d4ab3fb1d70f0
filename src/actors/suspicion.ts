import { sleep } from '../clock.ts';
import { asError } from '../errors.ts';
import type { OpenedShard } from '../store/sharing.ts';
import { QUARANTINE_AFTER, SUSPECT_AFTER } from '../store/store.ts';
import type { Refusal } from './intake.ts';
import type { Item, Message } from './mailbox.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';
import { epochOf } from './trials.ts';

type Timer = Extract<Item, { kind: 'timer' }>;

/**
 * Owners of this shard died one after the other, or Postgres refused their commits, without getting on: one of the messages or timers they began with may
 * be what kills them. After one death, no more messages are taken than one turn holds before they are committed, so
 * that whatever kills in them is among the first. After more, each of these is tried alone, marked in Postgres before.
 * The message that was marked when the fifth owner died becomes a dead letter (G9).
 */
export class Suspicion {
  readonly #ring: Ring;
  readonly #shard: Shard;
  readonly #pump: Turning;
  readonly #opened: OpenedShard;
  readonly #timers: Timer[] = [];
  readonly #endsAt: number;
  #trial: 'none' | 'asked' | 'granted' | 'taken' = 'none';
  /** Messages still to be tried. */
  #left: number;
  #over: boolean;

  constructor(ring: Ring, shard: Shard, pump: Turning, opened: OpenedShard) {
    this.#ring = ring;
    this.#shard = shard;
    this.#pump = pump;
    this.#opened = opened;
    this.#left = ring.limits.shardIntakeMax;
    this.#over = opened.crashes === 0;
    this.#endsAt = ring.clock.monotonic() + CALM_MS;
    if (this.#over) return;
    ring.clock.after(FORGIVE_MS, () => this.#forgive());
    ring.clock.after(CALM_MS, () => pump.wake());
    if (!this.#triesEach) return;
    const { shard: number, epoch, crashes, suspectSeq } = opened;
    ring.log.warn({ shard: number, epoch, crashes, suspectSeq }, 'shard: its owners died in a row');
  }

  get active(): boolean {
    return !this.#over;
  }

  get #triesEach(): boolean {
    return this.#opened.crashes >= SUSPECT_AFTER;
  }

  /** Whether it keeps the item for its trial. */
  keeps(item: Item): boolean {
    if (this.#over || !this.#triesEach || item.kind !== 'timer') return false;
    this.#timers.push(item);
    return true;
  }

  /** The items whose turn it is, marked when tried alone; none while others are being tried. */
  async next(takeMessages: (max: number) => Message[], waiting: number): Promise<Item[]> {
    if (waiting === 0 && this.#timers.length === 0) {
      if (this.#trial === 'granted') this.#trial = 'taken';
      if (this.#ring.clock.monotonic() >= this.#endsAt) this.#end();
      return [];
    }
    if (this.#trial === 'none') this.#ask();
    if (this.#trial !== 'granted') return [];
    this.#trial = 'taken';
    const timer = this.#timers.shift();
    const items = timer ? [timer] : takeMessages(this.#triesEach ? 1 : this.#left);
    if (!timer) this.#left -= items.length;
    if (this.#triesEach) for (const item of items) await this.#mark(item);
    return items;
  }

  /** Why the message is not even read; undefined for any other one. */
  refusal(seq: number): Refusal | undefined {
    const { crashes, suspectSeq } = this.#opened;
    if (seq !== suspectSeq || crashes < QUARANTINE_AFTER) return undefined;
    const detail = `${crashes} times in a row a node died, or Postgres refused its commit, when it came to this message.`;
    return { ok: false, reason: 'event_quarantined', detail, outboxId: null };
  }

  #mark(item: Timer | Message): Promise<void> {
    const { marks } = this.#ring;
    const opened = epochOf(this.#shard);
    return item.kind === 'message'
      ? marks.message({ ...opened, seq: item.message.seq })
      : marks.actor({ ...opened, ...item.address, onTrial: true });
  }

  #ask(): void {
    this.#trial = 'asked';
    if (!this.#triesEach) return void this.#try();
    // Those behind the message that was marked have not been seen to kill anybody.
    const isFirst = this.#left === this.#ring.limits.shardIntakeMax || this.#timers.length > 0;
    const crashes = isFirst ? this.#opened.crashes : SUSPECT_AFTER;
    this.#ring.trials.step(crashes, () => this.#try());
  }

  /** Ends when what was taken has been committed. */
  async #try(): Promise<void> {
    this.#trial = 'granted';
    this.#pump.wake();
    while (!this.#shard.closed && this.#isTrying) await sleep(this.#ring.clock, LOOK_EVERY_MS);
    this.#trial = 'none';
    if (this.#left === 0 && this.#timers.length === 0) this.#end();
    this.#pump.wake();
  }

  get #isTrying(): boolean {
    return this.#trial === 'granted' || this.#pump.isTurning || this.#shard.isUnderWay;
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    for (const timer of this.#timers.splice(0)) this.#shard.post(timer);
    if (!this.#triesEach || this.#shard.closed || this.#leavesSome) return;
    this.#note(this.#ring.marks.message({ ...epochOf(this.#shard), seq: null }));
  }

  /** An owner that has lived this long has not died of what it began with. */
  #forgive(): void {
    const { store, nodeId } = this.#ring;
    if (!this.#shard.closed && !this.#leavesSome)
      this.#note(store.forgive(nodeId, epochOf(this.#shard)));
  }

  /** Others have died of what they began with, and that may be parked: this owner does not try it. */
  get #leavesSome(): boolean {
    return this.#shard.parking.leavesSome;
  }

  #note(written: Promise<void>): void {
    written.catch((error) =>
      this.#ring.log.warn(
        { ...this.#shard.place, error: asError(error).message },
        'shard: suspicion not cleared',
      ),
    );
  }
}

/** The loop that asks what may be taken. */
interface Turning {
  readonly isTurning: boolean;
  wake(): void;
}

/** Without anything left to try for this long after the opening, nothing is suspected any more. */
const CALM_MS = 10_000;
const LOOK_EVERY_MS = 5;
const FORGIVE_MS = 60_000;
