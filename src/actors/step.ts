import type { AnyActorRef, AnyMachineSnapshot, EventObject, ExecutableActionObject } from 'xstate';
import { asError, PerdureError } from '../errors.ts';
import type { ActorStatus, Address, Origin } from '../store/store.ts';
import type { Timer } from './arming.ts';
import { type Child, kindOfChild, watchedId } from './children.ts';
import { errorData, errorSummary, stringify } from './codec.ts';
import type { ActorType } from './define.ts';
import type { Effect } from './effects.ts';
import { type Envelope, writeEnvelope, writeFailure } from './envelope.ts';
import { STOP, setSnapshot } from './inside.ts';
import { type KinAct, lowerActions, type Message } from './lower.ts';
import { type Born, MachineLogic } from './machineLogic.ts';
import { initial, transition } from './microstep.ts';
import { peer, type Target } from './refs.ts';
import type { StepScope } from './scope.ts';
import { Texts } from './texts.ts';
import { restOf } from './without.ts';

/**
 * The pure half of the ring: (snapshot, event) → next snapshot + everything it causes, as data.
 *
 *  P1  A step runs no effect and reads no clock: the same snapshot and event give the same step on any node.
 *  P2  What a step wants is in `Step`; nothing of it has happened until the step is committed.
 *  P3  A step never throws for what user code did: that ends the actor in status error, as XState does.
 */
export interface Live {
  snapshot: AnyMachineSnapshot;
  seq: number;
  /** Counter behind made-up child ids; part of the envelope, so ids stay unique across crashes. */
  book: number;
  /** Invokes in flight: invoke id → the transition that started it. */
  started: Readonly<Record<string, number>>;
  /** Armed timers: timer id → the transition that armed it. */
  timers: Readonly<Record<string, number>>;
  /** Machine children: child id → the transition that started it, and with it the child's row. */
  machines: Readonly<Record<string, number>>;
  /** Of a child machine: one `src` for each level below the root. */
  path: readonly string[];
  /** As it was last written; what is left when the next step goes wrong. Empty before the first. */
  envelope: string;
}

/** What happened to the actor. `event` is decoded; `origin` says who may have caused it. */
export interface StepInput {
  event: EventObject;
  origin: Origin;
  /** The timer that fired. */
  timerId?: string | undefined;
}

export interface Step {
  live: Live;
  status: ActorStatus;
  /** JSON texts, ready for the row. */
  state: string;
  tags: string;
  output: string | null;
  error: string | null;
  envelope: string;
  edges: string;
  effects: Effect[];
  timersArmed: Timer[];
  timersDropped: string[];
  messages: Message[];
  /** For other members of the family, in XState's order: steps of theirs that follow in the same commit. */
  kin: KinAct[];
}

export interface StepLimits {
  bodyMaxBytes: number;
  snapshotMaxBytes: number;
  nestingMax: number;
}

/** Event types of the engine's own, never accepted as `xstate.*`. */
export const CANCEL = 'perdure.cancel';
/** Lets an actor out of quarantine. */
export const RELEASE = 'perdure.release';
/** Has nothing be done for an actor until `RESUME`. */
export const PAUSE = 'perdure.pause';
export const RESUME = 'perdure.resume';
export const FAIL = 'perdure.fail';
export const SEND = 'perdure.send';

/** The actor's first transition, from its input. */
export function firstStep(
  type: ActorType,
  address: Address,
  scope: StepScope,
  input: unknown,
  limits: StepLimits,
  path: readonly string[] = [],
): Step {
  scope.begin(0, scope.systemIds?.(), 1);
  try {
    const snapshot = initial(type.machine, input, scope);
    const before = { ...UNBORN, snapshot, path };
    return finish(type, address, scope, before, undefined, snapshot, limits);
  } catch (thrown) {
    // Before 5.33 XState threw what it keeps in the snapshot since.
    const snapshot = { value: {}, context: {} } as unknown as AnyMachineSnapshot;
    return failedStep(type, scope, { ...UNBORN, snapshot, path }, asError(thrown));
  }
}

/** The first transition of a child machine: computed already, in the step that made it. */
export function bornStep(
  type: ActorType,
  { address, scope, snapshot, collected }: Born,
  path: readonly string[],
  limits: StepLimits,
): Step {
  scope.resume(collected);
  const before = { ...UNBORN, snapshot, path };
  return finish(type, address, scope, before, undefined, snapshot, limits);
}

const UNBORN = { seq: 0, book: 0, started: {}, timers: {}, machines: {}, envelope: '' };

/** The next transition. */
export function nextStep(
  type: ActorType,
  address: Address,
  scope: StepScope,
  live: Live,
  input: StepInput,
  limits: StepLimits,
): Step {
  scope.begin(
    live.book,
    scope.systemIds ? scope.systemIds() : systemIds(live.snapshot),
    live.seq + 1,
    live.snapshot,
  );
  try {
    return finish(type, address, scope, settled(live, input), live, advance(), limits);
  } catch (thrown) {
    return failedStep(type, scope, live, asError(thrown));
  }

  function advance(): AnyMachineSnapshot {
    const { event } = input;
    if (event.type === SEND) {
      const to = forwardTarget(live, event as Forward);
      // What the step causes is read from this action, as if the machine had sent it now.
      if (to) scope.collected.actions.push(sendTo(to, (event as Forward).event));
      return live.snapshot;
    }
    if (event.type === FAIL) throw (event as EventObject & { error: unknown }).error;
    const given = event.type === CANCEL ? { type: STOP } : whole(live, event);
    return transition(type.machine, live.snapshot, given, scope);
  }
}

/** An event that is passed on: a delayed `sendTo` that came due, or what others send to a child without a row. */
type Forward = EventObject & { child?: string; kin?: Target; to?: Target; event: EventObject };

/** Undefined for another family's actor: that gets a message, which is no doing of the machine any more. */
function forwardTarget(live: Live, { child, kin }: Forward): AnyActorRef | undefined {
  if (child !== undefined) return live.snapshot.children[child];
  return kin && peer(kin);
}

/** A child machine's snapshot travels as data; what gets it can ask it again what any snapshot can be asked. */
function whole(live: Live, event: EventObject): EventObject {
  const id = watchedId(event);
  const child = id === undefined ? undefined : (live.snapshot.children[id] as Child | undefined);
  const logic: unknown = child?.logic;
  if (!(logic instanceof MachineLogic)) return event;
  const { snapshot } = event as EventObject & { snapshot: never };
  return { ...event, snapshot: logic.type.machine.resolveState(snapshot) } as EventObject;
}

const sendTo = (to: AnyActorRef, event: EventObject) =>
  ({ type: 'xstate.sendTo', params: { to, event } }) as unknown as ExecutableActionObject;

/**
 * A child here is never started: it stands for what was asked. When its result is taken, it must read as settled,
 * or a restored actor would run it again.
 */
function settled(live: Live, { event, origin, timerId }: StepInput): Live {
  if (timerId !== undefined) {
    return { ...live, timers: restOf(live.timers, timerId) };
  }
  if (origin === 'child') {
    const id = watchedId(event);
    const child = id === undefined ? undefined : (live.snapshot.children[id] as Child | undefined);
    const { snapshot } = event as EventObject & { snapshot?: object };
    if (child) setSnapshot(child, { ...child.getSnapshot(), ...snapshot });
  }
  if (origin === 'family') markEnded(live, event);
  if (origin !== 'invoke') return live;
  const { actorId } = event as EventObject & { actorId: string };
  const child = live.snapshot.children[actorId];
  const settled =
    'error' in event
      ? { status: 'error', error: event.error, input: undefined }
      : { status: 'done', output: (event as { output?: unknown }).output, input: undefined };
  if (child) setSnapshot(child, { ...child.getSnapshot(), ...settled });
  return { ...live, started: restOf(live.started, actorId) };
}

/** Its parent is told of a machine's end. */
function markEnded({ snapshot, machines }: Live, { type, ...event }: EventObject): void {
  const { actorId } = event as { actorId?: string };
  if (actorId === undefined || !(actorId in machines)) return;
  const child = snapshot.children[actorId] as Child | undefined;
  if (child && type.startsWith('xstate.done.actor.')) child.ended = 'done';
  if (child && type.startsWith('xstate.error.actor.')) child.ended = 'error';
}

function finish(
  type: ActorType,
  address: Address,
  scope: StepScope,
  before: Live,
  previous: Live | undefined,
  snapshot: AnyMachineSnapshot,
  limits: StepLimits,
): Step {
  try {
    return completeStep(type, address, scope, before, previous, snapshot, limits);
  } catch (thrown) {
    return failedStep(type, scope, previous ?? before, asError(thrown));
  }
}

/** @throws whatever is wrong with it: user code threw, or what it made no row can hold. */
export function completeStep(
  type: ActorType,
  address: Address,
  scope: StepScope,
  before: Live,
  previous: Live | undefined,
  snapshot: AnyMachineSnapshot,
  limits: StepLimits,
): Step {
  const { actions, edges } = scope.collected;
  if (previous === undefined && snapshot.status === 'error') throw snapshot.error;
  const seq = before.seq + 1;
  const lowered = lowerActions(
    {
      address,
      seq,
      before,
      previous: previous?.snapshot,
      snapshot,
      self: scope.self,
      limits,
    },
    actions,
  );
  const { book } = scope.collected;
  const { path } = before;
  const { started, timers, machines } = lowered;
  const live: Live = { snapshot, seq, book, started, timers, machines, path, envelope: '' };
  const { status, state, tags, output, error, envelope } = rowOf(type, live, limits);
  live.envelope = envelope;
  const { effects, timersArmed, timersDropped, messages, kin } = lowered;
  return {
    live,
    status,
    state,
    tags,
    output,
    error,
    envelope,
    edges: edgesText(edges),
    effects,
    timersArmed,
    timersDropped,
    messages,
    kin,
  };
}

/**
 * User code threw, or made something no row can hold: the actor ends here, with what was last written. The live
 * snapshot is not looked at: it may be the very thing that cannot be written.
 */
function failedStep(type: ActorType, scope: StepScope, before: Live, error: Error): Step {
  const summary = { code: 'step_failed', ...errorSummary(error) };
  const seq = before.seq + 1;
  const { book } = scope.collected;
  const { path } = before;
  const isFirst = before.envelope === '';
  const { snapshot: written, active } = isFirst
    ? { snapshot: NOTHING_WRITTEN, active: undefined }
    : (JSON.parse(before.envelope) as Envelope);
  const failed = { ...written, children: {}, status: 'error', error: errorData(summary) };
  const envelope = writeFailure(type, { book, path, active }, failed);
  const snapshot = {
    ...before.snapshot,
    children: {},
    status: 'error',
    error: summary,
  } as unknown as AnyMachineSnapshot;
  return {
    live: { snapshot, seq, book, started: {}, timers: {}, machines: {}, path, envelope },
    status: 'error',
    state: JSON.stringify((written as { value?: unknown }).value ?? null),
    tags: isFirst ? '[]' : writeTags(before.snapshot),
    output: null,
    error: JSON.stringify(summary),
    envelope,
    edges: '[]',
    effects: Object.entries(before.started).map(([invokeId, startedSeq]) => ({
      kind: 'stop',
      invokeId,
      seq: startedSeq,
    })),
    timersArmed: [],
    timersDropped: Object.keys(before.timers),
    messages: [],
    kin: Object.keys(before.machines).map((childId) => ({ kind: 'stop', childId })),
  };
}

const NOTHING_WRITTEN = { value: {}, context: {}, historyValue: {} };

type Row = Pick<Step, 'status' | 'state' | 'tags' | 'output' | 'error' | 'envelope'>;

function rowOf(type: ActorType, live: Live, limits: StepLimits): Row {
  const { snapshot } = live;
  const { status, value } = snapshot;
  const envelope = writeText(type, live, limits);
  // A UTF-16 unit is at most 3 bytes of UTF-8; counting them is left to what comes near the limit.
  if (
    envelope.length * 3 > limits.snapshotMaxBytes &&
    Buffer.byteLength(envelope) > limits.snapshotMaxBytes
  )
    throw new PerdureError(
      'snapshot_too_large',
      `The snapshot of ${type.name} would be ${Buffer.byteLength(envelope)} bytes; at most ${limits.snapshotMaxBytes} are kept. Put large data elsewhere and keep its key.`,
    );
  return {
    status: status as ActorStatus,
    state: typeof value === 'string' ? stateTexts.of(value) : JSON.stringify(value ?? null),
    tags: writeTags(snapshot),
    output: status === 'done' ? writeOutput(snapshot.output, limits) : null,
    error: status === 'error' ? JSON.stringify(errorSummary(snapshot.error)) : null,
    envelope,
  };
}

/** A machine has few states and edges, which are written again and again, and wait for their commit as texts. */
const stateTexts = new Texts((name) => JSON.stringify(name));
const edgeTexts = new Texts((edge) => JSON.stringify([edge]));

const edgesText = (edges: readonly string[]): string => {
  if (edges.length === 0) return '[]';
  return edges.length === 1 ? edgeTexts.of(edges[0] as string) : JSON.stringify(edges);
};

const writeTags = ({ tags }: AnyMachineSnapshot): string =>
  tags?.size ? JSON.stringify([...tags]) : '[]';

/** It also travels as a message, in the outcome. */
function writeOutput(output: unknown, { nestingMax, bodyMaxBytes }: StepLimits): string {
  const text = stringify(output, 'output', nestingMax);
  if (text.length * 3 <= bodyMaxBytes || Buffer.byteLength(text) <= bodyMaxBytes) return text;
  throw new PerdureError(
    'body_too_large',
    `The output has ${Buffer.byteLength(text)} bytes; at most ${bodyMaxBytes} are allowed.`,
  );
}

function writeText(type: ActorType, live: Live, { nestingMax }: StepLimits): string {
  try {
    return writeEnvelope(type, live, nestingMax);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const problem = 'context is nested too deeply, or contains itself.';
    throw new PerdureError('not_serialisable', problem, { cause: error });
  }
}

/** Children that go by a system id, also those of machine children; undefined when there are none, as in most machines. */
export function systemIds(
  snapshot: AnyMachineSnapshot,
  keyed?: Map<string, AnyActorRef>,
): Map<string, AnyActorRef> | undefined {
  const children = (snapshot.children ?? {}) as Record<string, Child & { systemId?: string }>;
  for (const id in children) {
    const child = children[id];
    if (child?.systemId !== undefined) {
      keyed ??= new Map();
      keyed.set(child.systemId, child);
    }
    if (child && kindOfChild(child) === 'machine')
      keyed = systemIds(child.getSnapshot() as unknown as AnyMachineSnapshot, keyed);
  }
  return keyed;
}
