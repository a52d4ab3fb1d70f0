import { type AnyActorRef, fromPromise, type PromiseActorLogic } from 'xstate';
import type { Bus } from '../bus/bus.ts';
import { subjects } from '../bus/subjects.ts';
import { type Clock, sleep } from '../clock.ts';
import type { Namespace } from '../config.ts';
import { PerdureError } from '../errors.ts';
import { type Address, addressKey, type StoredActor } from '../store/store.ts';
import { workOf } from './attempt.ts';
import { parse } from './codec.ts';
import type { Loader } from './loader.ts';
import { waitsOnly } from './logic.ts';

/**
 * Invoke logic that waits until another actor has ended, and gives its output: `actors: { mailSent: fromOutcome<string>() }`,
 * invoked with `input: { type: 'mail', id: 'm-1' }`. An actor that does not exist yet is waited for as well; the
 * invoke's `timeout` ends that. Survives any crash: whoever owns the waiting actor goes on waiting.
 * It fails with `actor_failed` when the other one ends in status error or is cancelled, and under a plain
 * `createActor`, where there are no other actors.
 */
export function fromOutcome<TOutput = unknown>(): PromiseActorLogic<TOutput, Address> {
  const logic = fromPromise<TOutput, Address>(async ({ input, self, signal }) => {
    const work = workOf(self as unknown as AnyActorRef);
    if (!work) throw new PerdureError('bad_options', 'fromOutcome needs a Perdure node to run in.');
    const { type, id } = input;
    const { status, output, error } = await work.outcome({ type, id }, signal);
    if (status === 'done') return parse(output ?? 'null') as TOutput;
    const told = error === null ? 'it was cancelled' : (JSON.parse(error) as Error).message;
    throw new PerdureError('actor_failed', `${type}/${id} has ended (${status}): ${told}`);
  });
  return waitsOnly(logic);
}

/** Waits for the ends of actors, anywhere in the cluster. */
export class Outcomes {
  readonly #bus: Bus;
  readonly #loader: Loader;
  readonly #clock: Clock;
  readonly #namespace: Namespace;

  constructor(bus: Bus, loader: Loader, clock: Clock, namespace: Namespace) {
    this.#bus = bus;
    this.#loader = loader;
    this.#clock = clock;
    this.#namespace = namespace;
  }

  /** The actor's row once it has ended. @throws when `signal` aborts */
  async wait(address: Address, signal: AbortSignal): Promise<StoredActor> {
    let nudge = new AbortController();
    // The feed only says when to look: what counts is the row.
    const silence = this.#bus.listen(
      subjects.transition(this.#namespace, address.type, address.id),
      (_subject, body) => {
        if (!Buffer.from(body).includes('"status":"active"')) nudge.abort();
      },
    );
    try {
      for (let waitMs = LOOK_FIRST_MS; ; waitMs = Math.min(2 * waitMs, LOOK_MAX_MS)) {
        signal.throwIfAborted();
        const row = (await this.#loader.load([address])).get(addressKey(address));
        if (row && row.status !== 'active') return row;
        await sleep(this.#clock, waitMs, AbortSignal.any([signal, nudge.signal]));
        nudge = new AbortController();
      }
    } finally {
      silence();
    }
  }
}

/** How long until it looks by itself, ms: the feed tells who listens, at most once. */
const LOOK_FIRST_MS = 500;
const LOOK_MAX_MS = 10_000;
