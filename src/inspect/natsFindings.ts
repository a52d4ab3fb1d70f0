import type { StreamConfig } from '@nats-io/jetstream';
import { assertServerVersion, streamConfigs } from '../bus/topology.ts';
import { LIMITS, type Namespace, SHARDS } from '../config.ts';
import { asError } from '../errors.ts';
import { type Finding, fail, ok, warn } from './finding.ts';
import type { NatsFacts, StreamFacts } from './natsFacts.ts';

/** Room for subject and headers beside a body. */
const HEADERS_BYTES = 16 * 1024;
/** A stream this full needs somebody soon. */
const FULL = 0.8;

/** Judges what a NATS server said. Pure. */
export function natsFindings(facts: NatsFacts, namespace: Namespace): Finding[] {
  const [jobs, outcomes] = streamConfigs(namespace, { shards: SHARDS });
  return [
    version(facts),
    maxPayload(facts),
    jetStream(facts),
    ...(facts.jetStreamTrouble === undefined
      ? [
          ...streamFindings(jobs, facts.jobs, facts),
          ...streamFindings(outcomes, facts.outcomes, facts),
          ...permissions(facts),
        ]
      : []),
  ];
}

function version({ version }: NatsFacts): Finding {
  try {
    assertServerVersion(version);
    return ok('nats version', version);
  } catch (thrown) {
    return fail('nats version', asError(thrown).message, 'Upgrade nats-server.');
  }
}

function maxPayload({ maxPayload }: NatsFacts): Finding {
  const check = 'nats max_payload';
  const found = `${maxPayload} bytes; bodies may have ${LIMITS.bodyMaxBytes}`;
  if (maxPayload >= LIMITS.bodyMaxBytes + HEADERS_BYTES) return ok(check, found);
  return fail(
    check,
    found,
    'Raise max_payload of nats-server to its default of 1MB, or lower the limit bodyMaxBytes of every node.',
  );
}

function jetStream({ jetStreamTrouble, cluster }: NatsFacts): Finding {
  if (jetStreamTrouble === undefined)
    return ok('jetstream', cluster === null ? 'enabled' : `enabled, cluster ${cluster}`);
  return fail(
    'jetstream',
    `does not answer: ${jetStreamTrouble}`,
    'Start nats-server with -js (or jetstream {} in its configuration), and enable it for this account.',
  );
}

function streamFindings(
  want: Partial<StreamConfig> & { name: string },
  found: StreamFacts | undefined,
  facts: NatsFacts,
): Finding[] {
  const check = `stream ${want.name}`;
  if (found === undefined)
    return [warn(check, 'does not exist yet', 'The first node creates it: perdure serve FILE.')];
  const wrong = differences(want, found.config);
  return [
    wrong.length > 0
      ? fail(
          check,
          `is not as it must be: ${wrong.join('; ')}`,
          'Correct it with nats stream edit, or remove a stream that is not ours; a node says the same at start.',
        )
      : ok(check, `${found.messages} messages, ${found.bytes} bytes`),
    ...room(check, found),
    ...copies(check, found, facts),
  ];
}

type Key = keyof StreamConfig;

/** What makes it another stream than ours, or lets messages vanish before they were applied (G1). */
function differences(want: Partial<StreamConfig>, found: StreamConfig): string[] {
  const same = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);
  const wrong: string[] = [];
  const differs = (key: Key, must: unknown, is: unknown) =>
    wrong.push(`${key} is ${JSON.stringify(is)}, must be ${JSON.stringify(must)}`);
  for (const key of ['retention', 'discard', 'storage'] as const)
    if (found[key] !== want[key]) differs(key, want[key], found[key]);
  if (!same([...(found.subjects ?? [])].sort(), [...(want.subjects ?? [])].sort()))
    differs('subjects', want.subjects, found.subjects);
  const transform = ({ src, dest }: { src?: string; dest?: string } = {}) => [src, dest];
  if (!same(transform(found.subject_transform), transform(want.subject_transform)))
    differs('subject_transform', want.subject_transform, found.subject_transform);
  if (want.discard === 'new') {
    if (found.max_age > 0) differs('max_age', 0, found.max_age);
    if (found.max_msgs_per_subject > 0)
      differs('max_msgs_per_subject', -1, found.max_msgs_per_subject);
    if (found.deny_purge) differs('deny_purge', false, true);
  }
  if (found.max_msg_size > 0 && found.max_msg_size < LIMITS.bodyMaxBytes)
    differs('max_msg_size', -1, found.max_msg_size);
  if (found.sealed) differs('sealed', false, true);
  if (found.no_ack) differs('no_ack', false, true);
  return wrong;
}

function room(check: string, { config, bytes, messages }: StreamFacts): Finding[] {
  // The one that makes room by itself is never too full.
  if (config.discard !== 'new') return [];
  const parts = [
    { name: 'max_bytes', used: bytes, max: config.max_bytes },
    { name: 'max_msgs', used: messages, max: config.max_msgs },
  ].filter(({ max }) => max > 0);
  return parts.map(({ name, used, max }) => {
    const found = `${Math.round((used / max) * 100)} % of ${name} (${max}) used`;
    return used / max < FULL
      ? ok(`${check} room`, found)
      : warn(
          `${check} room`,
          `${found}: when it is full publishing fails with log_full`,
          `Raise ${name} with nats stream edit, or let nodes catch up; what was applied stays for the replay window.`,
        );
  });
}

function copies(check: string, found: StreamFacts, { cluster }: NatsFacts): Finding[] {
  const { num_replicas: replicas } = found.config;
  if (found.copiesBehind > 0)
    return [
      warn(
        `${check} copies`,
        `${found.copiesBehind} of ${replicas} behind or away`,
        'Look at the cluster: nats server report jetstream.',
      ),
    ];
  if (cluster === null || replicas >= 3) return [ok(`${check} copies`, String(replicas))];
  return [
    warn(
      `${check} copies`,
      `${replicas} in a cluster: a lost server stops it or loses it`,
      'Use 3: start nodes with replicas: 3, or nats stream edit --replicas 3.',
    ),
  ];
}

function permissions({ jobs, refusals }: NatsFacts): Finding[] {
  if (jobs === undefined) return [];
  if (refusals.length === 0)
    return [ok('nats permissions', 'may publish, read the log, and talk to other nodes')];
  return [
    fail(
      'nats permissions',
      refusals.join('; '),
      'Give the user of the nodes publish and subscribe rights on jobs.>, events.>, outcomes.>, transitions.>, queries.>, nodes, $JS.API.> and _INBOX.> (with the prefix of the namespace).',
    ),
  ];
}
