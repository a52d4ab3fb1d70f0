import type { AnyActorRef, EventObject } from 'xstate';
import { backoff, type Clock } from '../clock.ts';
import type { Address } from '../store/store.ts';
import type { ActorType, RetryPolicy } from './define.ts';
import type { ChildRef, Invocation, Listener, Outcome } from './invocation.ts';
import { isOpenEnded } from './logic.ts';
import type { Resident } from './resident.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';

/** Starts an attempt of an invoke the actor has committed to; its result comes back through the mailbox. */
export function startAttempt(
  ring: Ring,
  shard: Shard,
  resident: Resident,
  invokeId: string,
  attempt: number,
  delayMs: number,
  trace: string | undefined,
  resumed = false,
): void {
  const seq = resident.live?.started[invokeId];
  const child = resident.live?.snapshot.children[invokeId] as ChildRef | undefined;
  if (seq === undefined || !child || resident.isPaused) return;
  const invocation = ring.invocations.start(
    {
      address: resident.address,
      invokeId,
      seq,
      child,
      attempt,
      delayMs,
      timeoutMs: timeoutFor(resident.type, child),
      steps: resident.retries[invokeId]?.steps ?? {},
      trace,
      resumed,
    },
    new ToMailbox(shard, resident, invokeId, seq),
  );
  hold(ring, resident, invokeId, invocation);
}

/** Takes over an attempt that was running before its shard was opened again. */
export function keepAttempt(
  ring: Ring,
  shard: Shard,
  resident: Resident,
  invokeId: string,
  seq: number,
  invocation: Invocation,
): void {
  hold(ring, resident, invokeId, invocation);
  invocation.listen(new ToMailbox(shard, resident, invokeId, seq));
}

/** Forgets the attempt; `abort` also ends it. */
export function endAttempt(ring: Ring, resident: Resident, invokeId: string, abort: boolean): void {
  const invocation = resident.invocations.get(invokeId);
  if (!invocation) return;
  if (abort) invocation.abort();
  resident.forget(invokeId);
  if (resident.invocations.size === 0) ring.load.busyActors--;
}

/** How long to wait before the attempt after `attempt`; undefined when there is none. */
export function retryDelay(
  clock: Clock,
  type: ActorType,
  child: AnyActorRef | undefined,
  attempt: number,
  error: unknown,
): number | undefined {
  const policy: RetryPolicy | undefined = child && policyFor(type.retry, child as ChildRef);
  if (!policy || attempt >= policy.attempts) return undefined;
  if (
    typeof error === 'object' &&
    error !== null &&
    'retryable' in error &&
    error.retryable === false
  )
    return undefined;
  return backoff(clock, attempt, policy.delayMs ?? 200, policy.maxDelayMs ?? 30_000);
}

/** What goes on until it is left has time enough, unless its own name is given one. */
function timeoutFor({ timeout }: ActorType, child: ChildRef): number | undefined {
  if (!isOpenEnded(child.logic)) return policyFor(timeout, child);
  return typeof child.src === 'string' ? timeout[child.src] : undefined;
}

function policyFor<T>(policies: Readonly<Record<string, T>>, child: ChildRef): T | undefined {
  return (typeof child.src === 'string' ? policies[child.src] : undefined) ?? policies['*'];
}

/** What an attempt tells goes to the shard's mailbox. */
class ToMailbox implements Listener {
  readonly #shard: Shard;
  readonly #of: { address: Address; invokeId: string; seq: number };

  constructor(shard: Shard, { address }: Resident, invokeId: string, seq: number) {
    this.#shard = shard;
    this.#of = { address, invokeId, seq };
  }

  settled(outcome: Outcome): void {
    const { address, invokeId, seq } = this.#of;
    this.#shard.post({ kind: 'settled', address, invokeId, seq, outcome });
  }

  sent(eventId: string, event: EventObject): void {
    this.#shard.post({ kind: 'sent', ...this.#of, eventId, event });
  }

  next(eventId: string, value: unknown): void {
    this.#shard.post({ kind: 'next', ...this.#of, eventId, value });
  }

  stepped(name: string, result: string, recorded: (refused: Error | undefined) => void): void {
    this.#shard.post({ kind: 'stepped', ...this.#of, name, result, recorded });
  }
}

function hold(ring: Ring, resident: Resident, invokeId: string, invocation: Invocation): void {
  if (resident.invocations.size === 0) ring.load.busyActors++;
  resident.hold(invokeId, invocation);
}
