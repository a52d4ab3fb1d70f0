import { createRequire } from 'node:module';
import type { AnyActorRef, AnyMachineSnapshot, Snapshot } from 'xstate';
import { type Child, kindOfChild } from './children.ts';
import { encode, parse } from './codec.ts';
import type { ActorType } from './define.ts';
import { tellsSnapshots } from './inside.ts';
import { childRow } from './kin.ts';
import { TARGET, type Target, targetOf } from './refs.ts';
import { childInPlace } from './refusals.ts';
import { activeIds, restoreWritten, type StepScope } from './scope.ts';
import type { Live } from './step.ts';

const require = createRequire(import.meta.url);
export const XSTATE_VERSION = (require('xstate/package.json') as { version: string }).version;

/** A committed snapshot, as it stands in `actor.snapshot` and `transition.snapshot`. */
export interface Envelope {
  /**
   * Machine children the snapshot has: child id → the transition that started it. First in the text, so that whoever
   * loads the row sees at once that there is more to load.
   */
  machines?: Record<string, number> | undefined;
  /** Of a child machine: how it is found from the type of the root, one `src` for each level. */
  path?: readonly string[] | undefined;
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
  /** The actor's own trace: `traceparent`, and `tracestate` behind a space. Last in the text, see `actors/tracing`. */
  trace?: string;
}

/** Machine children of a row, by the text of its envelope: child id → the transition that started it. */
export function machinesIn(envelope: string): Readonly<Record<string, number>> {
  return envelope.startsWith('{"machines"')
    ? ((JSON.parse(envelope) as Envelope).machines ?? NONE)
    : NONE;
}

const NONE: Readonly<Record<string, number>> = Object.freeze({});

/** @throws PerdureError `not_serialisable` */
export function writeEnvelope(type: ActorType, live: Live, nestingMax: number): string {
  const { snapshot, machines, path, book, started, timers } = live;
  const inPlace = childInPlace(type.name, snapshot);
  if (inPlace) throw inPlace;
  const envelope: Envelope = {
    machines: isEmpty(machines) ? undefined : machines,
    path: path.length === 0 ? undefined : path,
    machine: type.machine.id,
    version: type.version,
    xstate: XSTATE_VERSION,
    book,
    started,
    timers,
    active: activeIds(type.machine, snapshot),
    snapshot: persist(snapshot, nestingMax) as unknown as Snapshot<unknown>,
  };
  return JSON.stringify(envelope);
}

/** The envelope of an actor that ended in an error nothing of the machine can be asked about. */
export function writeFailure(
  type: ActorType,
  { book, path, active }: Pick<Live, 'book' | 'path'> & Pick<Envelope, 'active'>,
  snapshot: object,
): string {
  const envelope = {
    ...(path.length === 0 ? {} : { path }),
    machine: type.machine.id,
    version: type.version,
    xstate: XSTATE_VERSION,
    book,
    started: {},
    timers: {},
    active,
    snapshot,
  };
  return JSON.stringify(envelope);
}

/** An actor from its row. @throws Error when the machine cannot take the stored snapshot. */
export function rehydrate(type: ActorType, scope: StepScope, seq: number, envelope: string): Live {
  const stored = parse(envelope) as Envelope;
  scope.begin(0, undefined, seq);
  const snapshot = type.machine.restoreSnapshot(stored.snapshot, scope.scope) as AnyMachineSnapshot;
  const { book, started, timers, active, machines = NONE, path = [] } = stored;
  restoreWritten(type.machine, snapshot, stored.snapshot as AnyMachineSnapshot, active);
  nameMachines(snapshot, stored, ownerOf(scope));
  if (envelope.includes(REF_IN_TEXT)) reviveOwn(snapshot);
  return { snapshot, seq, book, started, timers, machines, path, envelope };
}

/** Restored machine children know their rows, as they did when they were made, and whether they have ended. */
export function nameMachines(
  { children }: AnyMachineSnapshot,
  { machines = NONE, snapshot }: Pick<Envelope, 'machines' | 'snapshot'>,
  owner: Target,
): void {
  const stored = (snapshot as { children?: Record<string, { snapshot: { status?: unknown } }> })
    .children;
  for (const id in machines) {
    const ref = children[id] as Child | undefined;
    if (!ref) continue;
    Object.assign(ref, { [TARGET]: childRow(owner, id, machines[id] as number) });
    const status = stored?.[id]?.snapshot.status as Child['ended'];
    if (status) ref.ended = status;
  }
}

/** As the codec writes a reference. */
const REF_IN_TEXT = '"$perdure":"Ref"';

const ownerOf = ({ self }: StepScope): Target =>
  (self as AnyActorRef & { [TARGET]: Target })[TARGET];

/** What is kept of a snapshot: XState's own form, with values the codec carries. */
function persist(snapshot: AnyMachineSnapshot, nestingMax: number): Record<string, unknown> {
  const { status, output, error, value, context, children, historyValue } = snapshot;
  return {
    status,
    output: encode(output, 'output', nestingMax),
    error: encode(error, 'error', nestingMax),
    value,
    context: encode(context, 'context', nestingMax),
    children: persistChildren(children, nestingMax),
    historyValue: historyIds(historyValue),
  };
}

function historyIds(historyValue: AnyMachineSnapshot['historyValue']): unknown {
  let written: Record<string, { id: string }[]> | undefined;
  for (const key in historyValue) {
    written ??= {};
    written[key] = (historyValue[key] ?? []).map(({ id }) => ({ id }));
  }
  return written ?? NONE;
}

/** What XState keeps of a child, without the fields that are not there: there are as many children as invokes. */
function persistChildren(children: AnyMachineSnapshot['children'], nestingMax: number): unknown {
  const written: Record<string, unknown> = {};
  for (const id in children) {
    const child = children[id] as (Child & { src: unknown; systemId?: string }) | undefined;
    if (!child) continue;
    const { src, systemId } = child;
    const syncSnapshot = tellsSnapshots(child);
    // A machine's is in a row of its own.
    const snapshot =
      kindOfChild(child) === 'machine'
        ? { status: child.ended }
        : persistShown(child.getSnapshot(), id, nestingMax);
    written[id] = { snapshot, src, systemId, syncSnapshot };
  }
  return written;
}

/**
 * All that XState keeps of a promise, a callback, an observable or a transition function. In one order, whatever happened in
 * memory: the same step must be the same text.
 */
function persistShown(
  { status, output, error, context, input }: ReturnType<Child['getSnapshot']>,
  id: string,
  nestingMax: number,
): unknown {
  return {
    status,
    output: encodeOf(id, 'output', output, nestingMax),
    error: encodeOf(id, 'error', error, nestingMax),
    context: encodeOf(id, 'context', context, nestingMax),
    input: encodeOf(id, 'input', input, nestingMax),
  };
}

const encodeOf = (id: string, what: string, value: unknown, nestingMax: number): unknown =>
  value === undefined ? undefined : encode(value, `${what} of ${id}`, nestingMax);

/** References to the actor's own children are the children themselves. */
export function reviveOwn({ children, context }: AnyMachineSnapshot): void {
  const own = new Map<string, unknown>();
  for (const child of Object.values(children)) {
    const target = child ? targetOf(child) : undefined;
    if (target) own.set(nameOf(target), child);
  }
  const look = (value: unknown, put: (child: unknown) => void): void => {
    if (typeof value !== 'object' || value === null) return;
    const target = targetOf(value);
    if (target === undefined) return walk(value);
    // One that is gone since stays a name.
    if (own.has(nameOf(target))) put(own.get(nameOf(target)));
  };
  const walk = (value: object): void => {
    if (value instanceof Map)
      for (const [key, item] of value) look(item, (child) => value.set(key, child));
    else if (value instanceof Set)
      for (const item of [...value])
        look(item, (child) => {
          value.delete(item);
          value.add(child);
        });
    else if (!ArrayBuffer.isView(value))
      for (const [key, item] of Object.entries(value))
        look(item, (child) => {
          (value as Record<string, unknown>)[key] = child;
        });
  };
  walk(context);
}

const nameOf = ({ type, id, child }: Target): string => `${type}/${id}/${child ?? ''}`;

function isEmpty(record: object): boolean {
  for (const _ in record) return false;
  return true;
}
