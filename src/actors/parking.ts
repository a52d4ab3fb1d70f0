import type { ParkedActor } from '../store/elsewhere.ts';
import { addressKey } from '../store/store.ts';
import { needOf, type Others } from './others.ts';
import type { ParkedMessage } from './parkedMessage.ts';

/**
 * What one shard keeps for other nodes while this one owns it, and for actors that are paused.
 *
 *  K1  A message for an actor that has parked messages is parked behind them (G5).
 *  K2  What is parked is taken once in an opening, before the log is read. What cannot be done then stays until the
 *      shard is opened again, here or elsewhere.
 *      What waits for a paused actor is not looked at; once that is resumed the shard is opened again.
 *  K3  The row goes with the commit that applies the message or makes it a dead letter, never without (G1).
 */
export class Parking {
  readonly #others: Others;
  readonly #max: number;
  /** By actor, what is parked for it. */
  readonly #actors = new Map<string, { messages: number; since: number; paused: boolean }>();
  /** Actors whose parked messages have been looked at and stay. */
  readonly #staying = new Set<string>();
  /** Actors that were tried in this opening, and could not be opened. */
  readonly #leftAlone = new Set<string>();
  /**
   * Actors that were resumed in this opening, or paused without being in memory, and whether they are paused now: a row
   * that was read before may say something else.
   */
  readonly #told = new Map<string, boolean>();
  readonly #needs = new Set<string>();
  /** Versions that could be migrated here, were they not known elsewhere. */
  readonly #kept = new Map<string, [type: string, version: string]>();
  #messages = 0;
  /** Parked messages in the mailbox. */
  #taking = 0;

  constructor(others: Others, max: number) {
    this.#others = others;
    this.#max = max;
  }

  /** What the shard held when it was opened. Returns whether there is something in it to be done here. */
  open(parked: readonly ParkedActor[]): boolean {
    for (const actor of parked) {
      const key = addressKey(actor);
      this.#messages += actor.messages;
      const { messages, since, paused } = actor;
      this.#actors.set(key, { messages, since, paused });
      if (!paused && this.#others.areNotNeededFor(actor.type, actor.version)) continue;
      this.#staying.add(key);
      if (paused) continue;
      this.lacks(actor.type, actor.version);
    }
    return this.#staying.size < this.#actors.size;
  }

  get messages(): number {
    return this.#messages;
  }

  /** When the oldest of those that wait for another node was parked, on the database clock, ms since 1970. */
  get since(): number | undefined {
    let oldest: number | undefined;
    for (const { since, paused } of this.#actors.values())
      if (!paused) oldest = Math.min(since, oldest ?? since);
    return oldest;
  }

  /** Some of what is parked could be tried at any time, by another node if not by this one. */
  get leavesSome(): boolean {
    for (const { paused } of this.#actors.values()) if (!paused) return true;
    return false;
  }

  get isFull(): boolean {
    return this.#messages >= this.#max;
  }

  /** Whether a message of the log has to wait behind others; a parked one: behind some that stay. */
  isBehind(key: string, parked: boolean): boolean {
    return parked ? this.#staying.has(key) : this.#actors.has(key);
  }

  /** Another message is parked; for an actor that is paused, or for another node. */
  add(key: string, at: number, paused: boolean): void {
    const { messages, since } = this.#actors.get(key) ?? { messages: 0, since: at };
    this.#actors.set(key, { messages: messages + 1, since, paused });
    this.#messages++;
  }

  /** What the actor was told last in this opening; undefined: what is known of it holds. */
  told(key: string): boolean | undefined {
    return this.#told.get(key);
  }

  /** The actor is told; `isHere`: in memory, where that is known until it can be read from its row. */
  pause(key: string, paused: boolean, isHere: boolean): void {
    if (!paused || !isHere || this.#told.has(key)) this.#told.set(key, paused);
    const waits = this.#actors.get(key);
    if (waits) waits.paused = paused;
  }

  /** Posted to the mailbox. */
  posted(messages: number): void {
    this.#taking += messages;
  }

  get isTaking(): boolean {
    return this.#taking > 0;
  }

  /** A parked message was taken, and stays. */
  stays({ key }: ParkedMessage): void {
    this.#taking--;
    this.#staying.add(key);
  }

  /** A parked message was taken, and is done with. */
  leaves({ key }: ParkedMessage): void {
    this.#taking--;
    this.#messages--;
    const left = this.#actors.get(key);
    if (left && left.messages > 1) left.messages--;
    else this.#actors.delete(key);
  }

  /** Nobody here can open the actor: not tried again before the shard is opened again, or a message comes for it. */
  leaveAlone(key: string): void {
    this.#leftAlone.add(key);
  }

  isLeftAlone(key: string): boolean {
    return this.#leftAlone.has(key);
  }

  /** A message has come for the actor, and there is none it would have to wait for. */
  tryAgain(key: string): void {
    if (!this.#actors.has(key)) this.#leftAlone.delete(key);
  }

  /** Somebody else is needed for this. */
  lacks(type: string, version: string | null): void {
    this.#needs.add(needOf(type, version));
    if (version !== null && this.#others.keep(type, version))
      this.#kept.set(needOf(type, version), [type, version]);
  }

  /** What cannot be done here. */
  get needs(): ReadonlySet<string> {
    return this.#needs;
  }

  /** Whoever a version was left to is gone, and this node can migrate it. */
  get canGoOn(): boolean {
    for (const [type, version] of this.#kept.values())
      if (this.#others.areNotNeededFor(type, version)) return true;
    return false;
  }
}
