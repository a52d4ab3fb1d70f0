import {
  ConsoleSpanExporter,
  NodeTracerProvider,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node';

// Loaded before everything else, by `node --import`: who looks for an SDK later finds this one. It prints each span as it
// ends. For a collector: `new BatchSpanProcessor(new OTLPTraceExporter())`, the latter of the package
// @opentelemetry/exporter-trace-otlp-http, which takes OTEL_EXPORTER_OTLP_ENDPOINT.
new NodeTracerProvider({
  spanProcessors: [new SimpleSpanProcessor(new ConsoleSpanExporter())],
}).register();
