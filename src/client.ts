import type { AnyStateMachine, EventFromLogic, InputFrom, OutputFrom, SnapshotFrom } from 'xstate';
import { parse, stringify } from './actors/codec.ts';
import { type ActorType, isActorType } from './actors/define.ts';
import { eventProblem } from './actors/intake.ts';
import type { QueryAnswer } from './actors/queries.ts';
import { createStepScope } from './actors/scope.ts';
import { CANCEL, rehydrate } from './actors/step.ts';
import type { Bus } from './bus/bus.ts';
import { openBus } from './bus/nats.ts';
import { assertToken, REPLY_HEADER, subjects } from './bus/subjects.ts';
import { type Clock, sleep, systemClock } from './clock.ts';
import { LIMITS, namespace, SHARDS } from './config.ts';
import { ERRORS, type ErrorCode, PerdureError } from './errors.ts';
import { createLogger, type Logger } from './log.ts';

export interface ClientOptions {
  /** Default: PERDURE_NATS_URL. */
  natsUrl?: string;
  /** Default: PERDURE_NAMESPACE, else `perdure`. */
  namespace?: string;
  /** How long one call may take, ms. Default 10,000. */
  timeoutMs?: number;
  logger?: Logger;
  clock?: Clock;
}

/** An actor type, or just its name (then nothing is inferred). */
type TypeRef = ActorType | string;
type MachineOf<T> = T extends ActorType<string, infer M> ? M : AnyStateMachine;
type InputOption<T> =
  T extends ActorType<string, infer M>
    ? undefined extends InputFrom<M>
      ? { input?: InputFrom<M> }
      : { input: InputFrom<M> }
    : { input?: unknown };
type EventOf<T> =
  T extends ActorType<string, infer M>
    ? EventFromLogic<M>
    : { type: string; [key: string]: unknown };

export interface PublishOptions {
  /**
   * When to resolve: `accepted` (default), when JetStream has acknowledged it: it cannot get lost any more (G1);
   * `committed`, when the transition it caused is in Postgres.
   */
  until?: 'accepted' | 'committed';
  /** The message's id: asking again with the same one changes nothing. Default: a fresh UUID. */
  messageId?: string;
  timeoutMs?: number;
}

/** What became of a message. */
export interface Receipt {
  messageId: string;
  /** It had been asked before, with this very id. */
  duplicate: boolean;
  /** With `until: 'committed'`: the transition, and the state after it. */
  seq?: number;
  status?: string;
  state?: unknown;
}

/** How an actor ended. */
export type Outcome<T> =
  | { status: 'done'; output: T }
  | { status: 'error'; error: { name: string; message: string; code?: string } }
  | { status: 'stopped' };

/** One line of the live feed: a committed transition. */
export interface FeedEntry {
  type: string;
  id: string;
  seq: number;
  /** Event type. */
  event: string;
  from: unknown;
  to: unknown;
  status: string;
  /** Commit time on the database clock, ms since 1970; null when its answer was lost. */
  at: number | null;
  node: string;
  emitted?: unknown[];
}

/** Speaks to actors over NATS alone; docs/protocol.md says how to do the same from any language. */
export interface PerdureClient {
  /**
   * Starts an actor. Without `id` it gets a UUID.
   * @throws PerdureError `bad_subject`, `not_serialisable`, `body_too_large`, `bus_unavailable`, `timeout`,
   *   `log_full`; with `until: 'committed'` also `actor_exists`, `unknown_type`.
   */
  start<T extends TypeRef>(
    type: T,
    options: { id?: string } & InputOption<T> & PublishOptions,
  ): Promise<ActorHandle<T> & Receipt>;
  /**
   * Sends an event. @throws as `start`, and `bad_event`; with `until: 'committed'` also `unknown_actor`,
   * `actor_finished`, `version_unknown`.
   */
  send<T extends TypeRef>(
    type: T,
    id: string,
    event: EventOf<T>,
    options?: PublishOptions,
  ): Promise<Receipt>;
  /** Ends an actor where it stands: status `stopped`, its invokes aborted. */
  cancel(type: TypeRef, id: string, options?: PublishOptions): Promise<Receipt>;
  /** The committed snapshot, as XState knows it. @throws PerdureError `not_found`, `bus_unavailable`, `timeout`. */
  snapshot<T extends ActorType>(type: T, id: string): Promise<SnapshotFrom<MachineOf<T>>>;
  /** The committed row: state, status, output, without needing the machine. @throws as `snapshot`. */
  query(type: TypeRef, id: string): Promise<QueryAnswer>;
  /** Resolves with the first committed snapshot that satisfies the predicate. @throws PerdureError `timeout`. */
  waitFor<T extends ActorType>(
    type: T,
    id: string,
    predicate: (snapshot: SnapshotFrom<MachineOf<T>>) => boolean,
    options?: { timeoutMs?: number },
  ): Promise<SnapshotFrom<MachineOf<T>>>;
  /** Resolves when the actor has ended. @throws PerdureError `timeout` when `timeoutMs` is given and over. */
  outcome<T extends TypeRef>(
    type: T,
    id: string,
    options?: { timeoutMs?: number },
  ): Promise<Outcome<OutputFrom<MachineOf<T>>>>;
  /** The same for one actor. */
  actor<T extends TypeRef>(type: T, id: string): ActorHandle<T>;
  /** Listens to the live feed; `*` for all types or ids. Returns the way to stop. */
  watch(type: string, id: string, listener: (entry: FeedEntry) => void): Promise<() => void>;
  close(): Promise<void>;
}

/** One actor, as a client sees it. */
export interface ActorHandle<T extends ActorType | string> {
  readonly type: string;
  readonly id: string;
  send(event: EventOf<T>, options?: PublishOptions): Promise<Receipt>;
  cancel(options?: PublishOptions): Promise<Receipt>;
  snapshot(): Promise<SnapshotFrom<MachineOf<T>>>;
  waitFor(
    predicate: (snapshot: SnapshotFrom<MachineOf<T>>) => boolean,
    options?: { timeoutMs?: number },
  ): Promise<SnapshotFrom<MachineOf<T>>>;
  outcome(options?: { timeoutMs?: number }): Promise<Outcome<OutputFrom<MachineOf<T>>>>;
}

/** Connects at the first call. @throws PerdureError `bad_options` when there is no NATS URL. */
export function createClient(options: ClientOptions = {}): PerdureClient {
  const natsUrl = options.natsUrl ?? process.env.PERDURE_NATS_URL;
  if (!natsUrl)
    throw new PerdureError('bad_options', 'natsUrl is missing: pass it, or set PERDURE_NATS_URL.');
  const ns = namespace(options.namespace ?? process.env.PERDURE_NAMESPACE);
  const clock = options.clock ?? systemClock;
  const log = options.logger ?? createLogger({ level: 'warn' });
  const defaultTimeoutMs = options.timeoutMs ?? 10_000;
  let opening: Promise<Bus> | undefined;
  const closing = new AbortController();

  function bus(): Promise<Bus> {
    opening ??= openBus({
      natsUrl: natsUrl as string,
      namespace: ns,
      shards: SHARDS,
      clock,
      log,
      ensureStreams: false,
      signal: closing.signal,
    });
    opening.catch(() => {
      opening = undefined;
    });
    return withDeadline(opening, defaultTimeoutMs, 'bus_unavailable', 'NATS could not be reached');
  }

  async function withDeadline<T>(
    work: Promise<T>,
    ms: number,
    code: ErrorCode,
    what: string,
  ): Promise<T> {
    const over = new AbortController();
    const late = sleep(clock, ms, over.signal).then(() => {
      if (!over.signal.aborted) throw new PerdureError(code, `${what} within ${ms} ms.`);
      return work;
    });
    return Promise.race([work, late]).finally(() => over.abort());
  }

  async function publish(
    subject: string,
    address: { type: string; id: string },
    body: string,
    given: PublishOptions,
  ): Promise<Receipt> {
    const messageId = given.messageId ?? clock.uuid();
    const timeoutMs = given.timeoutMs ?? defaultTimeoutMs;
    const bytes = Buffer.byteLength(body);
    if (bytes > LIMITS.bodyMaxBytes)
      throw new PerdureError(
        'body_too_large',
        `The body has ${bytes} bytes; at most ${LIMITS.bodyMaxBytes} are allowed.`,
      );
    const connected = await bus();
    if (given.until !== 'committed') {
      const { duplicate } = await connected.publish(subject, body, { messageId, timeoutMs });
      return { messageId, duplicate };
    }
    const reply = connected.inbox();
    let stop = () => {};
    const answered = new Promise<CommitReply>((resolve) => {
      stop = connected.listen(reply, (_subject, data) => resolve(JSON.parse(text(data))));
    });
    const over = new AbortController();
    try {
      const ack = await connected.publish(subject, body, {
        messageId,
        timeoutMs,
        headers: { [REPLY_HEADER]: reply },
      });
      // JetStream has it from before and delivers nothing: nobody will reply.
      const again = ack.duplicate;
      const told = await withDeadline(
        Promise.race([answered, applied(connected, address, messageId, again, over.signal)]),
        timeoutMs,
        'timeout',
        `The commit of ${messageId} was not confirmed`,
      );
      if (!told.ok) throw refused(told.error);
      const { duplicate = again, seq, status, state } = told;
      return {
        messageId,
        duplicate,
        ...(seq === undefined ? {} : { seq }),
        ...(status === undefined ? {} : { status }),
        ...(state === undefined ? {} : { state }),
      };
    } finally {
      over.abort();
      stop();
    }
  }

  /** A reply can be lost with the node that owed it; the row cannot. */
  async function applied(
    connected: Bus,
    { type, id }: { type: string; id: string },
    eventId: string,
    again: boolean,
    signal: AbortSignal,
  ): Promise<CommitReply> {
    for (let waitMs = again ? 0 : ASK_AGAIN_MS; ; waitMs = again ? ASK_SOON_MS : ASK_AGAIN_MS) {
      await sleep(clock, waitMs, signal);
      if (signal.aborted) return new Promise(() => {});
      const answer = await ask(connected, type, id, JSON.stringify({ eventId })).catch(
        () => undefined,
      );
      if (answer?.applied) return { ok: true, status: answer.status, state: answer.state };
    }
  }

  async function ask(
    connected: Bus,
    type: string,
    id: string,
    body = '',
  ): Promise<QueryAnswer & { applied?: boolean }> {
    assertToken('type', type);
    assertToken('id', id);
    const data = await connected.request(subjects.query(ns, type, id), body, defaultTimeoutMs);
    const answer = JSON.parse(text(data)) as
      | { ok: true; actor: QueryAnswer }
      | { ok: false; error: { code: string; message: string } };
    if (!answer.ok) throw refused(answer.error);
    return answer.actor;
  }

  /** Looks whenever the feed says something happened, and now and then in case the feed was not heard. */
  async function until<T>(
    type: string,
    id: string,
    timeoutMs: number | undefined,
    look: () => Promise<T | undefined>,
  ): Promise<T> {
    const connected = await bus();
    const startedAt = clock.monotonic();
    let wake = () => {};
    const stop = connected.listen(subjects.transition(ns, type, id), () => wake());
    try {
      for (;;) {
        const happened = new AbortController();
        wake = () => happened.abort();
        const found = await look();
        if (found !== undefined) return found;
        const left = timeoutMs === undefined ? Infinity : startedAt + timeoutMs - clock.monotonic();
        if (left <= 0)
          throw new PerdureError(
            'timeout',
            `${type}/${id} did not get there within ${timeoutMs} ms.`,
          );
        await sleep(clock, Math.min(left, LOOK_AGAIN_MS), happened.signal);
      }
    } finally {
      stop();
    }
  }

  /** An actor that was accepted and is not there yet is worth waiting for. */
  async function queryIfThere(type: string, id: string): Promise<QueryAnswer | undefined> {
    try {
      return await ask(await bus(), type, id);
    } catch (error) {
      if (error instanceof PerdureError && (error.code === 'not_found' || error.retryable))
        return undefined;
      throw error;
    }
  }

  const client: PerdureClient = {
    async start(type, given) {
      const name = nameOf(type);
      const {
        id = clock.uuid(),
        input,
        ...rest
      } = given as { id?: string; input?: unknown } & PublishOptions;
      assertToken('id', id);
      const body = input === undefined ? '' : stringify(input, 'input', LIMITS.nestingMax);
      const receipt = await publish(subjects.start(ns, name, id), { type: name, id }, body, rest);
      return Object.assign(client.actor(type, id), receipt);
    },
    async send(type, id, event, given = {}) {
      const name = nameOf(type);
      assertToken('id', id);
      const problem = eventProblem(event);
      if (problem) throw new PerdureError('bad_event', problem);
      const body = stringify(event, 'event', LIMITS.nestingMax);
      return publish(subjects.event(ns, name, id), { type: name, id }, body, given);
    },
    cancel: (type, id, given) => client.send(nameOf(type), id, { type: CANCEL }, given),
    snapshot: async (type, id) => snapshotOf(type, await client.query(type, id)),
    query: async (type, id) => ask(await bus(), nameOf(type), id),
    waitFor: <T extends ActorType>(
      type: T,
      id: string,
      predicate: (snapshot: SnapshotFrom<MachineOf<T>>) => boolean,
      { timeoutMs = defaultTimeoutMs }: { timeoutMs?: number } = {},
    ) =>
      until<SnapshotFrom<MachineOf<T>>>(type.name, id, timeoutMs, async () => {
        const answer = await queryIfThere(type.name, id);
        const snapshot = answer && snapshotOf(type, answer);
        return snapshot && predicate(snapshot) ? snapshot : undefined;
      }),
    outcome: (type, id, { timeoutMs } = {}) =>
      until(nameOf(type), id, timeoutMs, async () => {
        const answer = await queryIfThere(nameOf(type), id);
        return answer && outcomeOf(answer);
      }),
    actor(type, id) {
      const known = () => {
        if (isActorType(type)) return type as Extract<typeof type, ActorType>;
        throw new PerdureError(
          'bad_options',
          'Pass the actor type, not its name, to read snapshots.',
        );
      };
      return {
        type: nameOf(type),
        id,
        send: (event, given) => client.send(type, id, event, given),
        cancel: (given) => client.cancel(type, id, given),
        snapshot: async () => client.snapshot(known(), id),
        waitFor: async (predicate, given) =>
          client.waitFor(known(), id, predicate as (snapshot: unknown) => boolean, given),
        outcome: (given) => client.outcome(type, id, given),
      } as ActorHandle<typeof type>;
    },
    async watch(type, id, listener) {
      return (await bus()).listen(subjects.transition(ns, type, id), (_subject, data) =>
        listener(JSON.parse(text(data)) as FeedEntry),
      );
    },
    async close() {
      closing.abort();
      await (await opening?.catch(() => undefined))?.close();
    },
  };
  return client;
}

/** Ask about a commit whose reply has not come, this often, ms. */
const ASK_AGAIN_MS = 2_000;
const ASK_SOON_MS = 100;
/** Look again although the feed is silent, this often, ms. */
const LOOK_AGAIN_MS = 1_000;

type CommitReply =
  | { ok: true; duplicate?: boolean; seq?: number; status?: string; state?: unknown }
  | { ok: false; error: { code: string; message: string } };

function nameOf(type: TypeRef): string {
  const name = typeof type === 'string' ? type : type.name;
  assertToken('type', name);
  return name;
}

function refused({ code, message }: { code: string; message: string }): PerdureError {
  return new PerdureError(code in ERRORS ? (code as ErrorCode) : 'step_failed', message);
}

function snapshotOf<T extends ActorType>(type: T, answer: QueryAnswer): SnapshotFrom<MachineOf<T>> {
  const scope = createStepScope({ type: answer.type, id: answer.id }, () => {});
  const live = rehydrate(type, scope, answer.seq, answer.snapshot);
  return live.snapshot as unknown as SnapshotFrom<MachineOf<T>>;
}

function outcomeOf<T>(answer: QueryAnswer): Outcome<T> | undefined {
  switch (answer.status) {
    case 'done':
      return { status: 'done', output: parse(JSON.stringify(answer.output)) as T };
    case 'error':
      return { status: 'error', error: answer.error as { name: string; message: string } };
    case 'stopped':
      return { status: 'stopped' };
    default:
      return undefined;
  }
}

const text = (data: Uint8Array): string => Buffer.from(data).toString();
