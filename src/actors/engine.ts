import type { Bus } from '../bus/bus.ts';
import type { Clock } from '../clock.ts';
import type { Limits, Namespace } from '../config.ts';
import type { Logger } from '../log.ts';
import type { NodeInfo } from '../store/sharing.ts';
import type { Store } from '../store/store.ts';
import { Committer } from './committer.ts';
import { Invocations } from './invocation.ts';
import { Lease } from './lease.ts';
import { Loader } from './loader.ts';
import { LogSource } from './logSource.ts';
import { answerMailboxes } from './mailboxes.ts';
import { Marks } from './marks.ts';
import { Newcomers } from './newcomers.ts';
import { Others } from './others.ts';
import { Outbox } from './outbox.ts';
import { Outcomes } from './outcomes.ts';
import { Ownership } from './ownership.ts';
import { Pulse } from './pulse.ts';
import { answerQueries } from './queries.ts';
import type { Registry } from './registry.ts';
import type { NodeLoad, Ring, Witness } from './ring.ts';
import { Timers } from './timers.ts';
import { type Tracing, traceOfRow } from './tracing.ts';
import { Transactions } from './transactions.ts';
import { Trials } from './trials.ts';
import { startUpkeep } from './upkeep.ts';

/** What a node's engine is built on: contracts, and settings. */
export interface EngineParts {
  node: NodeInfo;
  namespace: Namespace;
  /** How many there are in the namespace. */
  shards: number;
  limits: Limits;
  registry: Registry;
  bus: Bus;
  store: Store;
  clock: Clock;
  /** Time for the engine's own rounds and short waits, when it is not `clock`. */
  roundsClock?: Clock;
  log: Logger;
  load: NodeLoad;
  /** A statement has landed: how long it took, and what it carried. */
  landed?: ((ms: number, transitions: number) => void) | undefined;
  /** How long the oldest message of a commit was in the log before it was committed, ms. */
  waited?: ((ms: number) => void) | undefined;
  witness?: Witness;
  tracing?: Tracing | undefined;
}

/** The ring of one node, whatever it runs on: NATS and Postgres, or their twins in memory. */
export interface Engine {
  readonly ring: Ring;
  readonly ownership: Ownership;
  /** Claims the node's share; resolves once those shards are open. */
  start(): Promise<void>;
  /** Gives every shard back. */
  stop(): Promise<void>;
}

/** Puts the parts of the ring together. Nothing happens before `start()`. */
export function composeEngine(parts: EngineParts): Engine {
  const { node, namespace, limits, registry, bus, store, clock, log, load } = parts;
  const { nodeId } = node;
  /** What was started, newest last; stopped in reverse. */
  const started: (() => Promise<void> | void)[] = [];
  const source = new LogSource(bus, store, log, () => {
    for (const shard of ownership.shards.keys()) ownership.surprise(shard, 'the log was recreated');
  });
  const timers = new Timers(clock, (timer) => {
    const { type, id, timerId, armedSeq, event } = timer;
    const shard = ownership.shards.get(timer.shard);
    shard?.post({ kind: 'timer', address: { type, id }, timerId, armedSeq, event });
  });
  const outbox = new Outbox({
    bus,
    clock,
    limits,
    namespace,
    log,
    ...(parts.tracing && { traceOf: (row) => traceOfRow(store, row) }),
    published: (shard, messageId) =>
      ownership.shards.get(shard)?.post({ kind: 'published', messageId }),
    refused: (refused) =>
      ownership.shards.get(refused.row.shard)?.post({ kind: 'undeliverable', ...refused }),
  });
  const lease = new Lease(clock, limits.leaseMs, () => ownership.renewNow());
  const rounds = parts.roundsClock ?? clock;
  const committer = new Committer({
    store,
    clock,
    rounds,
    log,
    nodeId,
    lease,
    ...(parts.landed && { landed: parts.landed }),
    commitMax: limits.commitMax,
    inFlightMax: limits.commitsInFlight,
  });
  const loader = new Loader(store, clock, limits.eventIdsInMemory);
  const transactions = new Transactions(store, clock);
  const outcomes = new Outcomes(bus, loader, clock, namespace);
  const ring: Ring = {
    nodeId,
    namespace,
    limits,
    clock: rounds,
    log,
    bus,
    store,
    registry,
    others: new Others(registry, rounds, async () => (await store.standing(nodeId)).others),
    loader,
    newcomers: new Newcomers(clock),
    committer,
    lease,
    invocations: new Invocations(clock, lease, {
      max: limits.invocationsMax,
      sentMax: limits.childEventsMax,
      outcome: (address, signal) => outcomes.wait(address, signal),
      transactions,
      tracing: parts.tracing,
    }),
    transactions,
    timers,
    trials: new Trials(rounds, log),
    marks: new Marks(store, clock, nodeId),
    outbox,
    source,
    load,
    pulse: new Pulse(nodeId),
    tracing: parts.tracing,
    ...(parts.waited && { waited: parts.waited }),
    ...(parts.witness && { witness: parts.witness }),
    surprise: (...given) => ownership.surprise(...given),
    resumed: (shard) => ownership.resumed(shard),
  };
  const ownership = new Ownership(ring, node, parts.shards);
  return {
    ring,
    ownership,
    async start() {
      await source.check();
      started.push(
        () => timers.stop(),
        () => outbox.stop(),
        () => ownership.stop(),
      );
      await ownership.start();
      started.push(startUpkeep(ring, ownership), answerQueries(ring));
      started.push(answerMailboxes(ring, ownership.shards, parts.shards));
    },
    async stop() {
      for (let part = started.pop(); part; part = started.pop()) await part();
    },
  };
}
