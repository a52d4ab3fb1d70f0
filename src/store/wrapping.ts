import { asError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { type TextCodec, unwrap, type Writing, wrap, writes } from '../textCodec.ts';
import {
  type ActorWrite,
  addressKey,
  type Recovered,
  type ShardCommit,
  type Store,
  type StoredActor,
} from './store.ts';
import type { StoreTransaction } from './userTransaction.ts';

/**
 * A store whose texts go through the user's codec: snapshots, events, outputs, errors (also of attempts), retries and outbox bodies. Rows from
 * before there was one are read as they are. What cannot be opened harms nothing else: an actor comes as it is recorded, and
 * whoever reads its snapshot learns why; timers and messages stay in Postgres, for a node that can open them.
 */
export function wrappingStore(store: Store, codec: TextCodec | undefined, log: Logger): Store {
  const told = new Set<string>();
  const tell = (what: object, error: unknown) => {
    const line = JSON.stringify(what);
    if (told.has(line)) return;
    if (told.size >= TOLD_MAX) told.clear();
    told.add(line);
    log.error({ ...what, error: asError(error).message }, 'codec: cannot open what is recorded');
  };
  const open = (text: string) => unwrap(codec, text);
  const openIfAny = (text: string | null) => (text === null ? null : open(text));

  const actor = (row: StoredActor): StoredActor => {
    try {
      return {
        ...row,
        snapshot: open(row.snapshot),
        output: openIfAny(row.output),
        error: openIfAny(row.error),
        retries: openIfAny(row.retries),
      };
    } catch (error) {
      tell({ actor: addressKey(row) }, error);
      return row;
    }
  };
  /** The rows that can be opened, with `key` opened. */
  const those = <
    K extends string,
    Row extends { [key in K]: string } & { type: string; id: string },
  >(
    rows: readonly Row[],
    key: K,
    what: string,
  ): Row[] =>
    rows.flatMap((row) => {
      try {
        return [{ ...row, [key]: open(row[key]) }];
      } catch (error) {
        tell({ [what]: addressKey(row) }, error);
        return [];
      }
    });
  const recovered = ({ actors, timers, outbox, ...rest }: Recovered): Recovered => ({
    ...rest,
    actors: actors.map(actor),
    timers: those(timers, 'event', 'timer'),
    outbox: those(outbox, 'body', 'message'),
  });

  return {
    register: (...given) => store.register(...given),
    renew: (...given) => store.renew(...given),
    drain: (...given) => store.drain(...given),
    unregister: (...given) => store.unregister(...given),
    claim: (...given) => store.claim(...given),
    reclaim: (...given) => store.reclaim(...given),
    tryMessages: (...given) => store.tryMessages(...given),
    tryActors: (...given) => store.tryActors(...given),
    forgive: (...given) => store.forgive(...given),
    release: (...given) => store.release(...given),
    adoptLog: (...given) => store.adoptLog(...given),
    standing: (...given) => store.standing(...given),
    knownEvents: (...given) => store.knownEvents(...given),
    markLog: (...given) => store.markLog(...given),
    need: (...given) => store.need(...given),
    // As publishers sent them.
    parkedMessages: (...given) => store.parkedMessages(...given),
    async begin(signal) {
      const transaction = await store.begin(signal);
      return writes(codec) ? wrappedTransaction(codec, transaction) : transaction;
    },
    commit: (nodeId, commits) =>
      store.commit(
        nodeId,
        writes(codec) ? commits.map((commit) => wrapped(codec, commit)) : commits,
      ),
    recover: async (shards, horizonMs) => recovered(await store.recover(shards, horizonMs)),
    async nearTimers(shards, horizonMs) {
      const { at, timers } = await store.nearTimers(shards, horizonMs);
      return { at, timers: those(timers, 'event', 'timer') };
    },
    staleOutbox: async (shards, olderThanMs, limit) =>
      those(await store.staleOutbox(shards, olderThanMs, limit), 'body', 'message'),
    load: async (addresses, eventIdsMax) => (await store.load(addresses, eventIdsMax)).map(actor),
    transitions: async (address, fromSeq, limit) =>
      (await store.transitions(address, fromSeq, limit)).map((row) => ({
        ...row,
        event: open(row.event),
        snapshot: open(row.snapshot),
      })),
  };
}

const TOLD_MAX = 10_000;

function wrappedTransaction(codec: Writing, transaction: StoreTransaction): StoreTransaction {
  return {
    tx: transaction.tx,
    get mayRunAgain() {
      return transaction.mayRunAgain;
    },
    close: () => transaction.close(),
    commit: (nodeId, commit) => transaction.commit(nodeId, wrapped(codec, commit)),
    abandon: () => transaction.abandon(),
  };
}

function wrapped(codec: Writing, commit: ShardCommit): ShardCommit {
  const close = (text: string): string => wrap(codec, text);
  const closeIfAny = (text: string | null) => (text === null ? null : close(text));
  return {
    ...commit,
    actors: commit.actors.map(
      (row): ActorWrite => ({
        ...row,
        output: closeIfAny(row.output),
        error: closeIfAny(row.error),
        retries: closeIfAny(row.retries),
      }),
    ),
    transitions: commit.transitions.map((row) => ({
      ...row,
      event: close(row.event),
      snapshot: close(row.snapshot),
    })),
    timersArmed: commit.timersArmed.map((row) => ({ ...row, event: close(row.event) })),
    outboxAdded: commit.outboxAdded.map((row) => ({ ...row, body: close(row.body) })),
    failedAttempts: commit.failedAttempts?.map((row) => ({ ...row, error: close(row.error) })),
  };
}
