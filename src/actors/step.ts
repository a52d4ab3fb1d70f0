import { createRequire } from 'node:module';
import type {
  AnyActorRef,
  AnyMachineSnapshot,
  EventObject,
  ExecutableActionObject,
  Snapshot,
} from 'xstate';
import { asError, PerdureError } from '../errors.ts';
import type { ActorStatus, Address, Origin } from '../store/store.ts';
import { type Child, watchedId } from './children.ts';
import { encode, errorData, errorSummary, parse, stringify } from './codec.ts';
import type { ActorType } from './define.ts';
import type { Effect } from './effects.ts';
import { lowerActions, type Message, type Timer } from './lower.ts';
import { activeIds, restoreWritten, type StepScope } from './scope.ts';

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
export const FAIL = 'perdure.fail';
export const SEND = 'perdure.send';

const require = createRequire(import.meta.url);
export const XSTATE_VERSION = (require('xstate/package.json') as { version: string }).version;

/** The actor's first transition, from its input. */
export function firstStep(
  type: ActorType,
  address: Address,
  scope: StepScope,
  input: unknown,
  limits: StepLimits,
): Step {
  scope.begin(0, undefined);
  const snapshot = type.machine.getInitialSnapshot(scope.scope, input) as AnyMachineSnapshot;
  const before: Live = {
    snapshot,
    seq: 0,
    book: 0,
    started: {},
    timers: {},
    envelope: '',
  };
  return finish(type, address, scope, before, undefined, snapshot, limits);
}

/** The next transition. */
export function nextStep(
  type: ActorType,
  address: Address,
  scope: StepScope,
  live: Live,
  input: StepInput,
  limits: StepLimits,
): Step {
  scope.begin(live.book, systemIds(live.snapshot));
  try {
    return finish(type, address, scope, settled(live, input), live, advance(), limits);
  } catch (thrown) {
    return failedStep(type, scope, live, asError(thrown));
  }

  function advance(): AnyMachineSnapshot {
    const { event } = input;
    if (input.origin === 'timer' && event.type === SEND) {
      // To a child: what the step causes is read from this action, as if the machine had sent it now.
      const to = live.snapshot.children[(event as EventObject & { child?: string }).child ?? ''];
      if (to)
        scope.collected.actions.push(
          sendTo(to, (event as EventObject & { event: EventObject }).event),
        );
      return live.snapshot;
    }
    if (event.type === FAIL) throw (event as EventObject & { error: unknown }).error;
    const given = event.type === CANCEL ? { type: 'xstate.stop' } : event;
    return type.machine.transition(live.snapshot, given, scope.scope) as AnyMachineSnapshot;
  }
}

const sendTo = (to: AnyActorRef, event: EventObject) =>
  ({ type: 'xstate.sendTo', params: { to, event } }) as unknown as ExecutableActionObject;

/** An actor from its row. @throws Error when the machine cannot take the stored snapshot. */
export function rehydrate(type: ActorType, scope: StepScope, seq: number, envelope: string): Live {
  const stored = parse(envelope) as Envelope;
  scope.begin(0, undefined);
  const snapshot = type.machine.restoreSnapshot(stored.snapshot, scope.scope) as AnyMachineSnapshot;
  const { book, started, timers, active } = stored;
  restoreWritten(type.machine, snapshot, stored.snapshot as AnyMachineSnapshot, active);
  return { snapshot, seq, book, started, timers, envelope };
}

/** A committed snapshot, as it stands in `actor.snapshot` and `transition.snapshot`. */
export interface Envelope {
  machine: string;
  version: string;
  xstate: string;
  book: number;
  started: Record<string, number>;
  timers: Record<string, number>;
  /** Active states, see `activeIds`. */
  active?: string[] | undefined;
  /** XState's persisted snapshot. */
  snapshot: Snapshot<unknown>;
}

/**
 * A child here is never started: it stands for what was asked. When its result is taken, it must read as settled,
 * or a restored actor would run it again.
 */
function settled(live: Live, { event, origin, timerId }: StepInput): Live {
  if (timerId !== undefined) {
    const { [timerId]: _fired, ...timers } = live.timers;
    return { ...live, timers };
  }
  if (origin === 'child') {
    const id = watchedId(event);
    const child = id === undefined ? undefined : (live.snapshot.children[id] as Child | undefined);
    const { snapshot } = event as EventObject & { snapshot?: object };
    if (child) child._snapshot = { ...child._snapshot, ...snapshot };
  }
  if (origin !== 'invoke') return live;
  const { actorId } = event as EventObject & { actorId: string };
  const child = live.snapshot.children[actorId] as
    | (AnyActorRef & { _snapshot: Record<string, unknown> })
    | undefined;
  if (child)
    child._snapshot =
      'error' in event
        ? { ...child._snapshot, status: 'error', error: event.error, input: undefined }
        : {
            ...child._snapshot,
            status: 'done',
            output: (event as unknown as { output: unknown }).output,
            input: undefined,
          };
  const { [actorId]: _done, ...started } = live.started;
  return { ...live, started };
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
  const { started, timers, ...rest } = lowerActions(
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
  const live: Live = { snapshot, seq, book: scope.collected.book, started, timers, envelope: '' };
  const row = rowOf(type, live, limits);
  live.envelope = row.envelope;
  return { ...row, ...rest, live, edges: JSON.stringify(edges) };
}

/**
 * User code threw, or made something no row can hold: the actor ends here, with what was last written. The live
 * snapshot is not looked at: it may be the very thing that cannot be written.
 */
function failedStep(type: ActorType, scope: StepScope, before: Live, error: Error): Step {
  const summary = { code: 'step_failed', ...errorSummary(error) };
  const seq = before.seq + 1;
  const { book } = scope.collected;
  const written =
    before.envelope === '' ? NOTHING_WRITTEN : (JSON.parse(before.envelope) as Envelope).snapshot;
  const envelope = JSON.stringify({
    machine: type.machine.id,
    version: type.version,
    xstate: XSTATE_VERSION,
    book,
    started: {},
    timers: {},
    snapshot: { ...written, children: {}, status: 'error', error: errorData(summary) },
  });
  const snapshot = {
    ...before.snapshot,
    children: {},
    status: 'error',
    error: summary,
  } as unknown as AnyMachineSnapshot;
  return {
    live: { snapshot, seq, book, started: {}, timers: {}, envelope },
    status: 'error',
    state: JSON.stringify((written as { value?: unknown }).value ?? null),
    tags: '[]',
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
  };
}

const NOTHING_WRITTEN = { value: {}, context: {}, historyValue: {} };

type Row = Pick<Step, 'status' | 'state' | 'tags' | 'output' | 'error' | 'envelope'>;

function rowOf(type: ActorType, live: Live, limits: StepLimits): Row {
  const { snapshot } = live;
  const { status, value, tags } = snapshot;
  const envelope = writeEnvelope(type, live, limits);
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
    state: JSON.stringify(value ?? null),
    tags: tags?.size ? JSON.stringify([...tags]) : '[]',
    output: status === 'done' ? writeOutput(snapshot.output, limits) : null,
    error: status === 'error' ? JSON.stringify(errorSummary(snapshot.error)) : null,
    envelope,
  };
}

/** It also travels as a message, in the outcome. */
function writeOutput(output: unknown, { nestingMax, bodyMaxBytes }: StepLimits): string {
  const text = stringify(output, 'output', nestingMax);
  if (text.length * 3 <= bodyMaxBytes || Buffer.byteLength(text) <= bodyMaxBytes) return text;
  throw new PerdureError(
    'body_too_large',
    `The output has ${Buffer.byteLength(text)} bytes; at most ${bodyMaxBytes} are allowed.`,
  );
}

function writeEnvelope(type: ActorType, live: Live, { nestingMax }: StepLimits): string {
  const persisted = persist(type, live);
  const written: Record<string, unknown> = {
    ...persisted,
    context: encode(persisted.context, 'context', nestingMax),
    children: encodeChildren(persisted.children, nestingMax),
  };
  if (persisted.output !== undefined)
    written.output = encode(persisted.output, 'output', nestingMax);
  if (persisted.error !== undefined) written.error = encode(persisted.error, 'error', nestingMax);
  const envelope: Envelope = {
    machine: type.machine.id,
    version: type.version,
    xstate: XSTATE_VERSION,
    book: live.book,
    started: live.started,
    timers: live.timers,
    active: activeIds(type.machine, live.snapshot),
    snapshot: written as unknown as Snapshot<unknown>,
  };
  return JSON.stringify(envelope);
}

function persist(type: ActorType, { snapshot }: Live): Snapshot<unknown> & Persisted {
  try {
    return type.machine.getPersistedSnapshot(snapshot) as Snapshot<unknown> & Persisted;
  } catch (error) {
    // XState walks the context for actor references, for ever when it contains itself.
    if (!(error instanceof RangeError)) throw error;
    const problem = 'context is nested too deeply, or contains itself.';
    throw new PerdureError('not_serialisable', problem, { cause: error });
  }
}

interface Persisted {
  context: unknown;
  children: Record<string, { snapshot: Record<string, unknown> }>;
}

/** All that XState keeps of a promise, a callback, an observable or a transition function. */
const CHILD_KEYS = ['status', 'output', 'error', 'context', 'input'] as const;

/** What XState keeps of a child, without the fields that are not there: there are as many children as invokes. */
function encodeChildren(children: Persisted['children'], nestingMax: number): unknown {
  const written: Record<string, unknown> = {};
  for (const id in children) {
    const child = children[id] as Persisted['children'][string];
    const snapshot: Record<string, unknown> = {};
    // In one order, whatever happened to it in memory: the same step must be the same text.
    for (const key of CHILD_KEYS) {
      const value = child.snapshot[key];
      if (value !== undefined) snapshot[key] = encode(value, `${key} of ${id}`, nestingMax);
    }
    written[id] = { ...child, snapshot };
  }
  return written;
}

/** Children that go by a system id; undefined when there are none, as in most machines. */
export function systemIds(snapshot: AnyMachineSnapshot): Map<string, AnyActorRef> | undefined {
  let keyed: Map<string, AnyActorRef> | undefined;
  const children = snapshot.children as Record<string, AnyActorRef & { systemId?: string }>;
  for (const id in children) {
    const child = children[id];
    if (child?.systemId === undefined) continue;
    keyed ??= new Map();
    keyed.set(child.systemId, child);
  }
  return keyed;
}
