import {
  context,
  createTraceState,
  isSpanContextValid,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { traceHeaders } from './actors/tracing.ts';
import { asError } from './errors.ts';
import { VERSION } from './version.ts';

/** Undefined when nobody has registered an SDK: then nothing of tracing happens, and nothing of it is made. */
export function tracerIfOn(): Tracer | undefined {
  const provider = trace.getTracerProvider();
  return provider instanceof ProxyTracerProvider
    ? provider.getDelegateTracer('perdure', VERSION)
    : provider.getTracer('perdure', VERSION);
}

const PARENT = /^[\da-f]{2}-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(?:-.*)?$/;
/** A longer one may be dropped, says W3C. */
const STATE_MAX = 512;

/** What a publisher has put into the headers; undefined when that is nothing one can go on with. */
export function traceOfHeaders(parent: string | null, state: string | null): string | undefined {
  if (parent === null || parent.startsWith('ff') || !PARENT.test(parent)) return undefined;
  const text = state && state.length <= STATE_MAX ? `${parent.slice(0, 55)} ${state}` : parent;
  return readTrace(text) && text;
}

export function writeTrace({ traceId, spanId, traceFlags, traceState }: SpanContext): string {
  const flags = traceFlags.toString(16).padStart(2, '0');
  const state = traceState?.serialize();
  return `00-${traceId}-${spanId}-${flags}${state ? ` ${state}` : ''}`;
}

/** Undefined for what is no trace. */
export function readTrace(text: string | undefined): SpanContext | undefined {
  if (text === undefined) return undefined;
  const space = text.indexOf(' ');
  const found = PARENT.exec(space < 0 ? text : text.slice(0, space));
  if (!found) return undefined;
  const [, traceId = '', spanId = '', flags = '00'] = found;
  const read: SpanContext = {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16) & 1,
    isRemote: true,
    ...(space >= 0 && { traceState: createTraceState(text.slice(space + 1)) }),
  };
  return isSpanContextValid(read) ? read : undefined;
}

/** What a span goes on from; a trace of its own without any. */
export const parentContext = (parent: SpanContext | undefined) =>
  parent ? trace.setSpanContext(ROOT_CONTEXT, parent) : ROOT_CONTEXT;

/** Ends a span as one that went wrong. */
export function endFailed(span: Span, thrown: unknown): void {
  const error = asError(thrown);
  span.recordException(error);
  span.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
  span.end();
}

/** Publishes as part of what the caller is doing: `publish` gets the headers that say so; none while tracing is off. */
export async function publishTraced<T>(
  about: { type: string; id: string; messageId: string; subject: string },
  publish: (headers: Record<string, string> | undefined) => Promise<T>,
): Promise<T> {
  const tracer = tracerIfOn();
  if (!tracer) return publish(undefined);
  const span = tracer.startSpan(
    'perdure.publish',
    {
      kind: SpanKind.PRODUCER,
      attributes: {
        'messaging.system': 'nats',
        'messaging.operation.type': 'send',
        'messaging.destination.name': about.subject,
        'messaging.message.id': about.messageId,
        'actor.type': about.type,
        'actor.id': about.id,
      },
    },
    context.active(),
  );
  const spanContext = span.spanContext();
  try {
    const done = await publish(
      isSpanContextValid(spanContext) ? traceHeaders(writeTrace(spanContext)) : undefined,
    );
    span.end();
    return done;
  } catch (thrown) {
    endFailed(span, thrown);
    throw thrown;
  }
}
