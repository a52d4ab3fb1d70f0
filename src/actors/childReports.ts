import type { EventObject } from 'xstate';
import { PerdureError } from '../errors.ts';
import { eventKey } from '../store/store.ts';
import { endAttempt, retryDelay, startAttempt } from './attempts.ts';
import type { Batch } from './batch.ts';
import { type Child, isWatched, show, snapshotEvent } from './children.ts';
import { checkRefs, errorSummary, parse, stringify, writeEvent } from './codec.ts';
import { idempotencyKey } from './effects.ts';
import { eventProblem, type Request } from './intake.ts';
import type { Outcome } from './invocation.ts';
import type { Item } from './mailbox.ts';
import type { Resident } from './resident.ts';
import { doneType, resultText } from './results.ts';
import { loadOf, type Ring } from './ring.ts';
import type { Shard } from './shard.ts';
import type { Cause } from './taker.ts';

type Of<K extends Item['kind']> = Extract<Item, { kind: K }>;

/**
 * Takes what children that run report: results, events, values, finished steps of their work. What was reported by an
 * attempt that has been left since belongs to nobody.
 */
export class ChildReports {
  readonly #ring: Ring;
  readonly #shard: Shard;
  readonly #step: (batch: Batch, resident: Resident, event: EventObject, cause: Cause) => void;

  constructor(
    ring: Ring,
    shard: Shard,
    step: (batch: Batch, resident: Resident, event: EventObject, cause: Cause) => void,
  ) {
    this.#ring = ring;
    this.#shard = shard;
    this.#step = step;
  }

  settled(batch: Batch, resident: Resident, item: Of<'settled'>): void {
    const { invokeId, seq, outcome } = item;
    const transaction = outcome.ok ? outcome.transaction : undefined;
    if (!isCurrent(resident, item)) return transaction?.abandon();
    const running = resident.invocations.get(invokeId);
    const attempt = running?.attempt ?? 1;
    endAttempt(this.#ring, resident, invokeId, false);
    batch.reports = true;
    // What goes with a transaction is lost with it, and is done again.
    if (running?.outcome === outcome && !transaction) batch.settled(running);
    if (!outcome.ok) {
      const { clock, load, timers } = this.#ring;
      loadOf(load, resident.address.type).failedAttempts++;
      const child = resident.live?.snapshot.children[invokeId];
      const delayMs = retryDelay(clock, resident.type, child, attempt, outcome.error);
      if (delayMs !== undefined) {
        const nextAt = Math.round(timers.databaseTime() + delayMs);
        const error = errorSummary(outcome.error);
        const before = resident.retries[invokeId];
        resident.retry(invokeId, { ...before, attempt: attempt + 1, nextAt, error });
        batch.row(resident);
        batch.failedAttempt({
          ...resident.address,
          ...{ startedSeq: seq, invokeId, attempt, ranMs: running?.ranMs ?? 0 },
          error: JSON.stringify(error),
        });
        batch.afterwards.push(() => {
          if (resident.live?.started[invokeId] === seq)
            startAttempt(
              this.#ring,
              this.#shard,
              resident,
              invokeId,
              attempt + 1,
              delayMs,
              running?.startedBy,
            );
        });
        return;
      }
    }
    const text = resultText(this.#ring.limits, invokeId, outcome);
    const event = parse(text) as EventObject;
    const done = doneType(invokeId);
    // The text that is shared is the one that waits for the commit.
    const eventType = event.type === done ? done : event.type;
    const cause: Cause = { eventType, text, eventId: null, origin: 'invoke' };
    if (running?.trace !== undefined) cause.traced = { trace: running.trace };
    if (transaction && isDone(event)) {
      const key = idempotencyKey(resident.address, invokeId, seq);
      this.#shard.alone({ transaction, key }, (own) => this.#step(own, resident, event, cause));
    } else {
      // An output that cannot be kept is a failure, and a failure leaves nothing behind.
      transaction?.abandon();
      this.#step(batch, resident, event, cause);
    }
  }

  /** What an invoke has asked another actor has an answer, which is its result if it still waits. */
  answered(batch: Batch, resident: Resident, { address, answers, value }: Request): undefined {
    const { invoke, refused } = answers as NonNullable<Request['answers']>;
    const { id: invokeId, seq } = invoke;
    const outcome: Outcome = refused ? { ok: false, error: value } : { ok: true, output: value };
    this.settled(batch, resident, { kind: 'settled', address, invokeId, seq, outcome });
  }

  /** A callback or an observable has an event for its actor. */
  sent(batch: Batch, resident: Resident, item: Of<'sent'>, known: ReadonlySet<string>): void {
    if (!this.#isNews(batch, resident, item, known)) return;
    this.#orEnd(batch, resident, item, () => {
      const problem = eventProblem(item.event);
      if (problem)
        throw new PerdureError('bad_event', `${item.invokeId} sent what is no event. ${problem}`);
      this.#fromChild(batch, resident, item.eventId, item.event);
    });
  }

  /** An observable has a value. */
  next(batch: Batch, resident: Resident, item: Of<'next'>, known: ReadonlySet<string>): void {
    if (!this.#isNews(batch, resident, item, known)) return;
    const child = resident.live?.snapshot.children[item.invokeId] as Child | undefined;
    if (!child) return;
    this.#orEnd(batch, resident, item, () => {
      // What cannot be written down is no value of a durable actor.
      const text = stringify(item.value, `value of ${item.invokeId}`, this.#ring.limits.nestingMax);
      checkRefs(text);
      show(child, item.value === undefined ? undefined : parse(text));
      if (isWatched(child)) this.#fromChild(batch, resident, item.eventId, snapshotEvent(child));
    });
  }

  /** A step of an invoke's work is done: it is told once that is recorded. */
  stepped(batch: Batch, resident: Resident, item: Of<'stepped'>): void {
    const { invokeId, name, result } = item;
    if (!isCurrent(resident, item)) return;
    const before = resident.retries[invokeId] ?? { attempt: 1, nextAt: 0 };
    const steps = { ...before.steps, [name]: result };
    const { snapshotMaxBytes } = this.#ring.limits;
    const bytes = Buffer.byteLength(JSON.stringify(steps));
    if (bytes > snapshotMaxBytes)
      return item.recorded(
        new PerdureError(
          'snapshot_too_large',
          `The results of the steps of ${invokeId} have ${bytes} bytes; at most ${snapshotMaxBytes} are kept. Put large data elsewhere and return its key.`,
        ),
      );
    resident.retry(invokeId, { ...before, steps });
    batch.row(resident);
    batch.someoneWaits = true;
    batch.reports = true;
    batch.afterwards.push(() => item.recorded(undefined));
  }

  /** Whether it is the attempt of now that tells, and for the first time. It is told when that is recorded. */
  #isNews(
    batch: Batch,
    resident: Resident,
    item: Of<'sent' | 'next'>,
    known: ReadonlySet<string>,
  ): boolean {
    if (!isCurrent(resident, item)) return false;
    const running = resident.invocations.get(item.invokeId);
    batch.afterwards.push(() => running?.taken(item.eventId));
    const { address, eventId } = item;
    return !resident.hasTaken(eventId) && !known.has(eventKey({ ...address, eventId }));
  }

  #fromChild(batch: Batch, resident: Resident, eventId: string, sent: EventObject): void {
    const text = writeEvent(sent, this.#ring.limits);
    checkRefs(text);
    const event = parse(text) as EventObject;
    this.#step(batch, resident, event, { eventType: event.type, text, eventId, origin: 'child' });
  }

  /** A child that told what no row can hold tells nothing more. */
  #orEnd(batch: Batch, resident: Resident, item: Of<'sent' | 'next'>, take: () => void): void {
    try {
      take();
    } catch (error) {
      const { address, invokeId, seq } = item;
      resident.invocations.get(invokeId)?.abort();
      const outcome = { ok: false as const, error };
      this.settled(batch, resident, { kind: 'settled', address, invokeId, seq, outcome });
    }
  }
}

const isDone = ({ type }: EventObject) => type.startsWith('xstate.done.');

const isCurrent = ({ live }: Resident, { invokeId, seq }: { invokeId: string; seq: number }) =>
  live?.started[invokeId] === seq;
