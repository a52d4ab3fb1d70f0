import { composeEngine, type Engine } from '../actors/engine.ts';
import type { Invocation, InvocationRequest, Invocations } from '../actors/invocation.ts';
import type { Registry } from '../actors/registry.ts';
import { type Acting, emptyLoad } from '../actors/ring.ts';
import type { MemoryLog } from '../bus/memory.ts';
import type { MemoryBus } from '../bus/memoryBus.ts';
import type { Clock } from '../clock.ts';
import type { Limits } from '../config.ts';
import type { Logger } from '../log.ts';
import type { CommitResult, ShardCommit, Store } from '../store/store.ts';
import type { StoreTransaction } from '../store/userTransaction.ts';
import { VERSION } from '../version.ts';
import type { CrashPlan } from './crashPlan.ts';
import type { EffectLog } from './effectLog.ts';
import type { RealWork } from './realWork.ts';
import type { RecordStore } from './record.ts';
import { clockWhile, type VirtualTime } from './virtualTime.ts';

/** What the nodes of one cluster share. */
export interface NodeParts {
  time: VirtualTime;
  store: RecordStore;
  bus: MemoryLog;
  registry: Registry;
  limits: Limits;
  shards: number;
  log: Logger;
  plan: CrashPlan;
  effects: EffectLog;
  work: RealWork;
  passivatesAlways: boolean;
}

/**
 * One node: the real engine, on a store and a bus of its own that can be cut off at any moment.
 *
 *  N1  A dead node reaches nobody: its calls to the store are never made and never answered, its bus is cut, its
 *      timers and turns do not run.
 *  N2  What user code of a dead node still does is dropped; its `signal` is aborted, children are disposed of.
 */
export class TestNode {
  readonly id: string;
  readonly engine: Engine;
  readonly #parts: NodeParts;
  readonly #bus: MemoryBus;
  readonly #attempts = new Set<Invocation>();
  #alive = true;

  constructor(parts: NodeParts, number: number) {
    this.#parts = parts;
    const { time, limits, registry, shards, log, bus } = parts;
    this.id = time.world.uuid();
    this.#bus = bus.connect();
    const mine = (clock: Clock) => clockWhile(clock, () => this.#alive);
    const name = `node-${number}`;
    this.engine = composeEngine({
      node: {
        nodeId: this.id,
        name,
        host: 'test',
        pid: number,
        version: VERSION,
        opens: registry.opens,
        machines: registry.machines,
      },
      namespace: bus.namespace,
      shards,
      limits,
      registry,
      bus: this.#bus,
      store: this.#storeOfMine(),
      clock: mine(time.world),
      roundsClock: mine(time.rounds),
      log,
      load: emptyLoad(),
      witness: (acting, run) => this.#act(acting, run),
    });
    this.#watch(this.engine.ring.invocations);
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** As `kill -9`: nobody is told. */
  die(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#parts.time.touch();
    this.#parts.store.dropSession(this.id);
    this.#bus.setConnected(false);
    void this.#bus.close();
    for (const attempt of this.#attempts) attempt.abort();
    this.#parts.work.forget();
  }

  /** Its goodbye has been said. */
  async close(): Promise<void> {
    this.#alive = false;
    await this.#bus.close();
  }

  /** Actors that may leave memory leave. */
  passivate(): void {
    if (this.#alive)
      for (const shard of this.engine.ownership.shards.values()) shard.passivate(true);
  }

  #storeOfMine(): Store {
    const { store, time } = this.#parts;
    return new Proxy<Store>(store, {
      get: (_, name: keyof Store) => {
        if (name === 'commit')
          return (nodeId: string, commits: readonly ShardCommit[]) =>
            this.#commit(() => store.commit(nodeId, commits));
        if (name === 'begin') return this.#begin.bind(this);
        return async (...args: unknown[]) => {
          if (!this.#alive) return never();
          time.touch();
          const result = await (store[name] as (...args: unknown[]) => Promise<unknown>)(...args);
          return this.#alive ? result : never();
        };
      },
    });
  }

  async #begin(signal: AbortSignal): Promise<StoreTransaction> {
    const { store, time } = this.#parts;
    if (!this.#alive) return never();
    time.touch();
    const transaction = await store.begin(signal);
    return new Proxy(transaction, {
      get: (_, name: keyof StoreTransaction) => {
        if (name === 'commit')
          return (nodeId: string, commit: ShardCommit) =>
            this.#commit(() => transaction.commit(nodeId, commit));
        const value = transaction[name];
        return typeof value === 'function' ? value.bind(transaction) : value;
      },
    });
  }

  async #commit(send: () => Promise<CommitResult>): Promise<CommitResult> {
    const { time, plan, passivatesAlways } = this.#parts;
    if (!this.#alive) return never();
    time.touch();
    if (plan.diesBefore()) {
      this.die();
      return never();
    }
    const result = await send();
    if (plan.diesAfter()) this.die();
    if (!this.#alive) return never();
    // Behind what the commit causes, and ahead of the next turn.
    if (passivatesAlways) time.soon(() => this.passivate());
    return result;
  }

  #act({ address, seq, index, type }: Acting, run: () => unknown): unknown {
    if (!this.#alive) throw new Error('this node is dead');
    const { effects, plan, time } = this.#parts;
    time.touch();
    const actor = `${address.type}/${address.id}`;
    effects.action(actor, seq, index, type);
    try {
      return this.#work(`action ${type} of ${actor}`, run);
    } finally {
      if (plan.diesAfterEffect()) this.die();
    }
  }

  #work(name: string, run: () => unknown): unknown {
    const { work, time } = this.#parts;
    const result = work.run(name, run);
    if (result instanceof Promise) {
      const touch = () => time.touch();
      result.then(touch, touch);
    }
    return result;
  }

  /** Sees every attempt begin, and keeps hold of it. */
  #watch(invocations: Invocations): void {
    const start = invocations.start.bind(invocations);
    invocations.start = (request, listener) => {
      if (!this.#alive) return DEAD;
      const attempt = start(this.#watched(request), listener);
      this.#attempts.add(attempt);
      if (!this.#alive) attempt.abort();
      return attempt;
    };
  }

  #watched(request: InvocationRequest): InvocationRequest {
    const { child, address, seq, attempt, invokeId } = request;
    const actor = `${address.type}/${address.id}`;
    const { effects, plan, time } = this.#parts;
    const config = (args: object): unknown => {
      if (!this.#alive) throw new Error('this node is dead');
      time.touch();
      const { input } = args as { input: unknown };
      effects.invoke(actor, seq, invokeId, String(child.src), attempt, input);
      try {
        return this.#work(`${child.src} of ${actor}`, () => child.logic.config(args));
      } finally {
        if (plan.diesAfterEffect()) this.die();
      }
    };
    // Everything else about it is as it was; what runs sees itself as `self`.
    const logic = { value: Object.assign(Object.create(child.logic), { config }) };
    return { ...request, child: Object.create(child, { logic }) };
  }
}

/** A new one for each who waits: one for all would keep whatever waits for it, and so every node that has died. */
const never = () => new Promise<never>(() => {});

const DEAD: Invocation = {
  key: '',
  attempt: 0,
  ranMs: 0,
  startedBy: undefined,
  trace: undefined,
  outcome: undefined,
  isOpenEnded: true,
  listen() {},
  tell() {},
  taken() {},
  abort() {},
};
