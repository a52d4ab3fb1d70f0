import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { NodeLoad, TypeLoad } from '../actors/ring.ts';
import type { Breaker } from './health.ts';

/** Plain counters that the parts of a node keep anyway; read when somebody asks for metrics, never before. */
export interface MetricsSource {
  load: NodeLoad;
  /** Undefined while the node is not connected yet. */
  parts(): MetricsParts | undefined;
  breakers(): Record<'nats' | 'postgres', Breaker>;
  leaseAgeMs(): number | undefined;
}

export interface MetricsParts {
  ownedShards: number;
  /** Messages that wait for another node, and for how long the oldest does, ms. */
  parked: { messages: number; ageMs: number };
  stalledShards: number;
  lag: number;
  timers: number;
  /** Items in the mailboxes of this node's shards. */
  mailbox: number;
  invokes: { running: number; waiting: number };
  outbox: { held: number; published: number; failed: number };
  commits: {
    commits: number;
    unknown: number;
    fenced: number;
    deadLetters: ReadonlyMap<string, number>;
  };
  waiting: Record<string, number>;
}

export interface Metrics {
  readonly registry: Registry;
  /** A commit statement has landed. */
  commitLanded(ms: number, transitions: number): void;
  /** How long the oldest message of a shard's part of it was in the log, ms. */
  messageCommitted(ms: number): void;
}

/** One value for each set of labels. */
type Values = [value: number, labels?: Record<string, string>][];
/** What a metric is worth now; undefined: there is nothing to tell. */
type Read = (source: MetricsSource, parts: MetricsParts | undefined) => Values;

const one = (value: number | undefined): Values => (value === undefined ? [] : [[value]]);
const each = (label: string, values: Iterable<[string, number]>): Values =>
  Array.from(values, ([name, value]) => [value, { [label]: name }]);
const perBreaker = (source: MetricsSource, read: (breaker: Breaker) => number): Values =>
  each(
    'connection',
    Object.entries(source.breakers()).map(([name, breaker]) => [name, read(breaker)]),
  );

const perType = ({ types }: NodeLoad, read: (load: TypeLoad) => number): Values =>
  each(
    'type',
    Array.from(types, ([type, load]) => [type, read(load)]),
  );

const ENDS = ['done', 'error', 'stopped'] as const;
const STATES = ['closed', 'open', 'half-open'] as const;

/** name, help, labels, how to read it. Names that end in `_total` are counters. `docs/telemetry.md` explains each. */
const METRICS: [name: string, help: string, labels: string[], read: Read][] = [
  ['transitions_total', 'Transitions committed.', [], ({ load }) => one(load.transitions)],
  [
    'type_transitions_total',
    'Transitions committed, by actor type.',
    ['type'],
    ({ load }) => perType(load, ({ transitions }) => transitions),
  ],
  [
    'actors_started_total',
    'Actors whose first transition was committed.',
    ['type'],
    ({ load }) => perType(load, ({ started }) => started),
  ],
  [
    'actors_ended_total',
    'Actors that ended.',
    ['type', 'status'],
    ({ load }) =>
      Array.from(load.types).flatMap(
        ([type, ended]): Values => ENDS.map((status) => [ended[status], { type, status }]),
      ),
  ],
  [
    'invoke_failures_total',
    'Attempts of invokes that failed.',
    ['type'],
    ({ load }) => perType(load, ({ failedAttempts }) => failedAttempts),
  ],
  [
    'messages_total',
    'Messages of the log taken and committed.',
    [],
    ({ load }) => one(load.messages),
  ],
  [
    'commits_total',
    'Commit statements that landed.',
    [],
    (_, parts) => one(parts?.commits.commits),
  ],
  [
    'commits_unknown_total',
    'Commit statements whose answer was lost.',
    [],
    (_, parts) => one(parts?.commits.unknown),
  ],
  [
    'dead_letters_total',
    'Messages nobody could act on.',
    ['reason'],
    (_, parts) => each('reason', parts?.commits.deadLetters ?? []),
  ],
  ['parked_total', 'Messages kept for another node.', [], ({ load }) => one(load.parked)],
  [
    'parked_messages',
    'Messages that wait for another node.',
    [],
    (_, parts) => one(parts?.parked.messages),
  ],
  [
    'parked_oldest_seconds',
    'How long the oldest of them has waited.',
    [],
    (_, parts) => one(seconds(parts?.parked.ageMs)),
  ],
  ['shards_owned', 'Shards this node speaks for.', [], (_, parts) => one(parts?.ownedShards)],
  [
    'shards_stalled',
    'Shards with work that stand still.',
    [],
    (_, parts) => one(parts?.stalledShards),
  ],
  ['stalls_total', 'Times a shard stood still for stallMs.', [], ({ load }) => one(load.stalls)],
  ['shard_claims_total', 'Free shards opened.', [], ({ load }) => one(load.claims)],
  [
    'shard_takeovers_total',
    'Shards taken from a dead node.',
    [],
    ({ load }) => one(load.takeovers),
  ],
  ['shard_handovers_total', 'Shards given back.', [], ({ load }) => one(load.handovers)],
  [
    'shards_fenced_total',
    'Commits refused: another node owns it.',
    [],
    (_, parts) => one(parts?.commits.fenced),
  ],
  [
    'surprises_total',
    'Shards opened again.',
    ['reason'],
    ({ load }) => each('reason', Object.entries(load.surprises)),
  ],
  ['residents', 'Actors in memory.', [], ({ load }) => one(load.residents)],
  ['busy_actors', 'Actors with running invokes.', [], ({ load }) => one(load.busyActors)],
  [
    'invokes_running',
    'Attempts of invokes that run.',
    [],
    (_, parts) => one(parts?.invokes.running),
  ],
  [
    'invokes_waiting',
    'Attempts of invokes that wait.',
    [],
    (_, parts) => one(parts?.invokes.waiting),
  ],
  [
    'invokes_resumed_total',
    'Invokes started again when a shard was opened.',
    [],
    ({ load }) => one(load.invokesResumed),
  ],
  ['mailbox_items', 'What waits for its step.', [], (_, parts) => one(parts?.mailbox)],
  ['timers', 'Timers in memory.', [], (_, parts) => one(parts?.timers)],
  ['log_lag_messages', 'Messages of the log not delivered yet.', [], (_, parts) => one(parts?.lag)],
  ['outbox_held', 'Outbox rows on their way to NATS.', [], (_, parts) => one(parts?.outbox.held)],
  [
    'outbox_published_total',
    'Outbox rows published.',
    [],
    (_, parts) => one(parts?.outbox.published),
  ],
  [
    'outbox_failed_total',
    'Tries to publish that failed.',
    [],
    (_, parts) => one(parts?.outbox.failed),
  ],
  [
    'store_waiting',
    'Statements that wait for a connection.',
    ['lane'],
    (_, parts) => each('lane', Object.entries(parts?.waiting ?? {})),
  ],
  [
    'connection_up',
    '1 while the server is reached.',
    ['connection'],
    (source) => perBreaker(source, ({ state }) => (state === 'closed' ? 1 : 0)),
  ],
  [
    'breaker_state',
    '1 for the state the connection is in.',
    ['connection', 'state'],
    (source) =>
      Object.entries(source.breakers()).flatMap(
        ([connection, breaker]): Values =>
          STATES.map((state) => [breaker.state === state ? 1 : 0, { connection, state }]),
      ),
  ],
  [
    'reconnects_total',
    'Times a connection came back.',
    ['connection'],
    (source) => perBreaker(source, ({ reconnects }) => reconnects),
  ],
  [
    'lease_age_seconds',
    'Time since the lease was extended.',
    [],
    (source) => one(seconds(source.leaseAgeMs())),
  ],
];

const seconds = (ms: number | undefined) => (ms === undefined ? undefined : ms / 1_000);

/** The metrics of one node, in a registry of its own: several nodes may run in one process. */
export function createMetrics(source: MetricsSource): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const [suffix, help, labelNames, read] of METRICS) {
    const name = `perdure_${suffix}`;
    const options = { name, help, labelNames, registers: [registry] };
    if (suffix.endsWith('_total'))
      new Counter({
        ...options,
        collect() {
          this.reset();
          for (const [value, labels = {}] of read(source, source.parts())) this.inc(labels, value);
        },
      });
    else
      new Gauge({
        ...options,
        collect() {
          this.reset();
          // What is not known is left out: 0 would be a lie.
          if (labelNames.length === 0) this.remove();
          for (const [value, labels = {}] of read(source, source.parts())) this.set(labels, value);
        },
      });
  }
  const duration = new Histogram({
    name: 'perdure_commit_duration_seconds',
    help: 'From sending a commit statement to its answer.',
    buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers: [registry],
  });
  const size = new Histogram({
    name: 'perdure_commit_transitions',
    help: 'Transitions in one commit statement.',
    buckets: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000],
    registers: [registry],
  });
  const latency = new Histogram({
    name: 'perdure_message_latency_seconds',
    help: 'From publishing the oldest message of a commit to that commit.',
    buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60],
    registers: [registry],
  });
  return {
    registry,
    messageCommitted: (ms) => latency.observe(ms / 1_000),
    commitLanded(ms, transitions) {
      duration.observe(ms / 1_000);
      size.observe(transitions);
    },
  };
}
