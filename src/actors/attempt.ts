import type { AnyActorRef, EventObject } from 'xstate';
import type { Cancel, Clock } from '../clock.ts';
import { PerdureError } from '../errors.ts';
import { type Address, addressKey, type StoredActor } from '../store/store.ts';
import type { StoreTransaction, Transaction } from '../store/userTransaction.ts';
import { idempotencyKey } from './effects.ts';
import { emptySystem } from './inside.ts';
import type {
  ChildRef,
  InvocationInfo,
  InvocationRequest,
  InvocationSettings,
  Listener,
  Outcome,
} from './invocation.ts';
import { isOpenEnded, kindOf, type LogicKind } from './logic.ts';
import { type RunArguments, type Running, run } from './running.ts';
import type { ActorSpan } from './tracing.ts';

const ATTEMPT = Symbol('perdure.attempt');

/** The `self` of what runs. */
type RunningSelf = AnyActorRef & { [ATTEMPT]?: Attempt };

/** Resolves when the actor has ended. @throws when `signal` aborts */
export type WaitForOutcome = (address: Address, signal: AbortSignal) => Promise<StoredActor>;

/** What logic of Perdure's own needs of the attempt it is. */
export interface Work {
  /** Encoded result of a step that an earlier attempt has finished. */
  recorded(name: string): string | undefined;
  /** Resolves when the result cannot be forgotten any more. @throws PerdureError `snapshot_too_large` */
  record(name: string, result: string): Promise<void>;
  /** It is getting on: its time begins anew. */
  heartbeat(): void;
  /** Another actor's row once it has ended. */
  outcome: WaitForOutcome;
  /** Runs in a transaction that is committed with the result of the attempt. @throws what `run` throws; `bad_transaction` */
  transaction<T>(run: (tx: Transaction) => PromiseLike<T>): Promise<T>;
}

/** Undefined under a plain `createActor`. */
export const workOf = (self: AnyActorRef): Work | undefined =>
  (self as RunningSelf)[ATTEMPT]?.work();

/** What the running function's `self` carries; undefined under a plain `createActor`. */
export const infoOf = (self: AnyActorRef): InvocationInfo | undefined =>
  (self as RunningSelf)[ATTEMPT]?.info;

/** One run of what an actor invoked, from its wait to its end. */
export class Attempt {
  #key: string | undefined;
  readonly isOpenEnded: boolean;
  outcome: Outcome | undefined;
  readonly #clock: Clock;
  readonly #request: InvocationRequest;
  readonly #kind: LogicKind;
  readonly #settings: InvocationSettings;
  readonly #release: () => void;
  #state: 'waiting' | 'running' | 'over' = 'waiting';
  #runs: Running | undefined;
  #listener: Listener;
  /** What it has told and is not recorded yet, by event id or name, oldest first. */
  #unrecorded: Map<string, (listener: Listener) => void> | undefined;
  /** Names the events of this attempt, so that one that is told twice is taken once. */
  #name: string | undefined;
  #told = 0;
  #controller: AbortController | undefined;
  #cancelTimer: Cancel | undefined;
  /** Goes with the result. */
  #transaction: StoreTransaction | undefined;
  #span: ActorSpan | undefined;
  /** When it began to run and when it ended, monotonic, whole ms. */
  #from: number | undefined;
  #to: number | undefined;

  constructor(
    clock: Clock,
    request: InvocationRequest,
    listener: Listener,
    settings: InvocationSettings,
    release: () => void,
  ) {
    this.#clock = clock;
    this.#request = request;
    this.#listener = listener;
    this.#kind = kindOf(request.child.logic);
    this.isOpenEnded = isOpenEnded(request.child.logic);
    this.#settings = settings;
    this.#release = release;
  }

  get key(): string {
    const { address, invokeId, seq } = this.#request;
    this.#key ??= idempotencyKey(address, invokeId, seq);
    return this.#key;
  }

  get attempt(): number {
    return this.#request.attempt;
  }

  get startedBy(): string | undefined {
    return this.#request.trace;
  }

  get trace(): string | undefined {
    return this.#span?.trace;
  }

  get ranMs(): number {
    if (this.#from === undefined) return 0;
    return (this.#to ?? Math.round(this.#clock.monotonic())) - this.#from;
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
    this.#from = Math.round(this.#clock.monotonic());
    this.#startClock();
    this.#span = this.#settings.tracing?.attempt(this.#request, this.key);
    try {
      const runs = this.#span ? this.#span.within(() => this.#begin()) : this.#begin();
      // It may have ended while it began.
      if (this.isOver) runs.end();
      else this.#runs = runs;
    } catch (error) {
      this.#settle({ ok: false, error });
    }
  }

  #begin(): Running {
    return run(this.#kind, this.#request.child.logic.config, this.#arguments(), this);
  }

  done(output: unknown): void {
    this.#settle({ ok: true, output, transaction: this.#transaction });
  }

  failed(error: unknown): void {
    this.#settle({ ok: false, error });
  }

  sent(event: EventObject): void {
    this.#tellOn((listener, id) => listener.sent(id, event));
  }

  next(value: unknown): void {
    this.#tellOn((listener, id) => listener.next(id, value));
  }

  tell(event: EventObject): void {
    this.#runs?.tell(event);
  }

  taken(eventId: string): void {
    this.#unrecorded?.delete(eventId);
  }

  listen(listener: Listener): void {
    this.#listener = listener;
    for (const tell of this.#unrecorded?.values() ?? []) tell(listener);
    if (this.outcome) listener.settled(this.outcome);
  }

  abort(): void {
    // Also one that has ended: nobody takes its result any more.
    this.#transaction?.abandon();
    if (this.#state === 'over') return;
    this.#end();
    this.#span?.aborted();
    this.#controller?.abort();
  }

  /** What is sent waits for the actor; who sends faster than it can be committed is stopped. */
  #tellOn(tell: (listener: Listener, eventId: string) => void): void {
    if (this.#state === 'over') return;
    const { sentMax } = this.#settings;
    this.#unrecorded ??= new Map();
    if (this.#unrecorded.size >= sentMax) {
      const error = tooFast(this.#request, sentMax);
      return this.#settle({ ok: false, error });
    }
    this.#name ??= this.#clock.uuid();
    const eventId = `!sent:${this.#name}:${this.#told++}`;
    this.#unrecorded.set(eventId, (listener) => tell(listener, eventId));
    tell(this.#listener, eventId);
  }

  #startClock(): void {
    const { timeoutMs } = this.#request;
    if (timeoutMs === undefined) return;
    this.#cancelTimer?.();
    this.after(timeoutMs, () => {
      this.#settle({ ok: false, error: timedOut(this.#request) });
      this.#controller?.abort();
    });
  }

  get info(): InvocationInfo {
    const { attempt, key } = this;
    return { idempotencyKey: key, attempt, actor: addressKey(this.#request.address) };
  }

  work(): Work {
    return {
      recorded: (name) => this.#request.steps[name],
      record: (name, result) =>
        new Promise((resolve, reject) => {
          const recorded = (refused: Error | undefined) => {
            this.#unrecorded?.delete(name);
            if (refused) reject(refused);
            else resolve();
          };
          // Whoever was left has nobody to tell, and stops here.
          if (this.isOver) return;
          this.#unrecorded ??= new Map();
          this.#unrecorded.set(name, (listener) => listener.stepped(name, result, recorded));
          this.#listener.stepped(name, result, recorded);
        }),
      heartbeat: () => {
        if (this.#state === 'running') this.#startClock();
      },
      outcome: this.#settings.outcome,
      transaction: async (run) => {
        const ended = await this.#settings.transactions.run(this.key, this.signal(), run);
        this.#transaction = ended.transaction;
        return ended.output;
      },
    };
  }

  /**
   * An AbortController costs more than the rest of a short promise: it is made when `signal` is looked at, and `Work` when
   * it is asked for.
   */
  #arguments(): RunArguments {
    const child: ChildRef & RunningSelf = this.#request.child;
    child[ATTEMPT] = this;
    const { input } = child.getSnapshot();
    const args = { input, self: child, system: executorSystem, emit: nowhere, [ATTEMPT]: this };
    return Object.defineProperty(args, 'signal', SIGNAL) as unknown as RunArguments;
  }

  signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      // Looked at for the first time when it is too late: the state has been left, or time is up.
      if (this.#state === 'over') this.#controller.abort();
    }
    return this.#controller.signal;
  }

  #settle(outcome: Outcome): void {
    if (this.#state === 'over') return;
    if (!outcome.ok) {
      this.#transaction?.abandon();
      this.#to = Math.round(this.#clock.monotonic());
    }
    this.#end();
    if (outcome.ok) this.#span?.end();
    else this.#span?.fail(outcome.error);
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

/** One getter for all: a function of its own would give each of them a shape of its own, which costs four times as much. */
const SIGNAL: PropertyDescriptor & ThisType<{ [ATTEMPT]?: Attempt; self: RunningSelf }> = {
  get() {
    // Whoever has copied the arguments property by property may have left symbols out.
    return (this[ATTEMPT] ?? this.self[ATTEMPT])?.signal();
  },
  enumerable: true,
  configurable: true,
};

function nowhere(): void {}

const executorSystem = { ...emptySystem(), get: () => undefined };

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
