import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node';

/** What a test needs of a span that ended in another process. */
export interface SpanLine {
  name: string;
  traceId: string;
  spanId: string;
  parent: string | undefined;
  attributes: Record<string, unknown>;
  events: string[];
  /** 2: it went wrong. */
  status: number;
}

export const spanLine = (span: ReadableSpan): SpanLine => ({
  name: span.name,
  traceId: span.spanContext().traceId,
  spanId: span.spanContext().spanId,
  parent: span.parentSpanContext?.spanId,
  attributes: span.attributes,
  events: span.events.map(({ name }) => name),
  status: span.status.code,
});

// `node --import spansToFile.ts`: an SDK whose spans are in a file as soon as they end, also after `kill -9`.
const dir = process.env.PERDURE_TEST_SPANS;
if (dir !== undefined)
  new NodeTracerProvider({
    spanProcessors: [
      new SimpleSpanProcessor({
        export(spans, done) {
          for (const span of spans)
            appendFileSync(join(dir, 'spans.jsonl'), `${JSON.stringify(spanLine(span))}\n`);
          done({ code: 0 });
        },
        shutdown: async () => {},
      }),
    ],
  }).register();
