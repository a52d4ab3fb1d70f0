import {
  AckPolicy,
  type ConsumerConfig,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';
import type { Namespace } from '../config.ts';
import { PerdureError } from '../errors.ts';
import type { ReaderOptions } from './bus.ts';

/** Oldest nats-server with stream subject transforms, on which the shards rest. */
const SERVER_MIN = '2.10.0';
/** Oldest nats-server whose batches are used. */
const BATCHES_MIN = '2.14.0';

export interface TopologyOptions {
  /** Shards of the namespace: the modulus of the stream's subject transform. */
  shards: number;
  /** Copies of each stream, 1 to 5. Default 1. An existing stream is changed only when this is given. */
  replicas?: number;
  /** How long JetStream remembers message ids, ms. Default 2 min. */
  duplicateWindowMs?: number;
  /** How long outcomes are kept, ms. Default 7 days. */
  outcomesMaxAgeMs?: number;
  /** Room for what was asked, bytes; when it is full publishing fails with `log_full`. Default unlimited. */
  jobsMaxBytes?: number;
  /** Room for outcomes, bytes; the oldest make way. Default unlimited. */
  outcomesMaxBytes?: number;
}

/** The streams of a namespace, as data. docs/protocol.md shows them for those who create them by hand. */
export function streamConfigs(
  ns: Namespace,
  options: TopologyOptions,
): [
  jobs: Partial<StreamConfig> & { name: string },
  outcomes: Partial<StreamConfig> & { name: string },
] {
  const prefix = ns.subjectPrefix;
  return [
    {
      name: ns.jobsStream,
      subjects: [`${prefix}jobs.*.*`, `${prefix}events.*.*`],
      // The numbers count wildcards, not tokens, so that the stored form is the same with and without a prefix.
      subject_transform: {
        src: `${prefix}*.*.*`,
        dest: `{{partition(${options.shards},2,3)}}.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}`,
      },
      storage: StorageType.File,
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.New,
      deny_delete: true,
      num_replicas: options.replicas ?? 1,
      duplicate_window: nanos(options.duplicateWindowMs ?? 120_000),
      max_bytes: options.jobsMaxBytes ?? -1,
    },
    {
      name: ns.outcomesStream,
      subjects: [`${prefix}outcomes.*.*`],
      storage: StorageType.File,
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.Old,
      num_replicas: options.replicas ?? 1,
      duplicate_window: nanos(options.duplicateWindowMs ?? 120_000),
      max_age: nanos(options.outcomesMaxAgeMs ?? 7 * 86_400_000),
      max_bytes: options.outcomesMaxBytes ?? -1,
    },
  ];
}

/**
 * Creates the streams of a namespace, or checks the ones that exist. A limit that was given explicitly is
 * brought up to date; one that an operator tuned by hand and nobody gave is left alone.
 * @throws PerdureError `shards_differ`, `bad_options` when the stream there is not one of ours.
 */
export async function ensureTopology(
  jsm: JetStreamManager,
  ns: Namespace,
  options: TopologyOptions,
  serverVersion: string,
): Promise<void> {
  const batches: Partial<StreamConfig> = takesBatches(serverVersion) ? { allow_atomic: true } : {};
  const given = {
    num_replicas: options.replicas,
    duplicate_window: options.duplicateWindowMs,
    max_bytes: options.jobsMaxBytes ?? options.outcomesMaxBytes,
    max_age: options.outcomesMaxAgeMs,
  };
  for (const want of streamConfigs(ns, options)) {
    const found = await createOrRead(jsm, { ...want, ...batches });
    if (found === null) continue;
    check(found, want, options.shards);
    const changes: Partial<StreamConfig> = {};
    for (const key of ['num_replicas', 'duplicate_window', 'max_bytes', 'max_age'] as const)
      if (given[key] !== undefined && want[key] !== undefined && want[key] !== found.config[key])
        changes[key] = want[key];
    if (Object.keys(changes).length > 0) await jsm.streams.update(want.name, changes);
    // Faster with it, right without it: who may not update a stream goes on.
    if (batches.allow_atomic && !found.config.allow_atomic)
      await jsm.streams.update(want.name, batches).catch(() => {});
  }
}

/** Null when this call created the stream. */
async function createOrRead(
  jsm: JetStreamManager,
  want: Partial<StreamConfig> & { name: string },
): Promise<StreamInfo | null> {
  try {
    return await jsm.streams.info(want.name);
  } catch (thrown) {
    if (!isStreamMissing(thrown)) throw thrown;
  }
  try {
    await jsm.streams.add(want);
    return null;
  } catch (thrown) {
    // 10058: another node created it with other limits in the meantime.
    if (thrown instanceof JetStreamApiError && thrown.code === 10058)
      return await jsm.streams.info(want.name);
    // 10065: another stream listens on our subjects.
    if (thrown instanceof JetStreamApiError && thrown.code === 10065)
      throw new PerdureError(
        'bad_options',
        `Stream ${want.name} cannot be created: another stream takes ${want.subjects?.join(' or ')}. ` +
          'Use another namespace or remove that stream.',
        { cause: thrown },
      );
    throw thrown;
  }
}

function check(found: StreamInfo, want: Partial<StreamConfig> & { name: string }, shards: number) {
  const dest = found.config.subject_transform?.dest;
  const foundShards = /^\{\{ ?partition\((\d+),2,3\) ?\}\}\./.exec(dest ?? '')?.[1];
  if (foundShards !== undefined && Number(foundShards) !== shards)
    throw new PerdureError(
      'shards_differ',
      `Stream ${want.name} has ${foundShards} shards, this node was given ${shards}.`,
    );
  const differs =
    dest !== want.subject_transform?.dest ||
    found.config.subject_transform?.src !== want.subject_transform?.src
      ? 'subject_transform'
      : [...found.config.subjects].sort().join() !== [...(want.subjects ?? [])].sort().join()
        ? 'subjects'
        : (['retention', 'discard', 'storage'] as const).find(
            (key) => found.config[key] !== want[key],
          );
  if (differs)
    throw new PerdureError(
      'bad_options',
      `Stream ${want.name} exists and is not one of Perdure's: its ${differs} is ` +
        `${JSON.stringify(found.config[differs])}, needed ${JSON.stringify(want[differs])}.`,
    );
}

/**
 * The consumer of one reader. Its state is one unreplicated copy in memory: the cursor in Postgres is the
 * truth, and a lost consumer is one more surprise (design §4).
 */
export function consumerConfig(
  name: string,
  options: Pick<ReaderOptions, 'shard' | 'startSeq' | 'pendingMax' | 'ackWaitMs'>,
): Partial<ConsumerConfig> {
  return {
    durable_name: name,
    filter_subject: `${options.shard}.>`,
    ack_policy: AckPolicy.All,
    ack_wait: nanos(options.ackWaitMs),
    max_ack_pending: options.pendingMax,
    max_deliver: -1,
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: Math.max(1, options.startSeq),
    num_replicas: 1,
    mem_storage: true,
    // Long enough for any pause of a live node, short enough that the dead leave nothing behind.
    inactive_threshold: nanos(300_000),
  };
}

/** Whether the server stores messages with ids in batches, all or none (NATS ADR-50). */
export function takesBatches(serverVersion: string): boolean {
  return !isOlder(serverVersion, BATCHES_MIN);
}

/** @throws PerdureError `server_too_old` saying what was found and what is needed. */
export function assertServerVersion(version: string): void {
  if (isOlder(version, SERVER_MIN))
    throw new PerdureError(
      'server_too_old',
      `The NATS server is version ${version}; Perdure needs ${SERVER_MIN} or newer.`,
    );
}

function isOlder(version: string, least: string): boolean {
  const numbers = (text: string) => (/^v?(\d+)\.(\d+)/.exec(text) ?? []).slice(1).map(Number);
  const [major = 0, minor = 0] = numbers(version);
  const [needMajor = 0, needMinor = 0] = numbers(least);
  return major < needMajor || (major === needMajor && minor < needMinor);
}

export function isStreamMissing(thrown: unknown): boolean {
  return thrown instanceof JetStreamApiError && thrown.code === JetStreamApiCodes.StreamNotFound;
}
