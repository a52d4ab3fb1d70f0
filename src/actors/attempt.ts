import { type AnyActorRef, createEmptyActor, type EventObject } from 'xstate';
import type { Cancel, Clock } from '../clock.ts';
import { PerdureError } from '../errors.ts';
import { addressKey } from '../store/store.ts';
import { idempotencyKey } from './effects.ts';
import type { InvocationInfo, InvocationRequest, Listener, Outcome } from './invocation.ts';
import { isOpenEnded, kindOf, type LogicKind } from './logic.ts';
import { type RunArguments, type Running, run } from './running.ts';

const INFO = Symbol('perdure.invocation');

/** What the running function's `self` carries; undefined under a plain `createActor`. */
export const infoOf = (self: AnyActorRef): InvocationInfo | undefined =>
  (self as AnyActorRef & { [INFO]?: InvocationInfo })[INFO];

/** One run of what an actor invoked, from its wait to its end. */
export class Attempt {
  readonly key: string;
  readonly isOpenEnded: boolean;
  outcome: Outcome | undefined;
  readonly #clock: Clock;
  readonly #request: InvocationRequest;
  readonly #kind: LogicKind;
  readonly #sentMax: number;
  readonly #release: () => void;
  #state: 'waiting' | 'running' | 'over' = 'waiting';
  #runs: Running | undefined;
  #listener: Listener;
  /** What it has sent and the actor has not taken, oldest first. */
  readonly #untaken: ((listener: Listener) => void)[] = [];
  #controller: AbortController | undefined;
  #cancelTimer: Cancel | undefined;

  constructor(
    clock: Clock,
    request: InvocationRequest,
    listener: Listener,
    sentMax: number,
    release: () => void,
  ) {
    this.#clock = clock;
    this.#request = request;
    this.#listener = listener;
    this.#kind = kindOf(request.child.logic);
    this.isOpenEnded = isOpenEnded(this.#kind);
    this.#sentMax = sentMax;
    this.#release = release;
    this.key = idempotencyKey(request.address, request.invokeId, request.seq);
  }

  get attempt(): number {
    return this.#request.attempt;
  }

  get isOver(): boolean {
    return this.#state === 'over';
  }

  after(delayMs: number, then: () => void): void {
    this.#cancelTimer = this.#clock.after(delayMs, then);
  }

  run(): void {
    if (this.#state !== 'waiting') return this.#free();
    this.#state = 'running';
    const { child, timeoutMs } = this.#request;
    if (timeoutMs !== undefined)
      this.after(timeoutMs, () => {
        this.#settle({ ok: false, error: timedOut(this.#request) });
        this.#controller?.abort();
      });
    try {
      const runs = run(this.#kind, child.logic.config, this.#arguments(), {
        done: (output) => this.#settle({ ok: true, output }),
        failed: (error) => this.#settle({ ok: false, error }),
        sent: (event) => this.#tellOn((listener) => listener.sent(event)),
        next: (value) => this.#tellOn((listener) => listener.next(value)),
      });
      // It may have ended while it began.
      if (this.isOver) runs.end();
      else this.#runs = runs;
    } catch (error) {
      this.#settle({ ok: false, error });
    }
  }

  tell(event: EventObject): void {
    this.#runs?.tell(event);
  }

  taken(): void {
    this.#untaken.shift();
  }

  listen(listener: Listener): void {
    this.#listener = listener;
    for (const tell of this.#untaken) tell(listener);
    if (this.outcome) listener.settled(this.outcome);
  }

  abort(): void {
    if (this.#state === 'over') return;
    this.#end();
    this.#controller?.abort();
  }

  /** What is sent waits for the actor; who sends faster than it can be committed is stopped. */
  #tellOn(tell: (listener: Listener) => void): void {
    if (this.#state === 'over') return;
    if (this.#untaken.length >= this.#sentMax) {
      const error = tooFast(this.#request, this.#sentMax);
      return this.#settle({ ok: false, error });
    }
    this.#untaken.push(tell);
    tell(this.#listener);
  }

  /** An AbortController costs more than the rest of a short promise: it is made when `signal` is looked at. */
  #arguments(): RunArguments {
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
    this.#listener.settled(outcome);
  }

  #end(): void {
    const wasRunning = this.#state === 'running';
    this.#state = 'over';
    this.#cancelTimer?.();
    this.#runs?.end();
    this.#runs = undefined;
    if (wasRunning) this.#free();
  }

  #free(): void {
    if (!this.isOpenEnded) this.#release();
  }
}

const executorSystem = { ...createEmptyActor().system, get: () => undefined };

function timedOut({ invokeId, timeoutMs, attempt }: InvocationRequest): PerdureError {
  return new PerdureError(
    'invoke_timeout',
    `${invokeId} did not finish within ${timeoutMs} ms (attempt ${attempt}).`,
  );
}

function tooFast({ invokeId }: InvocationRequest, max: number): PerdureError {
  return new PerdureError(
    'too_many_events',
    `${invokeId} has sent ${max} events that its actor has not taken yet; at most so many may wait (limit childEventsMax).`,
  );
}
