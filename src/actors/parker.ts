import type { LogMessage } from '../bus/bus.ts';
import { addressKey, type StoredActor } from '../store/store.ts';
import type { Batch } from './batch.ts';
import { frees, hasControl, type Refusal, type Request } from './intake.ts';
import { rootOf } from './kin.ts';
import { ParkedMessage } from './parkedMessage.ts';
import { holdsBack, isPaused } from './pausing.ts';
import { Resident } from './resident.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';

/** Says which messages wait, for another node or until their actor is resumed, and keeps them. */
export class Parker {
  readonly #ring: Ring;
  readonly #shard: Shard;

  constructor(ring: Ring, shard: Shard) {
    this.#ring = ring;
    this.#shard = shard;
  }

  /**
   * Whether the actor is paused, or another node is needed for it or for one before it. `isBroken`: another one would not
   * get on, either.
   */
  mustWait(
    message: LogMessage,
    read: Request,
    actor: Resident | StoredActor | undefined,
    isBroken: boolean,
  ): boolean {
    const { registry, others } = this.#ring;
    const { type } = read.address;
    const isParked = message instanceof ParkedMessage;
    const passes = actor && frees(read) && isPaused(this.#shard, actor);
    if (!passes) {
      if (this.#shard.parking.isBehind(addressKey(rootOf(read.address)), isParked)) return true;
      if (actor && holdsBack(this.#shard, actor)) return true;
    }
    if (actor instanceof Resident) return false;
    if (actor) {
      const isOpen = actor.status === 'active' && (!actor.quarantined || frees(read));
      return isOpen && (isParked || !isBroken);
    }
    const isStranger = registry.newest(type) === undefined && (isParked || others.knowType(type));
    if (isStranger) this.#shard.parking.lacks(type, null);
    return isStranger;
  }

  /**
   * Keeps it until a node can open the actor, or until that is resumed; false when there is no room. Nobody gets a reply
   * before it is applied.
   */
  park(
    batch: Batch,
    message: LogMessage,
    read: Request,
    actor: Resident | StoredActor | undefined,
  ): boolean {
    const { parking } = this.#shard;
    if (message instanceof ParkedMessage) {
      parking.stays(message);
      return true;
    }
    this.consume(batch, message, read);
    if (parking.isFull) return false;
    const { log, timers, load } = this.#ring;
    const root = rootOf(read.address);
    const key = addressKey(root);
    const paused = actor !== undefined && isPaused(this.#shard, actor);
    parking.add(key, timers.databaseTime(), paused);
    batch.park({ ...root, ...this.written(message) });
    load.parked++;
    log.debug({ actor: key, ...this.#shard.place, logSeq: message.seq }, 'message: parked');
    return true;
  }

  /** Its effect is in the batch. */
  consume(batch: Batch, message: LogMessage, { outboxId }: Request | Refusal): void {
    if (message instanceof ParkedMessage) {
      this.#shard.parking.leaves(message);
      batch.unpark({ logId: message.logId, logSeq: message.seq });
    } else batch.consumed(message);
    if (outboxId !== null) batch.delivered(outboxId);
  }

  /** A message as it is written down. */
  written(message: LogMessage) {
    return {
      logId: message instanceof ParkedMessage ? message.logId : this.#ring.source.id,
      logSeq: message.seq,
      subject: printable(message.subject),
      headers: JSON.stringify(message.headers()),
      body: message.body,
      messageId: message.messageId === null ? null : printable(message.messageId),
    };
  }
}

/** Postgres' text holds no NUL, and a log line no line breaks. */
export const printable = (text: string): string =>
  hasControl(text) ? text.replace(/\p{Cc}/gu, '\uFFFD') : text;
