import { context, type Link, type Span, SpanKind, type Tracer, trace } from '@opentelemetry/api';
import type { InvocationRequest } from './actors/invocation.ts';
import type { Resident } from './actors/resident.ts';
import type { Step } from './actors/step.ts';
import type { Cause } from './actors/taker.ts';
import type { ActorSpan, Traced, Tracing } from './actors/tracing.ts';
import type { LogMessage } from './bus/bus.ts';
import {
  endFailed,
  parentContext,
  readTrace,
  traceOfHeaders,
  tracerIfOn,
  writeTrace,
} from './tracing.ts';

/** What the SDK is asked for once, when a node starts; undefined when there is none, and then nothing of tracing is made. */
export function startTracing(nodeId: string): Tracing | undefined {
  const tracer = tracerIfOn();
  return tracer && new NodeTracing(tracer, nodeId);
}

/** The spans of one node. */
class NodeTracing implements Tracing {
  readonly #tracer: Tracer;
  readonly #node: string;
  readonly #received = new WeakMap<LogMessage, number>();
  /** The newest transition that no other member of a family has caused: what they cause is below it. */
  #newest: string | undefined;

  constructor(tracer: Tracer, node: string) {
    this.#tracer = tracer;
    this.#node = node;
  }

  received(message: LogMessage, now: number): void {
    this.#received.set(message, now);
  }

  of(message: LogMessage): Traced {
    const carried = traceOfHeaders(message.header('traceparent'), message.header('tracestate'));
    return { trace: carried, receivedAt: this.#received.get(message) };
  }

  transition(
    { shard, epoch }: { shard: number; epoch: number },
    resident: Resident,
    step: Step,
    { origin, traced, eventType }: Cause,
    fromState: string | null,
  ): ActorSpan {
    const own = readTrace(resident.trace);
    const caused = readTrace(traced?.trace ?? (origin === 'family' ? this.#newest : undefined));
    const parent = caused ?? own;
    const links: Link[] = own && parent && own.traceId !== parent.traceId ? [{ context: own }] : [];
    const { address } = resident;
    const span = this.#tracer.startSpan(
      'perdure.transition',
      {
        kind: traced?.receivedAt === undefined ? SpanKind.INTERNAL : SpanKind.CONSUMER,
        links,
        ...(traced?.receivedAt !== undefined && { startTime: traced.receivedAt }),
        attributes: {
          'actor.type': address.type,
          'actor.id': address.id,
          'perdure.node': this.#node,
          'perdure.shard': shard,
          'perdure.epoch': epoch,
          'perdure.seq': step.live.seq,
          'perdure.event': eventType,
          'perdure.origin': origin,
          'perdure.status': step.status,
          'perdure.state.to': step.state,
          ...(fromState !== null && { 'perdure.state.from': fromState }),
        },
      },
      parentContext(parent),
    );
    const begun = new RunningSpan(span);
    if (!own || own.traceId === span.spanContext().traceId) resident.trace = begun.trace;
    if (origin !== 'family') this.#newest = begun.trace;
    return begun;
  }

  attempt(request: InvocationRequest, key: string): ActorSpan {
    const { address, invokeId, seq, attempt, resumed } = request;
    const span = this.#tracer.startSpan(
      'perdure.invoke',
      {
        kind: SpanKind.INTERNAL,
        attributes: {
          'actor.type': address.type,
          'actor.id': address.id,
          'perdure.node': this.#node,
          'perdure.seq': seq,
          'perdure.invoke': invokeId,
          'perdure.attempt': attempt,
          'perdure.key': key,
        },
      },
      parentContext(readTrace(request.trace)),
    );
    if (resumed) span.addEvent('perdure.resumed');
    return new RunningSpan(span);
  }
}

class RunningSpan implements ActorSpan {
  readonly trace: string;
  readonly #span: Span;
  #ended = false;

  constructor(span: Span) {
    this.#span = span;
    this.trace = writeTrace(span.spanContext());
  }

  within<T>(run: () => T): T {
    return context.with(trace.setSpan(context.active(), this.#span), run);
  }

  aborted(): void {
    if (this.#ended) return;
    this.#span.addEvent('perdure.aborted');
    this.end();
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#span.end();
  }

  fail(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    endFailed(this.#span, error);
  }
}
