import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { OUTBOX_HEADER } from '../../../src/bus/subjects.ts';
import { namespace } from '../../../src/config.ts';
import type { Address } from '../../../src/store/store.ts';
import { openSql, type Place, readOutcomes } from '../../support/cluster.ts';
import { type History, type OutcomeMessage, readHistory } from '../../support/history.ts';

/** Everything a run has left in the two stores. */
export interface Facts {
  history: History;
  outcomes: (OutcomeMessage & { output?: unknown })[];
  /** What actors have sent, as it stands in the log. */
  messages: { outboxId: string; subject: string; body: string }[];
  cluster: ClusterFacts;
  /** When the history was read, ms since 1970. */
  readAt: number;
}

/** Who owns what now, and what still waits. */
export interface ClusterFacts {
  shards: { shard: number; owner: string | null; live: boolean }[];
  /** The consumer each shard is read through. */
  consumers: { name: string; pending: number; unacked: number }[];
  quarantined: Address[];
}

/**
 * The streams first: what is in them was committed before, so it must be in a history that is read later, also while
 * everything still runs.
 */
export async function readFacts(place: Place): Promise<Facts> {
  const messages = await readMessages(place);
  const outcomes = await readOutcomes(place);
  const history = await readHistory(place);
  return { history, outcomes, messages, cluster: await readCluster(place), readAt: Date.now() };
}

async function withNats<T>(place: Place, work: (nc: NatsConnection) => Promise<T>): Promise<T> {
  const nc = await connect({ servers: place.natsUrl.split(',') });
  try {
    return await work(nc);
  } finally {
    await nc.close();
  }
}

const readMessages = (place: Place): Promise<Facts['messages']> =>
  withNats(place, async (nc) => {
    const { jobsStream } = namespace(place.namespace);
    const { state } = await (await jetstreamManager(nc)).streams.info(jobsStream);
    const found: Facts['messages'] = [];
    if (state.messages === 0) return found;
    const consumer = await jetstream(nc).consumers.get(jobsStream);
    for await (const message of await consumer.consume({ max_messages: 1_000 })) {
      const outboxId = message.headers?.get(OUTBOX_HEADER) ?? '';
      if (outboxId !== '')
        found.push({ outboxId, subject: message.subject, body: message.string() });
      // What is published meanwhile is nobody's business.
      if (message.info.pending === 0 || message.seq >= state.last_seq) break;
    }
    return found;
  });

/** At this moment; a cluster that is healthy needs a moment to converge. */
export async function readCluster(place: Place): Promise<ClusterFacts> {
  const sql = await openSql(place);
  try {
    const shards = await sql.query<ClusterFacts['shards'][number]>(
      `SELECT s.shard, s.owner, coalesce(n.live, false) AS live
         FROM shards s LEFT JOIN nodes n ON n.node_id = s.owner ORDER BY s.shard`,
    );
    const quarantined = await sql.query<Address>(`SELECT type, id FROM quarantined`);
    return { shards, quarantined, consumers: await readConsumers(place) };
  } finally {
    await sql.close();
  }
}

/** Of one shard the youngest: those of earlier epochs are left over until the server drops them. */
const readConsumers = (place: Place): Promise<ClusterFacts['consumers']> =>
  withNats(place, async (nc) => {
    const jsm = await jetstreamManager(nc);
    const youngest = new Map<string, ClusterFacts['consumers'][number] & { epoch: number }>();
    for await (const info of jsm.consumers.list(namespace(place.namespace).jobsStream)) {
      const [, shard, epoch] = /^(s\d+)-e(\d+)-/.exec(info.name) ?? [];
      if (shard === undefined || Number(epoch) < (youngest.get(shard)?.epoch ?? 0)) continue;
      youngest.set(shard, {
        name: info.name,
        epoch: Number(epoch),
        pending: info.num_pending,
        unacked: info.num_ack_pending,
      });
    }
    return [...youngest.values()].map(({ epoch: _epoch, ...consumer }) => consumer);
  });
