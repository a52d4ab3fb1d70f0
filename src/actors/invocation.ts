import type { AnyActorRef, EventObject } from 'xstate';
import type { Clock } from '../clock.ts';
import type { Address } from '../store/store.ts';
import type { StoreTransaction } from '../store/userTransaction.ts';
import { Attempt, infoOf, type WaitForOutcome } from './attempt.ts';
import type { Lease } from './lease.ts';
import type { Tracing } from './tracing.ts';
import type { Transactions } from './transactions.ts';

/** What a promise's logic can learn about the attempt it is. */
export interface InvocationInfo {
  /** `type/id/invokeId/seq`: the same on every attempt and after every crash; new when the state is entered again. */
  readonly idempotencyKey: string;
  /** Which try this is, from 1. Never part of the key. */
  readonly attempt: number;
  /** `type/id` of the actor that invokes. */
  readonly actor: string;
}

/**
 * From inside `fromPromise(async ({ input, self, signal }) => …)`: `invocation(self).idempotencyKey`. Under a plain
 * `createActor` it answers with the promise actor's own id, so that machines stay testable without Perdure.
 */
export function invocation(self: AnyActorRef): InvocationInfo {
  return infoOf(self) ?? { idempotencyKey: self.id, attempt: 1, actor: self.id };
}

/** How an attempt ended. */
export type Outcome =
  | {
      ok: true;
      output: unknown;
      /** What the step this causes is committed in; abandoned by whoever does not take that step. */
      transaction?: StoreTransaction | undefined;
    }
  | { ok: false; error: unknown };

export interface InvocationRequest {
  address: Address;
  invokeId: string;
  /** The transition that started it. */
  seq: number;
  /** The snapshot's child: its logic and input say what to run, which sees it as `self`. */
  child: ChildRef;
  attempt: number;
  /** Wait before the attempt, ms. */
  delayMs: number;
  timeoutMs: number | undefined;
  /** Encoded results of the steps that earlier attempts have finished, by name. */
  steps: Readonly<Record<string, string>>;
  /** The transition that started it, as a trace. */
  trace?: string | undefined;
  /** It began, or was due, in the hands of an earlier owner of the shard. */
  resumed?: boolean;
}

/** A child as XState keeps it in a snapshot. */
export type ChildRef = AnyActorRef & {
  src: unknown;
  logic: { config: (args: object) => unknown };
  getSnapshot(): { input?: unknown };
};

/** Where what an attempt tells goes. */
export interface Listener {
  settled(outcome: Outcome): void;
  /** An event for the actor. */
  sent(eventId: string, event: EventObject): void;
  /** A value of an observable. */
  next(eventId: string, value: unknown): void;
  /** A step of its work is done; `recorded` hears when that cannot be forgotten any more, or why it was refused. */
  stepped(name: string, result: string, recorded: (refused: Error | undefined) => void): void;
}

/** One running (or waiting) attempt. */
export interface Invocation {
  readonly key: string;
  readonly attempt: number;
  /** The transition that started it, as a trace; and the attempt itself, once it runs and while tracing is on. */
  readonly startedBy: string | undefined;
  readonly trace: string | undefined;
  /** How long the attempt has run, ms; until now when it has not ended. */
  readonly ranMs: number;
  /** Set once the attempt ended and nobody has taken the result into a commit yet. */
  readonly outcome: Outcome | undefined;
  /** It ends only when it is left: nobody waits for that. */
  readonly isOpenEnded: boolean;
  /** The shard was opened again and keeps what runs: from now on this one is told, also what has not been taken. */
  listen(listener: Listener): void;
  /** An event from the actor; dropped unless it is a callback that runs. */
  tell(event: EventObject): void;
  /** What it sent as this event is recorded. */
  taken(eventId: string): void;
  /** Aborts the promise's signal, disposes of a callback, unsubscribes; the result is dropped. */
  abort(): void;
}

export interface InvocationSettings {
  /** Promises that run at once. */
  max: number;
  /** Events of one child that wait for its actor. */
  sentMax: number;
  outcome: WaitForOutcome;
  transactions: Transactions;
  tracing?: Tracing | undefined;
}

/**
 * Runs the promises of invokes, at most `max` at once; the others wait in order. It knows nothing of commits: an
 * attempt is started by a committed transition, and its result goes back into the ring as an event.
 */
export class Invocations {
  readonly #clock: Clock;
  readonly #settings: InvocationSettings;
  readonly #lease: Lease;
  #waiting: Attempt[] = [];
  #next = 0;
  #running = 0;

  constructor(clock: Clock, lease: Lease, settings: InvocationSettings) {
    this.#clock = clock;
    this.#lease = lease;
    this.#settings = settings;
  }

  /** Attempts that run. */
  get running(): number {
    return this.#running;
  }

  /** Attempts that wait until fewer run. */
  get waiting(): number {
    return this.#waiting.length - this.#next;
  }

  start(request: InvocationRequest, listener: Listener): Invocation {
    const attempt = new Attempt(this.#clock, request, listener, this.#settings, this.#release);
    if (request.delayMs > 0) attempt.after(request.delayMs, () => this.#admit(attempt));
    else this.#admit(attempt);
    return attempt;
  }

  #admit(attempt: Attempt): void {
    // Others may speak for the actor by now. When they do, the attempt has been aborted once the lease holds again.
    if (!this.#lease.holds) return void this.#lease.held().then(() => this.#admit(attempt));
    // It would keep its place for ever, and others from theirs.
    if (attempt.isOpenEnded) return attempt.run();
    if (this.#running >= this.#settings.max) {
      this.#waiting.push(attempt);
      return;
    }
    this.#running++;
    attempt.run();
  }

  readonly #release = (): void => {
    this.#running--;
    while (this.#next < this.#waiting.length && this.#running < this.#settings.max) {
      const attempt = this.#waiting[this.#next++] as Attempt;
      if (attempt.isOver) continue;
      this.#running++;
      attempt.run();
    }
    if (this.#next === this.#waiting.length) {
      this.#waiting = [];
      this.#next = 0;
    }
  };
}
