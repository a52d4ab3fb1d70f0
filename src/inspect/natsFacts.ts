import type { ConsumerInfo, StreamConfig, StreamInfo } from '@nats-io/jetstream';
import { JetStreamApi } from '../bus/api.ts';
import type { Connection } from '../bus/connection.ts';
import { NatsBus } from '../bus/nats.ts';
import { subjects } from '../bus/subjects.ts';
import { atMost, systemClock } from '../clock.ts';
import { type Namespace, SHARDS } from '../config.ts';
import { asError } from '../errors.ts';
import type { Logger } from '../log.ts';

/** What `perdure doctor` asks a NATS server. */
export interface NatsFacts {
  version: string;
  /** Name of the cluster the server belongs to, null when it stands alone. */
  cluster: string | null;
  maxPayload: number;
  /** Undefined when JetStream answers; else why it does not. */
  jetStreamTrouble: string | undefined;
  jobs: StreamFacts | undefined;
  outcomes: StreamFacts | undefined;
  /** Why these credentials cannot do what a node does; empty when they can. */
  refusals: string[];
  /** Messages of the log that no node has applied yet, as far as its consumers know. */
  waiting: number;
  consumers: number;
}

export interface StreamFacts {
  config: StreamConfig;
  bytes: number;
  messages: number;
  /** Copies that are behind or away. */
  copiesBehind: number;
}

/** A wrong answer comes at once; no answer at all is one too. */
const ANSWER_MS = 2_000;

/** Asks over a connection of its own; leaves nothing behind. `heard` is what the server last complained about. */
export async function readNatsFacts(
  connection: Connection,
  namespace: Namespace,
  log: Logger,
  heard: () => string | undefined = () => undefined,
): Promise<NatsFacts> {
  const settings = {
    natsUrl: '',
    namespace,
    shards: SHARDS,
    clock: systemClock,
    log,
    ensureStreams: false,
  };
  const api = new JetStreamApi(connection, settings);
  const bus = new NatsBus(connection, settings);
  const { info } = connection.nc;
  const trouble = await refusal(api.call((jsm) => jsm.getAccountInfo()));
  const [jobs, outcomes] = await Promise.all(
    [namespace.jobsStream, namespace.outcomesStream].map((name) => readStream(api, name)),
  );
  const consumers = jobs === undefined ? [] : await readConsumers(api, namespace);
  return {
    version: info?.version ?? 'unknown',
    cluster: info?.cluster ?? null,
    maxPayload: info?.max_payload ?? 0,
    jetStreamTrouble: trouble,
    jobs,
    outcomes,
    refusals:
      jobs === undefined ? [] : await tryPermissions(connection, bus, api, namespace, heard),
    waiting: consumers.reduce((sum, one) => sum + one.num_pending + one.num_ack_pending, 0),
    consumers: consumers.length,
  };
}

async function readStream(api: JetStreamApi, name: string): Promise<StreamFacts | undefined> {
  const info = await api
    .call((jsm) => jsm.streams.info(name))
    .catch((): StreamInfo | undefined => undefined);
  if (info === undefined) return undefined;
  const copies = info.cluster?.replicas ?? [];
  return {
    config: info.config,
    bytes: info.state.bytes,
    messages: info.state.messages,
    copiesBehind: copies.filter((copy) => !copy.current || copy.offline).length,
  };
}

function readConsumers(api: JetStreamApi, { jobsStream }: Namespace): Promise<ConsumerInfo[]> {
  return api
    .call(async (jsm) => {
      const found: ConsumerInfo[] = [];
      for await (const one of jsm.consumers.list(jobsStream)) found.push(one);
      return found;
    })
    .catch(() => []);
}

/** Tries what a node does, in ways that store nothing. */
async function tryPermissions(
  connection: Connection,
  bus: NatsBus,
  api: JetStreamApi,
  namespace: Namespace,
  heard: () => string | undefined,
): Promise<string[]> {
  // One after the other: what is heard meanwhile belongs to the one that was tried.
  const found = [
    await tryPublish(bus, namespace, heard),
    await tryConsume(connection, api, namespace),
    await tryNodes(connection, namespace, heard),
  ];
  return found.filter((trouble) => trouble !== undefined);
}

/**
 * A publish that expects another stream is refused by JetStream, after it has passed every permission. One without
 * permission gets no answer at all; the server complains elsewhere.
 */
async function tryPublish(
  bus: NatsBus,
  namespace: Namespace,
  heard: () => string | undefined,
): Promise<string | undefined> {
  const subject = subjects.start(namespace, 'perdure-doctor', 'perdure-doctor');
  const headers = { 'Nats-Expected-Stream': 'perdure-doctor' };
  const trouble = await refusal(bus.publish(subject, '', { headers, timeoutMs: ANSWER_MS }));
  if (trouble === undefined || /expected stream does not match/.test(trouble)) return undefined;
  return `cannot publish to ${namespace.subjectPrefix}jobs.>: ${heard() ?? trouble}`;
}

/** A consumer of its own, beyond the end of the log, that the server forgets soon if we cannot delete it. */
async function tryConsume(
  { nc }: Connection,
  api: JetStreamApi,
  { jobsStream }: Namespace,
): Promise<string | undefined> {
  const name = `doctor-${systemClock.uuid().slice(-12)}`;
  const created = await refusal(
    api.call((jsm) =>
      jsm.consumers.add(jobsStream, {
        durable_name: name,
        filter_subject: '0.>',
        ack_policy: 'explicit',
        deliver_policy: 'new',
        num_replicas: 1,
        mem_storage: true,
        inactive_threshold: 5_000_000_000,
      }),
    ),
    `cannot create a consumer on ${jobsStream}`,
  );
  if (created !== undefined) return created;
  const next = `$JS.API.CONSUMER.MSG.NEXT.${jobsStream}.${name}`;
  const pulled = await refusal(
    nc.request(next, '{"batch":1,"no_wait":true}', { timeout: ANSWER_MS }),
    `cannot read from ${jobsStream}`,
  );
  await api.deleteConsumer(name);
  return pulled;
}

/** Says nothing on the subject nodes talk on, and listens for it. */
async function tryNodes(
  { nc }: Connection,
  namespace: Namespace,
  heard: () => string | undefined,
): Promise<string | undefined> {
  const subject = subjects.nodes(namespace);
  const word = systemClock.uuid();
  let came = false;
  const subscription = nc.subscribe(subject);
  const listen = async () => {
    for await (const message of subscription) {
      came = message.string() === word;
      if (came) return;
    }
  };
  nc.publish(subject, word);
  let trouble: string | undefined;
  const listening = refusal(listen()).then((reason) => {
    trouble = reason;
  });
  await atMost(systemClock, ANSWER_MS, listening);
  subscription.unsubscribe();
  if (came) return undefined;
  return `cannot speak and listen on ${subject}: ${trouble ?? heard() ?? 'nothing comes back'}`;
}

/** Why it was refused, or undefined. */
async function refusal(work: Promise<unknown>, what = ''): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (thrown) {
    const reason = asError(thrown).message;
    return what === '' ? reason : `${what}: ${reason}`;
  }
}
