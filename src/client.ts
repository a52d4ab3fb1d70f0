import type { AnyStateMachine, EventFromLogic, InputFrom, OutputFrom, SnapshotFrom } from 'xstate';
import { parse, stringify } from './actors/codec.ts';
import { type ActorType, isActorType } from './actors/define.ts';
import { bodyProblem, eventProblem } from './actors/intake.ts';
import { snapshotOf as readSnapshot } from './actors/kinRows.ts';
import type { QueryAnswer } from './actors/queries.ts';
import { CANCEL, PAUSE, RESUME } from './actors/step.ts';
import { assertToken, subjects } from './bus/subjects.ts';
import { type Clock, systemClock } from './clock.ts';
import { LIMITS, namespace } from './config.ts';
import { Conversation, type PublishOptions, type Receipt } from './conversation.ts';
import { PerdureError } from './errors.ts';
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

export type { PublishOptions, Receipt } from './conversation.ts';

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
  /** On one transition of a commit: how long its oldest message was in the log before it was committed, ms. */
  waited?: number;
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
   * Sends an event. One that the actor's state does not handle is recorded as a transition and changes nothing. @throws as `start`, and `bad_event`; with `until: 'committed'` also `unknown_actor`,
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
  /**
   * Has nothing be done for an actor and its family: what comes for it waits, what it runs is aborted. @throws as `send`;
   * with `until: 'committed'` also `already_paused`.
   */
  pause(type: TypeRef, id: string, options?: PublishOptions): Promise<Receipt>;
  /**
   * Lets it go on, with what has waited for it; what it ran runs again, under the same keys. @throws as `send`; with
   * `until: 'committed'` also `not_paused`.
   */
  resume(type: TypeRef, id: string, options?: PublishOptions): Promise<Receipt>;
  /** The committed snapshot, as XState knows it. @throws PerdureError `not_found`, `bus_unavailable`, `timeout`. */
  snapshot<T extends ActorType>(type: T, id: string): Promise<SnapshotFrom<MachineOf<T>>>;
  /** The committed row: state, status, output, without needing the machine. @throws as `snapshot`. */
  query(type: TypeRef, id: string): Promise<QueryAnswer>;
  /**
   * Resolves with the first committed snapshot that satisfies the predicate, also of an actor that has yet to be started.
   * It looks at the newest one: what an actor merely passes through can go unseen.
   * @throws PerdureError `timeout` after `timeoutMs` (default: the client's), `actor_finished` when the actor has ended
   *   and does not satisfy it; whatever the predicate throws
   */
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
  pause(options?: PublishOptions): Promise<Receipt>;
  resume(options?: PublishOptions): Promise<Receipt>;
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
  const talk = new Conversation({
    natsUrl,
    namespace: ns,
    clock,
    log,
    timeoutMs: defaultTimeoutMs,
  });

  const client: PerdureClient = {
    async start(type, given) {
      const name = nameOf(type);
      const {
        id = clock.uuid(),
        input,
        ...rest
      } = given as { id?: string; input?: unknown } & PublishOptions;
      assertToken('id', id);
      const body = input === undefined ? '' : bodyOf(input, 'input');
      const subject = subjects.start(ns, name, id);
      const receipt = await talk.publish(subject, { type: name, id }, body, rest);
      return Object.assign(client.actor(type, id), receipt);
    },
    async send(type, id, event, given = {}) {
      const name = nameOf(type);
      assertToken('id', id);
      const problem = eventProblem(event);
      if (problem) throw new PerdureError('bad_event', problem);
      const body = bodyOf(event, 'event');
      return talk.publish(subjects.event(ns, name, id), { type: name, id }, body, given);
    },
    cancel: (type, id, given) => client.send(nameOf(type), id, { type: CANCEL }, given),
    pause: (type, id, given) => client.send(nameOf(type), id, { type: PAUSE }, given),
    resume: (type, id, given) => client.send(nameOf(type), id, { type: RESUME }, given),
    snapshot: async (type, id) => snapshotOf(type, await client.query(type, id)),
    query: (type, id) => talk.ask(nameOf(type), id),
    waitFor: <T extends ActorType>(
      type: T,
      id: string,
      predicate: (snapshot: SnapshotFrom<MachineOf<T>>) => boolean,
      { timeoutMs = defaultTimeoutMs }: { timeoutMs?: number } = {},
    ) =>
      talk.until<SnapshotFrom<MachineOf<T>>>(type.name, id, timeoutMs, async () => {
        const answer = await talk.askIfThere(type.name, id);
        if (!answer) return undefined;
        const snapshot = snapshotOf(type, answer);
        if (predicate(snapshot)) return snapshot;
        if (answer.status === 'active') return undefined;
        throw new PerdureError(
          'actor_finished',
          `${type.name}/${id} has ended in status ${answer.status} and does not satisfy what was waited for.`,
        );
      }),
    outcome: (type, id, { timeoutMs } = {}) =>
      talk.until(nameOf(type), id, timeoutMs, async () => {
        const answer = await talk.askIfThere(nameOf(type), id);
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
        pause: (given) => client.pause(type, id, given),
        resume: (given) => client.resume(type, id, given),
        snapshot: async () => client.snapshot(known(), id),
        waitFor: async (predicate, given) =>
          client.waitFor(known(), id, predicate as (snapshot: unknown) => boolean, given),
        outcome: (given) => client.outcome(type, id, given),
      } as ActorHandle<typeof type>;
    },
    async watch(type, id, listener) {
      return talk.listen(subjects.transition(ns, type, id), (data) => listener(data as FeedEntry));
    },
    close: () => talk.close(),
  };
  return client;
}

function nameOf(type: TypeRef): string {
  const name = typeof type === 'string' ? type : type.name;
  assertToken('type', name);
  return name;
}

function snapshotOf<T extends ActorType>(type: T, answer: QueryAnswer): SnapshotFrom<MachineOf<T>> {
  const { machines = [] } = answer;
  const find = ({ id }: { id: string }) => machines.find((machine) => machine.id === id);
  return readSnapshot(type, answer, find) as unknown as SnapshotFrom<MachineOf<T>>;
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

/** @throws PerdureError `not_serialisable`, also for what every node would refuse */
function bodyOf(value: unknown, what: 'input' | 'event'): string {
  const body = stringify(value, what, LIMITS.nestingMax);
  const problem = body.includes(PROTO_IN_TEXT)
    ? bodyProblem(JSON.parse(body), Number.POSITIVE_INFINITY)
    : undefined;
  if (problem === undefined) return body;
  throw new PerdureError('not_serialisable', `${what}: ${problem}`);
}

const PROTO_IN_TEXT = '"__proto__":';
