import { type AnyActorLogic, type AnyActorRef, createActor, createEmptyActor } from 'xstate';
import type { Cancel, Clock } from '../clock.ts';
import { PerdureError } from '../errors.ts';
import { type Address, addressKey } from '../store/store.ts';
import { idempotencyKey } from './effects.ts';

/** What a promise's logic can learn about the attempt it is. */
export interface InvocationInfo {
  /** `type/id/invokeId/seq`: the same on every attempt and after every crash; new when the state is entered again. */
  readonly idempotencyKey: string;
  /** Which try this is, from 1. Never part of the key. */
  readonly attempt: number;
  /** `type/id` of the actor that invokes. */
  readonly actor: string;
}

const infos = new WeakMap<object, InvocationInfo>();

/**
 * From inside `fromPromise(async ({ input, self, signal }) => …)`: `invocation(self).idempotencyKey`. Under a plain
 * `createActor` it answers with the promise actor's own id, so that machines stay testable without Perdure.
 */
export function invocation(self: AnyActorRef): InvocationInfo {
  return infos.get(self) ?? { idempotencyKey: self.id, attempt: 1, actor: self.id };
}

/** How an attempt ended. */
export type Outcome = { ok: true; output: unknown } | { ok: false; error: unknown };

export interface InvocationRequest {
  address: Address;
  invokeId: string;
  /** The transition that started it. */
  seq: number;
  logic: AnyActorLogic;
  input: unknown;
  attempt: number;
  /** Wait before the attempt, ms. */
  delayMs: number;
  timeoutMs: number | undefined;
}

/** One running (or waiting) attempt. */
export interface Invocation {
  readonly key: string;
  readonly attempt: number;
  /** Set once the attempt ended and nobody has taken the result into a commit yet. */
  outcome: Outcome | undefined;
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
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(clock: Clock, max: number) {
    this.#clock = clock;
    this.#max = max;
  }

  start(request: InvocationRequest, onSettled: (outcome: Outcome) => void): Invocation {
    const key = idempotencyKey(request.address, request.invokeId, request.seq);
    let state: 'waiting' | 'running' | 'over' = 'waiting';
    let executor: Executor | undefined;
    let cancelTimer: Cancel | undefined;
    const end = () => {
      if (state === 'running') this.#release();
      state = 'over';
      cancelTimer?.();
    };
    const settle = (outcome: Outcome) => {
      if (state === 'over') return;
      end();
      handle.outcome = outcome;
      handle.onSettled(outcome);
    };
    const run = () => {
      if (state === 'over') return this.#release();
      state = 'running';
      if (request.timeoutMs !== undefined)
        cancelTimer = this.#clock.after(request.timeoutMs, () => {
          executor?.stop();
          settle({ ok: false, error: timedOut(request) });
        });
      executor = execute(request, key, settle);
    };
    const handle: Invocation = {
      key,
      attempt: request.attempt,
      outcome: undefined,
      onSettled,
      abort() {
        if (state === 'over') return;
        end();
        executor?.stop();
      },
    };
    if (request.delayMs > 0)
      cancelTimer = this.#clock.after(request.delayMs, () => this.#admit(run));
    else this.#admit(run);
    return handle;
  }

  #admit(run: () => void): void {
    if (this.#running >= this.#max) {
      this.#waiting.push(run);
      return;
    }
    this.#running++;
    run();
  }

  #release(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#running--;
  }
}

interface Executor {
  stop(): void;
}

/** XState's own promise actor under a parent of ours, which is told how it ended. */
function execute(
  request: InvocationRequest,
  key: string,
  settle: (outcome: Outcome) => void,
): Executor {
  const parent = {
    id: request.address.id,
    sessionId: addressKey(request.address),
    system: executorSystem,
    send: receive,
    _send: receive,
  };
  function receive(event: { type: string; output?: unknown; error?: unknown }): void {
    if (event.type.startsWith('xstate.done.actor.')) settle({ ok: true, output: event.output });
    else if (event.type.startsWith('xstate.error.actor.'))
      settle({ ok: false, error: event.error });
  }
  const ref = createActor(request.logic, {
    id: request.invokeId,
    input: request.input,
    parent: parent as unknown as AnyActorRef,
  });
  infos.set(ref, {
    idempotencyKey: key,
    attempt: request.attempt,
    actor: addressKey(request.address),
  });
  ref.start();
  // `stop()` refuses actors that have a parent; `_stop` is what a parent calls.
  return { stop: () => (ref as unknown as { _stop(): void })._stop() };
}

const executorSystem = createEmptyActor().system;

function timedOut({ invokeId, timeoutMs, attempt }: InvocationRequest): PerdureError {
  return new PerdureError(
    'invoke_timeout',
    `${invokeId} did not finish within ${timeoutMs} ms (attempt ${attempt}).`,
  );
}
