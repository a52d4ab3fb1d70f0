import { setImmediate } from 'node:timers';
import {
  type ActorSystem,
  type AnyActor,
  type AnyActorLogic,
  type AnyStateMachine,
  createActor,
  SimulatedClock,
  StateMachine,
} from 'xstate';
import type { Case, Trace, View } from './case.ts';

/**
 * What XState does that is its own alone: several timers due at the same moment; two children of one id, one of which nobody can
 * end any more (XState enters a state again without leaving it when a history state beside the source is the target).
 */
export type Oddity = 'tie' | 'orphan';

/** A child that context refers to, by its name. */
function named(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(named);
  if (typeof value !== 'object' || value === null) return value;
  if ('sessionId' in value && 'ref' in value)
    return `child ${shownId((value as { id?: string }).id ?? '')}`;
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, named(inner)]));
}

/** How plain XState is looked at. */
export interface Look {
  onOddity?: (oddity: Oddity) => void;
  /** Without what is otherwise in Perdure: see differences.test.ts. */
  oneTimerForEachId?: boolean;
}

/** The reference: the case under XState's own `createActor`, on its own simulated clock. */
export async function runPlain(
  { machine, input, steps }: Case,
  { onOddity = () => {}, oneTimerForEachId = false }: Look = {},
): Promise<Trace> {
  const trace: Trace = { views: [], emitted: [], effects: [] };
  const clock = new SimulatedClock();
  const actor = createActor(withStartsSeen(machine(), trace, onOddity), {
    clock,
    input,
    logger() {},
    inspect(seen) {
      // Sent by the real actor for every action that is executed; built-in ones have names of XState's.
      const event = seen as unknown as {
        type: string;
        actorRef: Member;
        action: { type: string };
      };
      if (event.type !== '@xstate.action') return;
      if (!event.action.type.startsWith('xstate.'))
        trace.effects.push(`${memberOf(event.actorRef)}action ${event.action.type}`);
    },
  });
  if (oneTimerForEachId) replaceTimers(actor.system.scheduler);
  actor.on('*', (event) => void trace.emitted.push(event));
  actor.subscribe({ error() {} });
  actor.start();
  await quiet(clock);
  trace.views.push(viewOf(actor.getSnapshot()));
  for (const step of steps) {
    if ('advance' in step) await advance(clock, step.advance, () => onOddity('tie'));
    else if (actor.getSnapshot().status === 'active') actor.send(step.send);
    await quiet(clock);
    trace.views.push(viewOf(actor.getSnapshot()));
  }
  actor.stop();
  return trace;
}

/** XState lets both of two timers of one id fire, and only the later can be cancelled. Here, and in Perdure, it is the one. */
function replaceTimers(scheduler: ActorSystem<never>['scheduler']): void {
  const schedule = scheduler.schedule.bind(scheduler);
  scheduler.schedule = (source, target, event, delay, id) => {
    if (id !== undefined) scheduler.cancel(source, id);
    schedule(source, target, event, delay, id);
  };
}

/** A snapshot of XState's, as far as cases look at it. */
export function viewOf(snapshot: unknown): View {
  const { status, value, context, tags, output, error, getMeta, children } = snapshot as Omit<
    View,
    'tags' | 'error' | 'meta' | 'machines'
  > & {
    getMeta?: () => unknown;
    tags?: Set<string>;
    error: unknown;
    // XState 5.31 gives none to an actor that failed as it started.
    children?: Record<string, { getSnapshot(): object } | undefined>;
  };
  const machines = Object.entries(children ?? {}).flatMap(([id, child]) => {
    const below = child?.getSnapshot();
    return status === 'active' && below && 'historyValue' in below ? [[id, viewOf(below)]] : [];
  });
  return {
    status,
    value,
    context: named(context),
    tags: [...(tags ?? [])],
    meta: getMeta?.call(snapshot),
    output,
    error: error instanceof Error ? error.message : (error as undefined),
    machines: Object.fromEntries(machines),
  };
}

interface Member {
  id: string;
  _parent: Member | undefined;
}

/** Whose effect it is: nothing for the actor itself, `ship: ` for the machine it has under that id. */
const memberOf = ({ id, _parent }: Member): string => (_parent ? prefixOf(id) : '');

/** Ids that are made up are other ones under XState. */
export const prefixOf = (childId: string): string => `${shownId(childId)}: `;

const shownId = (id: string): string => (/[:/]/.test(id) ? '?' : id);

/** Named children tell when they are started, and with what. */
function withStartsSeen(
  machine: AnyStateMachine,
  trace: Trace,
  onOddity: (oddity: Oddity) => void,
): AnyStateMachine {
  const last = new Map<string, AnyActor>();
  const named = Object.entries(machine.implementations.actors as Record<string, AnyActorLogic>);
  const actors = named.map(([name, logic]) => {
    if (logic instanceof StateMachine) return [name, withStartsSeen(logic, trace, onOddity)];
    const start: NonNullable<AnyActorLogic['start']> = (snapshot, scope) => {
      const self = scope.self as AnyActor;
      const before = last.get(self.id);
      if ((before && isRunning(before)) || !isKnown(self)) onOddity('orphan');
      last.set(self.id, self);
      if (!logic.start) return;
      const { _parent: member } = scope.self as unknown as Member;
      const { input } = snapshot as { input?: unknown };
      trace.effects.push(`${member ? memberOf(member) : ''}${started(name, input)}`);
      logic.start(snapshot, scope);
    };
    return [name, { ...logic, start }];
  });
  return machine.provide({ actors: Object.fromEntries(actors) });
}

const isRunning = (actor: AnyActor): boolean =>
  (actor as unknown as { _processingStatus: number })._processingStatus === 1 &&
  actor.getSnapshot().status === 'active';

/** To its parent, under its id. */
const isKnown = (actor: AnyActor): boolean => {
  const { _parent: parent } = actor as unknown as { _parent: AnyActor };
  return parent.getSnapshot().children[actor.id] === actor;
};

export const started = (name: string, input: unknown): string =>
  `invoke ${name}${input === undefined ? '' : ` ${JSON.stringify(input)}`}`;

/** When the timers that are set come due. */
function deadlines(clock: SimulatedClock): number[] {
  const { timeouts } = clock as unknown as {
    timeouts: Map<number, { start: number; timeout: number }>;
  };
  return Array.from(timeouts.values(), ({ start, timeout }) => start + timeout);
}

/** From one timer to the next, so that what one arms counts from when it fired. */
async function advance(clock: SimulatedClock, ms: number, onTie: () => void): Promise<void> {
  const until = clock.now() + ms;
  for (let next = clock.now(); next < until; ) {
    const all = deadlines(clock);
    next = Math.min(until, ...all);
    if (all.filter((due) => due === next).length > 1) onTie();
    clock.set(next);
    await quiet(clock);
  }
}

/** Promises that wait for nothing settle, and timers that are due by now fire. */
async function quiet(clock: SimulatedClock): Promise<void> {
  for (;;) {
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    if (!deadlines(clock).some((due) => due <= clock.now())) return;
    clock.increment(0);
  }
}
