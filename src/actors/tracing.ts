import type { LogMessage } from '../bus/bus.ts';
import type { OutboxRow, Store } from '../store/store.ts';
import type { InvocationRequest } from './invocation.ts';
import type { Resident } from './resident.ts';
import type { Step } from './step.ts';
import type { Cause } from './taker.ts';

/**
 * Traces as the engine sees them; there are none while nobody wants any. A trace travels and is kept as one text: W3C's
 * `traceparent` and, behind a space, its `tracestate` if there is one.
 *
 *  T1  A transition is in the trace of what caused it: the message that carries one, or the attempt whose result it
 *      takes. Whatever carries none is in the actor's own.
 *  T2  An actor's own trace is that of its first transition. It is kept with the actor, so timers, retries and what
 *      another node resumes go on in it.
 *  T3  A transition's span ends when its commit has landed; as failed when it never will here.
 */
export interface Tracing {
  /** `now` in ms since 1970: when the span of what the message causes begins. */
  received(message: LogMessage, now: number): void;
  of(message: LogMessage): Traced;
  /** Begins the span of a step that has been taken; the actor's trace moves on to it. */
  transition(
    place: { shard: number; epoch: number },
    resident: Resident,
    step: Step,
    cause: Cause,
    fromState: string | null,
  ): ActorSpan;
  /** Begins the span of one attempt of an invoke. */
  attempt(request: InvocationRequest, key: string): ActorSpan;
}

/** Where a message belongs, and when it came. */
export interface Traced {
  trace: string | undefined;
  receivedAt?: number | undefined;
}

/** Ends once: what is said of it later is not heard. */
export interface ActorSpan {
  /** The trace with this span as the parent of what comes. */
  readonly trace: string;
  /** Spans that user code begins in `run` are below this one. */
  within<T>(run: () => T): T;
  aborted(): void;
  end(): void;
  fail(error: unknown): void;
}

/** The key an envelope ends with when its actor has a trace. */
const KEY = ',"trace":';

/** The trace of the actor whose envelope this is. Others end in the brace of their snapshot, so most are seen at once. */
export function traceIn(envelope: string): string | undefined {
  if (!envelope.endsWith('"}')) return undefined;
  const at = envelope.lastIndexOf(KEY);
  const text: unknown = at < 0 ? undefined : JSON.parse(envelope.slice(at + KEY.length, -1));
  return typeof text === 'string' ? text : undefined;
}

/** It belongs to the row and not to the step: the same step is computed again without it (P1). */
export const withTrace = (envelope: string, trace: string): string =>
  `${envelope.slice(0, -1)}${KEY}${JSON.stringify(trace)}}`;

/** Headers that carry a trace on. */
export function traceHeaders(trace: string): Record<string, string> {
  const space = trace.indexOf(' ');
  return space < 0
    ? { traceparent: trace }
    : { traceparent: trace.slice(0, space), tracestate: trace.slice(space + 1) };
}

/**
 * The trace of an outbox row that an earlier owner has left: that of the transition it belongs to. Rows have no column
 * for it, since only what a crash has left needs it, and only while tracing is on.
 */
export async function traceOfRow(
  store: Pick<Store, 'transitions'>,
  { messageId }: OutboxRow,
): Promise<string | undefined> {
  const [type = '', id = '', seq = ''] = messageId.split('/');
  const [transition] = await store.transitions({ type, id }, Number(seq), 1);
  return transition && traceIn(transition.snapshot);
}
