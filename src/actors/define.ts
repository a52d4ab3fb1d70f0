import { type AnyStateMachine, StateMachine } from 'xstate';
import { TOKEN } from '../bus/subjects.ts';
import { LIMITS } from '../config.ts';
import { PerdureError } from '../errors.ts';
import { encode } from './codec.ts';
import { kindOf } from './logic.ts';
import { checkInvokeIds, checkState, checkWrittenAction, refuse } from './refusals.ts';
import { checkSearchable, type SearchableField } from './searchable.ts';
import { logicInPlace, withStandIns } from './standIns.ts';
import { checkMigrations, type Migrate, type Migrations, VERSION_FORM } from './versions.ts';

/** How a failed invoke is tried again. The first try is attempt 1. */
export interface RetryPolicy {
  /** Attempts in all, at least 1. */
  attempts: number;
  /** Ceiling of the first wait, ms; doubles with each attempt, full jitter. Default 200. */
  delayMs?: number;
  /** Largest ceiling of a wait, ms. Default 30,000. */
  maxDelayMs?: number;
}

/** What a user says about an actor type. */
export interface ActorOptions<M extends AnyStateMachine> {
  machine: M;
  /** Kept with every snapshot; a node opens a snapshot with the version that wrote it, or with one that has a `migrate` for it. Default: the machine's own, else '1'. */
  version?: string;
  /**
   * By the version it takes over from: where an actor that was written by it goes on in this machine. Runs when a node
   * that does not know the old version opens such an actor.
   */
  migrate?: Readonly<Record<string, Migrate<NoInfer<M>>>>;
  /**
   * Retries by the invoke's `src` name, `'*'` for all others. An error with `retryable: false` is not tried
   * again. When attempts are used up the machine gets `onError`. Default: one attempt.
   */
  retry?: Readonly<Record<string, RetryPolicy>>;
  /** Time for one attempt by the invoke's `src` name, `'*'` for all others, ms. Default: none. */
  timeout?: Readonly<Record<string, number>>;
  /**
   * Fields of the input by which actors can be found (`perdure ls --where customerId=42`), at most 8. Their values are
   * recorded in plain text beside the actor when it is started, also where there is a codec; actors that were started before
   * a field was marked are not found by it. Default: none.
   */
  searchable?: readonly SearchableField<NoInfer<M>>[];
}

/** A machine with its options, registered under a name. Made by `defineActor`. */
export interface ActorType<
  TName extends string = string,
  M extends AnyStateMachine = AnyStateMachine,
> {
  readonly name: TName;
  readonly version: string;
  /** The machine the engine drives: the user's, with an end to endless loops, and stand-ins for its machine children. */
  readonly machine: M;
  readonly migrate: Migrations;
  /** What works today and may not after a change; a node logs it when it starts. */
  readonly warnings: readonly string[];
  readonly retry: Readonly<Record<string, RetryPolicy>>;
  readonly timeout: Readonly<Record<string, number>>;
  readonly searchable: readonly string[];
}

type AnyStateNode = AnyStateMachine['root'];

/** Registered, so that two copies of this package in one process know each other's types. */
const BRAND = Symbol.for('perdure.actorType');

/** True for what `defineActor` returned. */
export function isActorType(value: unknown): value is ActorType {
  return typeof value === 'object' && value !== null && BRAND in value;
}

/**
 * Registers a machine as an actor type: `defineActor('order', { machine, version: '1' })`. The machine is not
 * changed and still runs under plain `createActor`.
 * @throws PerdureError `bad_subject` for a name that is no token, `bad_definition` for a machine that could not
 *   survive a crash, with the place and the cure.
 */
export function defineActor<const TName extends string, M extends AnyStateMachine>(
  name: TName,
  options: ActorOptions<M>,
): ActorType<TName, M> {
  if (!TOKEN.test(name))
    throw new PerdureError(
      'bad_subject',
      `Actor type ${JSON.stringify(name)} is not allowed: use 1 to 128 of A-Z a-z 0-9 _ and -.`,
    );
  if (!(options.machine instanceof StateMachine))
    throw new PerdureError(
      'bad_definition',
      `Actor type ${name} needs a machine made by XState's createMachine or setup().createMachine.`,
    );
  const version = options.version ?? options.machine.version ?? '1';
  if (!VERSION_FORM.test(version))
    throw new PerdureError(
      'bad_definition',
      `Version ${JSON.stringify(version)} of ${name} is not allowed: 1 to 64 visible ASCII characters.`,
    );
  checkMigrations(name, version, options.migrate);
  const warnings: string[] = [];
  const { types, sources } = buildTypes(options.machine, {
    name,
    version,
    migrate: Object.freeze({ ...options.migrate }) as Migrations,
    warnings,
    retry: Object.freeze({ ...options.retry }),
    timeout: Object.freeze({ ...options.timeout }),
    searchable: checkSearchable(name, options.searchable),
  });
  checkPolicies(name, options, sources);
  Object.freeze(warnings);
  for (const type of types.values()) Object.freeze(type);
  return types.get(options.machine) as ActorType<TName, M>;
}

/** The type itself and, with the same options, one for each machine that is invoked or spawned somewhere below. */
function buildTypes(
  root: AnyStateMachine,
  base: Omit<ActorType, 'machine'> & { warnings: string[] },
): { types: Map<AnyStateMachine, ActorType>; sources: Set<string> } {
  const types = new Map<AnyStateMachine, ActorType>();
  const sources = new Set<string>();
  const typeOf = (machine: AnyStateMachine): ActorType => {
    const known = types.get(machine);
    if (known) return known;
    // Known before it is complete: a machine may spawn its own kind.
    const type = { [BRAND]: true, ...base, machine };
    types.set(machine, type);
    type.machine = drivable(base.name, machine, typeOf);
    for (const src of checkMachine(base.name, type.machine, base.warnings)) sources.add(src);
    return type;
  };
  typeOf(root);
  return { types, sources };
}

/** A copy that the engine drives: with an end to endless loops, and stand-ins for the machines among its actors. */
function drivable(
  name: string,
  machine: AnyStateMachine,
  typeOf: (child: AnyStateMachine) => ActorType,
): AnyStateMachine {
  const copy = withStandIns(machine, typeOf);
  copy.options = {
    ...copy.options,
    maxIterations: Math.min(copy.options?.maxIterations ?? Infinity, LIMITS.microstepsMax),
  };
  giveOwnContext(name, copy);
  return copy;
}

/** A context written as an object would be shared by all actors of the type: each gets a copy of its own. */
function giveOwnContext(name: string, machine: AnyStateMachine): void {
  const { context } = machine.config;
  if (typeof context === 'function' || context === undefined) return;
  try {
    encode(context, 'context', LIMITS.nestingMax);
  } catch (error) {
    refuse(
      name,
      'initial context',
      (error as Error).message,
      'Keep such values outside of the context.',
    );
  }
  machine.config = { ...machine.config, context: () => structuredClone(context) };
}

/** Walks every state; returns the names invokes go by. */
function checkMachine(name: string, machine: AnyStateMachine, warnings: string[]): Set<string> {
  const named = machine.implementations.actors as Record<string, unknown>;
  const sources = new Set<string>(Object.keys(named));
  const check = (node: AnyStateNode) => {
    const place = `state #${node.id}`;
    for (const [position, invoke] of node.invoke.entries()) {
      const src = invoke.src as string;
      sources.add(src);
      if (named[src] === undefined && logicInPlace(node, position) !== undefined)
        warnings.push(orphanWarning(name, place, src));
      checkLogic(name, place, src, named[src] ?? logicInPlace(node, position));
    }
    checkState(name, node);
    for (const action of actionsOf(node)) checkAction(name, place, named, action);
    for (const child of Object.values(node.states)) check(child as AnyStateNode);
  };
  check(machine.root);
  checkInvokeIds(name, machine);
  for (const [key, action] of Object.entries(machine.implementations.actions))
    checkAction(name, `action ${key}`, named, action);
  return sources;
}

function actionsOf(node: AnyStateNode): unknown[] {
  const transitions = [...[...node.transitions.values()].flat(), ...(node.always ?? [])];
  return [...node.entry, ...node.exit, ...transitions.flatMap((transition) => transition.actions)];
}

/** It works, and goes by a name that is made of the state's: another id, and what runs is an orphan. */
const orphanWarning = (name: string, place: string, src: string): string =>
  `Actor type ${name}, ${place}: logic that is invoked in place goes by ${src}. Actors that run it when the state is renamed or its invokes change order are lost to it; give it a name in setup({ actors }).`;

function checkAction(
  name: string,
  place: string,
  named: Record<string, unknown>,
  action: unknown,
): void {
  checkWrittenAction(name, place, action);
  if (typeof action !== 'function' || !('type' in action) || !('src' in action)) return;
  if (action.type !== 'xstate.spawnChild') return;
  if (typeof action.src !== 'string')
    refuse(
      name,
      place,
      'spawnChild is given logic in place, which no other process could find again after a crash',
      'Give the logic a name in setup({ actors }) and spawn it by that name.',
    );
  checkLogic(name, place, action.src, named[action.src]);
}

function checkLogic(name: string, place: string, src: string, logic: unknown): void {
  if (logic === undefined)
    refuse(
      name,
      place,
      `actor ${JSON.stringify(src)} has no implementation`,
      'Provide it in setup({ actors }) or with machine.provide({ actors }).',
    );
  const kind = kindOf(logic);
  if (kind === 'unknown')
    refuse(
      name,
      place,
      `actor ${JSON.stringify(src)} is no logic of XState's own`,
      'Use a machine, fromPromise, fromCallback, fromObservable, fromEventObservable or fromTransition.',
    );
}

function checkPolicies(
  name: string,
  options: Pick<ActorOptions<AnyStateMachine>, 'retry' | 'timeout'>,
  sources: Set<string>,
): void {
  const allowed = `Known: ${['*', ...sources].join(', ')}.`;
  for (const [option, policies] of Object.entries({
    retry: options.retry,
    timeout: options.timeout,
  }))
    for (const src of Object.keys(policies ?? {}))
      if (src !== '*' && !sources.has(src))
        refuse(name, option, `there is no invoke with src ${JSON.stringify(src)}`, allowed);
  for (const [src, policy] of Object.entries(options.retry ?? {}))
    if (!Number.isInteger(policy.attempts) || policy.attempts < 1)
      refuse(
        name,
        `retry.${src}`,
        'attempts must be a whole number above 0',
        'Count the first try.',
      );
  for (const [src, ms] of Object.entries(options.timeout ?? {}))
    if (!(ms > 0 && ms < 2 ** 31))
      refuse(name, `timeout.${src}`, 'must be above 0 and below 2^31 ms', 'Leave it out for none.');
}
