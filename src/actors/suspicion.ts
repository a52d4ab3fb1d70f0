import { sleep } from '../clock.ts';
import { asError } from '../errors.ts';
import { type OpenedShard, QUARANTINE_AFTER, SUSPECT_AFTER } from '../store/store.ts';
import type { Refusal } from './intake.ts';
import type { Item } from './mailbox.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';
import { epochOf } from './trials.ts';

type Timer = Extract<Item, { kind: 'timer' }>;
type Message = Extract<Item, { kind: 'message' }>;

/**
 * Owners of this shard died one after the other without getting on: one of the messages or timers they began with may
 * be what kills them. Each is tried alone, marked in Postgres before, until enough have stood it. The message that
 * was marked when the fifth one died becomes a dead letter (G9).
 */
export class Suspicion {
  readonly #ring: Ring;
  readonly #shard: Shard;
  readonly #opened: OpenedShard;
  readonly #wake: () => void;
  readonly #timers: Timer[] = [];
  readonly #endsAt: number;
  #left: number;
  #asked = false;
  #granted = false;

  constructor(ring: Ring, shard: Shard, opened: OpenedShard, wake: () => void) {
    this.#ring = ring;
    this.#shard = shard;
    this.#opened = opened;
    this.#wake = wake;
    this.#left = opened.crashes >= SUSPECT_AFTER ? ring.limits.shardPendingMax : 0;
    this.#endsAt = ring.clock.monotonic() + CALM_MS;
    if (opened.crashes > 0) ring.clock.after(FORGIVE_MS, () => this.#forgive());
    if (!this.active) return;
    const { shard: number, crashes, suspectSeq } = opened;
    ring.log.warn({ shard: number, crashes, suspectSeq }, 'shard: its owners died in a row');
    ring.clock.after(CALM_MS, wake);
  }

  get active(): boolean {
    return this.#left > 0;
  }

  /** Whether it keeps the item for its trial. */
  keeps(item: Item): boolean {
    if (!this.active || item.kind !== 'timer') return false;
    this.#timers.push(item);
    return true;
  }

  /** The item whose turn it is, marked; undefined when none is, or others are being tried. */
  async next(takeMessage: () => Message | undefined, waiting: number): Promise<Item[]> {
    if (waiting === 0 && this.#timers.length === 0) {
      this.#granted = false;
      if (this.#ring.clock.monotonic() >= this.#endsAt) this.#end();
      return [];
    }
    if (!this.#granted) {
      this.#ask();
      return [];
    }
    const item = this.#timers.shift() ?? takeMessage();
    if (item) await this.#mark(item);
    this.#granted = false;
    if (item?.kind === 'message' && --this.#left === 0) this.#end();
    return item ? [item] : [];
  }

  /** Why the message is not even read; undefined for any other one. */
  refusal(seq: number): Refusal | undefined {
    const { crashes, suspectSeq } = this.#opened;
    if (seq !== suspectSeq || crashes < QUARANTINE_AFTER) return undefined;
    const detail = `${crashes} nodes died in a row when they came to this message.`;
    return { ok: false, reason: 'event_quarantined', detail, outboxId: null };
  }

  async #mark(item: Timer | Message): Promise<void> {
    const { store, nodeId } = this.#ring;
    if (item.kind === 'message')
      await store.tryMessage(nodeId, epochOf(this.#shard), item.message.seq);
    else await store.tryActor(nodeId, epochOf(this.#shard), item.address, true);
  }

  #ask(): void {
    if (this.#asked) return;
    this.#asked = true;
    this.#ring.trials.step(async () => {
      this.#granted = true;
      this.#wake();
      while (!this.#shard.closed && (this.#granted || this.#shard.isUnderWay))
        await sleep(this.#ring.clock, LOOK_EVERY_MS);
      this.#asked = false;
      this.#wake();
    });
  }

  #end(): void {
    this.#left = 0;
    for (const timer of this.#timers.splice(0)) this.#shard.post(timer);
    const { store, nodeId } = this.#ring;
    this.#note(store.tryMessage(nodeId, epochOf(this.#shard), null));
  }

  /** An owner that has lived this long has not died of what it began with. */
  #forgive(): void {
    const { store, nodeId } = this.#ring;
    if (!this.#shard.closed) this.#note(store.forgive(nodeId, epochOf(this.#shard)));
  }

  #note(written: Promise<void>): void {
    written.catch((error) =>
      this.#ring.log.warn({ error: asError(error).message }, 'shard: suspicion not cleared'),
    );
  }
}

/** Without anything left to try for this long after the opening, nothing is suspected any more. */
const CALM_MS = 10_000;
const LOOK_EVERY_MS = 5;
const FORGIVE_MS = 60_000;
