import { type AnyStateMachine, type EventFromLogic, fromPromise, type InputFrom } from 'xstate';
import { getShortestPaths } from 'xstate/graph';
import { type ActorType, defineActor } from '../actors/define.ts';
import { kindOf } from '../actors/logic.ts';
import { PerdureError } from '../errors.ts';
import type { TestActor } from './testActor.ts';
import { type TestCluster, type TestClusterOptions, testCluster } from './testCluster.ts';

export interface PathOptions<M extends AnyStateMachine> {
  input?: InputFrom<M>;
  /** What may happen, with payloads. Default: every event the machine names, its timers and results included, without any. */
  events?: readonly (EventFromLogic<M> | { type: `xstate.${string}`; [key: string]: unknown })[];
  /** Steps tried before it is given up. Default 10,000. */
  limit?: number;
}

/** A way through a machine: what happens, and the state each time. */
export interface ActorPath {
  /** Such as `PAY → xstate.done.actor.charge`. */
  readonly description: string;
  readonly steps: readonly { event: { type: string }; state: unknown }[];
  /** State value at its end. */
  readonly state: unknown;
  /**
   * Goes this way in a cluster of its own. Invoked promises that have a name in `setup({ actors })` do not run: they end
   * when the path says so.
   * @throws PerdureError `step_failed` when a state is not the one the path has.
   */
  run(options?: Omit<TestClusterOptions, 'actors'>): Promise<void>;
}

/**
 * The shortest way to every state of an actor type, found by `xstate/graph`. A state is a state value with a context,
 * so a context that grows for ever needs `events` that do not make it grow.
 * @throws Error of XState's when `limit` is reached.
 */
export function pathsOf<M extends AnyStateMachine>(
  type: ActorType<string, M>,
  options: PathOptions<M> = {},
): ActorPath[] {
  const { input, events, limit = 10_000 } = options;
  const given = { limit, ...(events && { events }), ...(input !== undefined && { input }) };
  const paths = getShortestPaths(type.machine as AnyStateMachine, given as object);
  return paths.map(({ steps, state }) => {
    const told = steps.map((step) => ({ event: step.event, state: step.state.value }));
    const happens = told.filter(({ event }) => event.type !== 'xstate.init');
    return {
      description: happens.map(({ event }) => event.type).join(' → ') || '(start)',
      steps: told,
      state: state.value,
      run: (settings) => follow(type, input, told, settings),
    };
  });
}

type Steps = ActorPath['steps'];
/** How promises that are held end, by invoke id. */
type Ends = Map<string, { resolve(output: unknown): void; reject(error: unknown): void }>;

async function follow(
  type: ActorType,
  input: unknown,
  steps: Steps,
  settings: Omit<TestClusterOptions, 'actors'> = {},
): Promise<void> {
  const ends: Ends = new Map();
  const held = withPromisesHeld(type, ends);
  const cluster = await testCluster({ ...settings, actors: [held] });
  try {
    const actor = await cluster.start(held, { id: 'path', input });
    for (const { event, state } of steps) {
      if (event.type !== 'xstate.init') await happen(cluster, actor, event, ends);
      if (JSON.stringify(sorted(actor.state)) === JSON.stringify(sorted(state))) continue;
      throw new PerdureError(
        'step_failed',
        `After ${event.type} the state is ${JSON.stringify(actor.state)}; the path has ${JSON.stringify(state)}.`,
      );
    }
  } finally {
    await cluster.stop();
  }
}

async function happen(
  cluster: TestCluster,
  actor: TestActor,
  event: { type: string; output?: unknown; error?: unknown },
  ends: Ends,
): Promise<void> {
  const [, result, invokeId = ''] = /^xstate\.(done|error)\.actor\.(.+)$/.exec(event.type) ?? [];
  const timer = actor.timers.find(({ id }) => id === event.type);
  if (result === 'done') ends.get(invokeId)?.resolve(event.output);
  else if (result === 'error') ends.get(invokeId)?.reject(event.error);
  else if (timer) return cluster.advance(timer.inMs);
  else return actor.send(event);
  await cluster.settle();
}

function withPromisesHeld(type: ActorType, ends: Ends): ActorType {
  const held = fromPromise(
    ({ self }) => new Promise((resolve, reject) => ends.set(self.id, { resolve, reject })),
  );
  const named = Object.entries(type.machine.implementations.actors as Record<string, unknown>);
  const actors = named
    .filter(([, logic]) => kindOf(logic) === 'promise')
    .map(([name]) => [name, held]);
  const machine = type.machine.provide({ actors: Object.fromEntries(actors) });
  return defineActor(type.name, { machine, version: type.version, timeout: type.timeout });
}

/** Regions of a parallel state have no order. */
function sorted(state: unknown): unknown {
  if (typeof state !== 'object' || state === null) return state;
  const entries = Object.entries(state).sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([name, value]) => [name, sorted(value)]);
}
