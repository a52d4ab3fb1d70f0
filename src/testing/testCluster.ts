import { setTimeout as wait } from 'node:timers/promises';
import type { AnyStateMachine, InputFrom } from 'xstate';
import { parse, stringify } from '../actors/codec.ts';
import type { ActorType } from '../actors/define.ts';
import { eventProblem } from '../actors/intake.ts';
import { Registry } from '../actors/registry.ts';
import { createMemoryLog, type MemoryLog } from '../bus/memory.ts';
import type { MemoryBus } from '../bus/memoryBus.ts';
import { assertToken, subjects } from '../bus/subjects.ts';
import { LIMITS, type Limits, namespace, resolveLimits } from '../config.ts';
import { type ErrorCode, PerdureError } from '../errors.ts';
import { createLogger } from '../log.ts';
import type { TestTransaction } from '../store/memoryTransaction.ts';
import type { Address } from '../store/store.ts';
import { type CrashOption, CrashPlan, type CrashPoint } from './crashPlan.ts';
import { type EffectEntry, EffectLog } from './effectLog.ts';
import { RealWork } from './realWork.ts';
import { type DeadLetter, RecordStore } from './record.ts';
import { type EmittedEntry, type Stage, TestActor } from './testActor.ts';
import { type NodeParts, TestNode } from './testNode.ts';
import { VirtualTime } from './virtualTime.ts';

export interface TestClusterOptions {
  /** As for a node: of one name, the last is what new actors start with. */
  actors: readonly ActorType[];
  /** Makes ids and the chance in retries another one. Same seed, same run. Default 1. */
  seed?: number;
  /** When nodes die by themselves. Default `never`. */
  crash?: CrashOption;
  /** `every-commit`: actors that can leave memory leave after each commit. Default: after 10 s, as in production. */
  passivate?: 'as-usual' | 'every-commit';
  limits?: Partial<Limits>;
  /**
   * Begins what stands in for Postgres in `fromTransaction`. What it commits is committed with the actor's transition, or
   * neither is, wherever the node dies. Default: none, and such invokes fail.
   */
  transaction?: () => TestTransaction;
  /** How long `settle` waits for what user code does outside of this process, real ms. Default 2,000. */
  realWaitMs?: number;
}

/** How an actor ended, as a subscriber of `outcomes.*.*` is told. */
export interface OutcomeEntry {
  type: string;
  id: string;
  seq: number;
  status: 'done' | 'error' | 'stopped';
  output: unknown;
  error: { name: string; message: string; code?: string } | null;
}

type StartOptions<M extends AnyStateMachine> = { id?: string } & (undefined extends InputFrom<M>
  ? { input?: InputFrom<M> }
  : { input: InputFrom<M> });

/**
 * A cluster in this process: the real engine on a virtual clock, with store, log and network in memory. Make one with
 * `testCluster`.
 */
export class TestCluster {
  readonly #time: VirtualTime;
  readonly #store: RecordStore;
  readonly #log: MemoryLog;
  readonly #client: MemoryBus;
  #parts: NodeParts;
  readonly #plan: CrashPlan;
  readonly #effects = new EffectLog();
  readonly #emitted: EmittedEntry[] = [];
  readonly #realWaitMs: number;
  readonly #work: RealWork;
  readonly #stage: Stage;
  #node: TestNode | undefined;
  #nodes = 0;
  #settling: Promise<void> | undefined;
  #stopped = false;

  /** Use `testCluster`. */
  constructor(options: TestClusterOptions) {
    const { actors, seed = 1, crash = 'never', passivate = 'as-usual' } = options;
    const registry = new Registry(actors);
    // The lease never ends by itself: who dies here loses its session, and time may jump.
    const limits = resolveLimits({ leaseMs: CENTURY_MS, ...options.limits });
    this.#work = new RealWork();
    this.#realWaitMs = options.realWaitMs ?? 2_000;
    this.#plan = new CrashPlan(crash);
    this.#time = new VirtualTime(seed);
    const ns = namespace();
    const { transaction } = options;
    this.#store = new RecordStore({ clock: this.#time.world, shards: SHARDS, transaction });
    this.#log = createMemoryLog({ clock: this.#time.rounds, shards: SHARDS, namespace: ns });
    this.#client = this.#log.connect();
    this.#client.listen(subjects.transition(ns, '*', '*'), (_, body) => this.#hear(body));
    this.#parts = {
      time: this.#time,
      store: this.#store,
      bus: this.#log,
      registry,
      limits,
      shards: SHARDS,
      log: createLogger({ level: 'silent' }),
      plan: this.#plan,
      effects: this.#effects,
      work: this.#work,
      passivatesAlways: passivate === 'every-commit',
    };
    this.#stage = {
      store: this.#store,
      effects: this.#effects.entries,
      emitted: this.#emitted,
      send: (address, event) => this.#send(address, event),
      tell: (address, type) => this.#publish('event', address, JSON.stringify({ type })),
    };
  }

  /**
   * Starts an actor, and lets it get as far as it can without time. Without `id` it gets a UUID.
   * @throws PerdureError `bad_subject`, `not_serialisable`, `body_too_large`, `actor_exists`, `unknown_type`
   */
  async start<M extends AnyStateMachine>(
    type: ActorType<string, M>,
    options: StartOptions<M>,
  ): Promise<TestActor<M>> {
    const { id = this.#time.world.uuid(), input } = options as { id?: string; input?: unknown };
    const body = input === undefined ? '' : stringify(input, 'input', LIMITS.nestingMax);
    await this.#publish('start', { type: type.name, id }, body);
    return this.actor(type, id);
  }

  /** One actor, whoever has started it, or will. */
  actor<M extends AnyStateMachine>(type: ActorType<string, M>, id: string): TestActor<M> {
    return new TestActor(type, id, this.#stage);
  }

  /** Virtual time, ms since 1970. It begins on 1 January 2030. */
  get now(): number {
    return this.#time.world.now();
  }

  /** Everything user code was asked to do, in the order it began. */
  get effects(): readonly EffectEntry[] {
    return this.#effects.entries;
  }

  /** Everything actors emitted, in order. */
  get emitted(): readonly EmittedEntry[] {
    return this.#emitted;
  }

  /** How actors ended, in order, each once. */
  get outcomes(): OutcomeEntry[] {
    const outcomes = new Map<string, OutcomeEntry>();
    for (const { body } of this.#log.outcomes) {
      const outcome = parse(Buffer.from(body).toString()) as OutcomeEntry;
      outcomes.set(`${outcome.type}/${outcome.id}`, outcome);
    }
    return [...outcomes.values()];
  }

  /** Messages nobody could act on, in order. */
  get deadLetters(): DeadLetter[] {
    return this.#store.allDeadLetters();
  }

  /** Places at which a node could have died so far; what `forEachCrash` goes through. */
  get crashPoints(): CrashPoint[] {
    return this.#plan.points();
  }

  /**
   * Resolves when nothing moves any more without virtual time. Waits, in real time, for what invoked promises and
   * asynchronous actions have under way outside of this process.
   * @throws PerdureError `timeout` naming what still runs after `realWaitMs`, or when it never comes to rest.
   */
  settle(): Promise<void> {
    this.#settling ??= this.#settle().finally(() => {
      this.#settling = undefined;
    });
    return this.#settling;
  }

  /** Lets `ms` of virtual time pass. Timers come due one after the other, and everything settles in between. */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0 && ms <= CENTURY_MS))
      throw new PerdureError('bad_options', `advance(${ms}): pass ms from 0 to a century.`);
    await this.settle();
    const until = this.now + Math.ceil(ms);
    for (;;) {
      const next = Math.min(
        this.#time.nextAt ?? until,
        this.#store.nextTimerAt(this.now) ?? until,
        until,
      );
      this.#time.moveTo(next);
      await this.settle();
      if (next === until) return;
    }
  }

  /** The node dies where it stands, as by `kill -9`; another one takes over. Takes no virtual time. */
  async crash(): Promise<void> {
    await this.#ready();
    this.#node?.die();
    await this.settle();
  }

  /**
   * The node is shut down, and another one started that knows these actors instead: what a deploy does. Actors of versions it
   * has a `migrate` for are taken over when it opens them.
   * @throws PerdureError `bad_options`
   */
  async deploy(actors: readonly ActorType[]): Promise<void> {
    const registry = new Registry(actors);
    await this.settle();
    const node = this.#node;
    if (node?.alive) {
      await this.#during(node.engine.stop());
      await node.close();
    }
    this.#parts = { ...this.#parts, registry };
    await this.settle();
  }

  /** Actors for which nothing runs leave memory; what they are told next finds them in the store. */
  async passivate(): Promise<void> {
    await this.settle();
    this.#node?.passivate();
  }

  /** Shuts the node down as SIGTERM would. What runs is aborted. The cluster can still be looked at. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#plan.end();
    try {
      const node = this.#node;
      if (node?.alive) {
        await this.#during(node.engine.stop());
        await node.close();
      }
    } finally {
      this.#stopped = true;
      this.#work.stop();
    }
  }

  async #settle(): Promise<void> {
    if (this.#stopped) throw new PerdureError('bad_options', 'The cluster has been stopped.');
    const time = this.#time;
    let realUntil: number | undefined;
    let moves = -1;
    let calmSince = 0;
    for (let takeovers = 0; ; ) {
      if (!this.#node?.alive) {
        if (takeovers++ > TAKEOVERS_MAX) throw endless();
        await this.#takeOver();
        continue;
      }
      await time.drain();
      if (!this.#node.alive) continue;
      if (time.moves !== moves) {
        moves = time.moves;
        calmSince = time.rounds.now();
      }
      if (time.fireDue() || time.fireRound(calmSince, SHORT_MS)) continue;
      const { open } = this.#work;
      if (open.length === 0) return;
      realUntil ??= performance.now() + this.#realWaitMs;
      if (performance.now() >= realUntil) throw stillRunning(open, this.#realWaitMs);
      await wait(1);
    }
  }

  /** The cluster has a node. */
  async #ready(): Promise<void> {
    if (!this.#node) await this.settle();
  }

  async #takeOver(): Promise<void> {
    const node = new TestNode(this.#parts, ++this.#nodes);
    this.#node = node;
    await this.#during(node.engine.start(), () => node.alive);
    // Deaths here are the test's: they do not add up to a quarantine.
    for (const opened of this.#store.ownedBy(node.id)) await this.#store.forgive(node.id, opened);
  }

  /** Lets the engine have all the time of its own it needs, for as long as `goesOn`. */
  async #during(work: Promise<void>, goesOn = () => true): Promise<void> {
    let ended = false;
    const settled = work.finally(() => {
      ended = true;
    });
    settled.catch(() => {});
    while (!ended && goesOn()) {
      await this.#time.drain();
      if (!ended && goesOn()) this.#time.fireRound(this.#time.rounds.now(), CENTURY_MS);
    }
    if (goesOn()) await settled;
  }

  async #send(address: Address, event: object): Promise<void> {
    const problem = eventProblem(event);
    if (problem) throw new PerdureError('bad_event', problem);
    await this.#publish('event', address, stringify(event, 'event', LIMITS.nestingMax));
  }

  async #publish(kind: 'start' | 'event', { type, id }: Address, body: string): Promise<void> {
    assertToken('type', type);
    assertToken('id', id);
    const messageId = this.#time.world.uuid();
    const subject = subjects[kind](this.#log.namespace, type, id);
    const accepted = this.#client.publish(subject, body, { messageId });
    // Told below; until then nobody else waits for it.
    accepted.catch(() => {});
    await this.settle();
    await accepted;
    await this.settle();
    const refused = this.deadLetters.find((letter) => letter.messageId === messageId);
    if (refused) throw new PerdureError(refused.reason as ErrorCode, refused.detail);
  }

  #hear(body: Uint8Array): void {
    const { type, id, seq, emitted } = parse(Buffer.from(body).toString()) as {
      type: string;
      id: string;
      seq: number;
      emitted?: EmittedEntry['event'][];
    };
    for (const event of emitted ?? []) this.#emitted.push({ actor: `${type}/${id}`, seq, event });
  }
}

/** Fewer than in production, so that actors of a test share them. */
const SHARDS = 4;
const CENTURY_MS = 3_155_760_000_000;
/** The engine's own short waits: a commit put off, a look at a shard that was just opened. */
const SHORT_MS = 50;
const TAKEOVERS_MAX = 10_000;

const endless = () =>
  new PerdureError('timeout', `${TAKEOVERS_MAX} nodes have died without it coming to rest.`);

const stillRunning = (open: readonly string[], ms: number) =>
  new PerdureError(
    'timeout',
    `After ${ms} ms of real time user code still waits for something outside: ${open.join('; ')}. Replace it in tests, or raise realWaitMs.`,
  );

/**
 * Starts a cluster of one node in this process, on virtual time and in memory.
 * @throws PerdureError `bad_options`
 */
export async function testCluster(options: TestClusterOptions): Promise<TestCluster> {
  const cluster = new TestCluster(options);
  try {
    await cluster.settle();
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}
