import { type AnyActorRef, createEmptyActor } from 'xstate';
import type { Cancel, Clock } from '../clock.ts';
import { PerdureError } from '../errors.ts';
import { type Address, addressKey } from '../store/store.ts';
import { idempotencyKey } from './effects.ts';
import type { Lease } from './lease.ts';

/** What a promise's logic can learn about the attempt it is. */
export interface InvocationInfo {
  /** `type/id/invokeId/seq`: the same on every attempt and after every crash; new when the state is entered again. */
  readonly idempotencyKey: string;
  /** Which try this is, from 1. Never part of the key. */
  readonly attempt: number;
  /** `type/id` of the actor that invokes. */
  readonly actor: string;
}

const INFO = Symbol('perdure.invocation');

/**
 * From inside `fromPromise(async ({ input, self, signal }) => …)`: `invocation(self).idempotencyKey`. Under a plain
 * `createActor` it answers with the promise actor's own id, so that machines stay testable without Perdure.
 */
export function invocation(self: AnyActorRef): InvocationInfo {
  const info = (self as AnyActorRef & { [INFO]?: InvocationInfo })[INFO];
  return info ?? { idempotencyKey: self.id, attempt: 1, actor: self.id };
}

/** How an attempt ended. */
export type Outcome = { ok: true; output: unknown } | { ok: false; error: unknown };

export interface InvocationRequest {
  address: Address;
  invokeId: string;
  /** The transition that started it. */
  seq: number;
  /** The snapshot's child: its logic and input say what to run, and the promise sees it as `self`. */
  child: ChildRef;
  attempt: number;
  /** Wait before the attempt, ms. */
  delayMs: number;
  timeoutMs: number | undefined;
}

/** A promise child as XState keeps it in a snapshot. */
export type ChildRef = AnyActorRef & {
  src: unknown;
  logic: { config: PromiseCreator };
  getSnapshot(): { input?: unknown };
};

type PromiseCreator = (args: {
  input: unknown;
  self: AnyActorRef;
  system: unknown;
  signal: AbortSignal;
  emit: () => void;
}) => unknown;

/** One running (or waiting) attempt. */
export interface Invocation {
  readonly key: string;
  readonly attempt: number;
  /** Set once the attempt ended and nobody has taken the result into a commit yet. */
  readonly outcome: Outcome | undefined;
  /** Where the result goes; replaced when the shard is opened again and keeps what runs. */
  onSettled: (outcome: Outcome) => void;
  /** Aborts the promise's signal; the result is dropped. */
  abort(): void;
}

/**
 * Runs the promises of invokes, at most `max` at once; the others wait in order. It knows nothing of commits: an
 * attempt is started by a committed transition, and its result goes back into the ring as an event.
 */
export class Invocations {
  readonly #clock: Clock;
  readonly #max: number;
  readonly #lease: Lease;
  #waiting: Attempt[] = [];
  #next = 0;
  #running = 0;

  constructor(clock: Clock, max: number, lease: Lease) {
    this.#clock = clock;
    this.#max = max;
    this.#lease = lease;
  }

  /** Attempts that run. */
  get running(): number {
    return this.#running;
  }

  /** Attempts that wait until fewer run. */
  get waiting(): number {
    return this.#waiting.length - this.#next;
  }

  start(request: InvocationRequest, onSettled: (outcome: Outcome) => void): Invocation {
    const attempt = new Attempt(this.#clock, request, onSettled, () => this.#release());
    if (request.delayMs > 0) attempt.after(request.delayMs, () => this.#admit(attempt));
    else this.#admit(attempt);
    return attempt;
  }

  #admit(attempt: Attempt): void {
    // Others may speak for the actor by now. When they do, the attempt has been aborted once the lease holds again.
    if (!this.#lease.holds) return void this.#lease.held().then(() => this.#admit(attempt));
    if (this.#running >= this.#max) {
      this.#waiting.push(attempt);
      return;
    }
    this.#running++;
    attempt.run();
  }

  #release(): void {
    this.#running--;
    while (this.#next < this.#waiting.length && this.#running < this.#max) {
      const attempt = this.#waiting[this.#next++] as Attempt;
      if (attempt.isOver) continue;
      this.#running++;
      attempt.run();
    }
    if (this.#next === this.#waiting.length) {
      this.#waiting = [];
      this.#next = 0;
    }
  }
}

class Attempt implements Invocation {
  readonly key: string;
  outcome: Outcome | undefined;
  onSettled: (outcome: Outcome) => void;
  readonly #clock: Clock;
  readonly #request: InvocationRequest;
  readonly #release: () => void;
  #state: 'waiting' | 'running' | 'over' = 'waiting';
  #controller: AbortController | undefined;
  #cancelTimer: Cancel | undefined;

  constructor(
    clock: Clock,
    request: InvocationRequest,
    onSettled: (outcome: Outcome) => void,
    release: () => void,
  ) {
    this.#clock = clock;
    this.#request = request;
    this.onSettled = onSettled;
    this.#release = release;
    this.key = idempotencyKey(request.address, request.invokeId, request.seq);
  }

  get attempt(): number {
    return this.#request.attempt;
  }

  get isOver(): boolean {
    return this.#state === 'over';
  }

  after(delayMs: number, run: () => void): void {
    this.#cancelTimer = this.#clock.after(delayMs, run);
  }

  run(): void {
    if (this.#state !== 'waiting') return this.#release();
    this.#state = 'running';
    const { child, timeoutMs } = this.#request;
    if (timeoutMs !== undefined)
      this.after(timeoutMs, () => {
        this.#settle({ ok: false, error: timedOut(this.#request) });
        this.#controller?.abort();
      });
    let result: unknown;
    try {
      result = child.logic.config(this.#arguments());
    } catch (error) {
      this.#settle({ ok: false, error });
      return;
    }
    Promise.resolve(result).then(
      (output) => this.#settle({ ok: true, output }),
      (error) => this.#settle({ ok: false, error }),
    );
  }

  abort(): void {
    if (this.#state === 'over') return;
    this.#end();
    this.#controller?.abort();
  }

  /** An AbortController costs more than the rest of a short promise: it is made when `signal` is looked at. */
  #arguments(): Parameters<PromiseCreator>[0] {
    const { child, address } = this.#request;
    const info: InvocationInfo = {
      idempotencyKey: this.key,
      attempt: this.attempt,
      actor: addressKey(address),
    };
    Object.assign(child, { [INFO]: info });
    const signal = () => this.#signal();
    return {
      input: child.getSnapshot().input,
      self: child,
      system: executorSystem,
      get signal() {
        return signal();
      },
      emit() {},
    };
  }

  #signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      // Looked at for the first time when it is too late: the state has been left, or time is up.
      if (this.#state === 'over') this.#controller.abort();
    }
    return this.#controller.signal;
  }

  #settle(outcome: Outcome): void {
    if (this.#state === 'over') return;
    this.#end();
    this.outcome = outcome;
    this.onSettled(outcome);
  }

  #end(): void {
    const wasRunning = this.#state === 'running';
    this.#state = 'over';
    this.#cancelTimer?.();
    if (wasRunning) this.#release();
  }
}

const executorSystem = { ...createEmptyActor().system, get: () => undefined };

function timedOut({ invokeId, timeoutMs, attempt }: InvocationRequest): PerdureError {
  return new PerdureError(
    'invoke_timeout',
    `${invokeId} did not finish within ${timeoutMs} ms (attempt ${attempt}).`,
  );
}
