import { setTimeout as pause } from 'node:timers/promises';
import type { ActorType } from '../actors/define.ts';
import { isAct } from '../actors/effects.ts';
import type { Envelope } from '../actors/envelope.ts';
import { typeAt } from '../actors/kinRows.ts';
import type { Registry } from '../actors/registry.ts';
import { stepAgain } from '../actors/replay.ts';
import { createStepScope } from '../actors/scope.ts';
import type { Step } from '../actors/step.ts';
import { MIGRATE } from '../actors/versions.ts';
import { LIMITS } from '../config.ts';
import { asError, PerdureError } from '../errors.ts';
import type { Origin, TransitionWrite } from '../store/store.ts';
import { type TextCodec, unwrap, unwrapValue } from '../textCodec.ts';
import { type Change, diffOf } from './diff.ts';
import type { ActorLine, TransitionLine } from './historyFile.ts';

/** What the machine in the code makes of a recorded transition. */
export interface Verdict {
  /** `unsteady`: it differs only where it is not the same from one run to the next. `skipped`: the code cannot say. */
  verdict: 'same' | 'differs' | 'unsteady' | 'skipped';
  /** From what is recorded to what it would be now, without what is unsteady. */
  changes: Change[];
  /** What a clock or chance decides. */
  unsteady: Change[];
  /** Why it cannot be computed, or was skipped. */
  reason?: string;
  /** Version of the machine it was given to. */
  as?: string;
  /** State value now; undefined when there is none. */
  state?: unknown;
  /** What the step causes, in words. */
  wants: string[];
}

export interface RehearsalOptions {
  registry: Registry;
  /** Of the type, instead of the one that wrote each snapshot. */
  as?: string | undefined;
  /** Paths that may differ, with all below them: `context.requestedAt`. */
  ignore?: readonly string[] | undefined;
  codec?: TextCodec | undefined;
}

/**
 * Gives recorded transitions of one actor to the machine in the code, each from the snapshot recorded before it, so
 * that one that differs does not make all that follow differ. Nothing it causes is done.
 */
export class Rehearsal {
  readonly #actor: ActorLine;
  readonly #options: RehearsalOptions;
  #before: string | undefined;

  constructor(actor: ActorLine, options: RehearsalOptions) {
    this.#actor = actor;
    this.#options = options;
  }

  /** One that is not asked about. @throws PerdureError `codec_failed` */
  pass(line: TransitionLine): undefined {
    this.#before = unwrap(this.#options.codec, JSON.stringify(line.snapshot));
  }

  /** The transitions must come in order, each to `take` or `pass`. @throws PerdureError `codec_failed`, `bad_options` */
  async take(line: TransitionLine): Promise<Verdict> {
    const { codec } = this.#options;
    const { type, id } = this.#actor;
    const snapshot = unwrap(codec, JSON.stringify(line.snapshot));
    const before = this.#before;
    this.#before = snapshot;
    const transition: TransitionWrite = {
      type,
      id,
      seq: line.seq,
      eventType: line.event_type,
      event: JSON.stringify(unwrapValue(codec, line.event)),
      eventId: line.event_id,
      origin: line.origin as Origin,
      fromState: line.from_state === null ? null : JSON.stringify(line.from_state),
      toState: JSON.stringify(line.to_state),
      edges: JSON.stringify(line.edges),
      actions: line.actions,
      snapshot,
    };
    const found = this.#typeFor(transition);
    if ('reason' in found)
      return { verdict: 'skipped', changes: [], unsteady: [], reason: found.reason, wants: [] };
    return this.#judge(found.type, transition, before);
  }

  /** The version that wrote the snapshot, as long as the code has it; else the newest. */
  #typeFor({
    eventType,
    origin,
    snapshot,
    event,
  }: TransitionWrite): { type: ActorType } | { reason: string } {
    const { registry, as } = this.#options;
    const { type: name } = this.#actor;
    const { version, path = [] } = JSON.parse(snapshot) as Envelope;
    const newest = registry.newest(name);
    if (!newest)
      throw new PerdureError(
        'bad_options',
        `The code has no actor type ${name}; it has ${registry}.`,
      );
    if (as !== undefined && !registry.version(name, as))
      throw new PerdureError('bad_options', `The code has no ${name}@${as}; it has ${registry}.`);
    const root = registry.version(name, as ?? version) ?? newest;
    const type = typeAt(root, path);
    if (!type) return { reason: `${name}@${root.version} has no machine at ${path.join('/')}` };
    if (eventType === MIGRATE && origin === 'engine') {
      const { from } = JSON.parse(event) as { from: string };
      if (!Object.hasOwn(type.migrate, from))
        return { reason: `${name}@${root.version} has no migrate for version ${from}` };
    }
    return { type };
  }

  async #judge(
    type: ActorType,
    transition: TransitionWrite,
    before: string | undefined,
  ): Promise<Verdict> {
    const compute = () => stepAgain(type, createStepScope(this.#actor), transition, before, LIMITS);
    const as = type.version;
    try {
      const step = compute();
      const found = { as, state: JSON.parse(step.state), wants: wantsOf(step) };
      const now = shownStep(step);
      const changes = diffOf(shownTransition(transition), now).filter(
        (one) => !this.#mayDiffer(one),
      );
      if (changes.length === 0) return { verdict: 'same', changes, unsteady: [], ...found };
      // So that a clock does not show the same again.
      await pause(2);
      const moves = diffOf(now, shownStep(compute()));
      // What is there now and was not before, or the reverse, is a difference, whatever is in it.
      const isUnsteady = ({ path, kind }: Change) =>
        moves.some(
          (one) => isBelow(path, one.path) && (kind === 'changed' || one.kind !== 'changed'),
        );
      const unsteady = changes.filter(isUnsteady);
      const steady = changes.filter((one) => !isUnsteady(one));
      return {
        verdict: steady.length > 0 ? 'differs' : 'unsteady',
        changes: steady,
        unsteady,
        ...found,
      };
    } catch (thrown) {
      const reason = `the machine cannot take it: ${asError(thrown).message}`;
      return { verdict: 'differs', changes: [], unsteady: [], reason, as, wants: [] };
    }
  }

  #mayDiffer({ path }: Change): boolean {
    return (this.#options.ignore ?? []).some((one) => isBelow(path, one));
  }
}

/** Whether a path is another one, or of something in what that names. */
const isBelow = (path: string, above: string): boolean =>
  path === above || (path.startsWith(above) && /^[.[]/.test(path.slice(above.length)));

const shownTransition = ({ snapshot, toState, edges, actions }: TransitionWrite) =>
  shown(snapshot, toState, edges, actions);

const shownStep = ({ envelope, state, edges, effects }: Step) =>
  shown(envelope, state, edges, effects.filter(isAct).length);

/**
 * What must be the same. Which version of machine and XState wrote it, and the counter behind made-up ids, may differ; so
 * may the places in the code that errors come from.
 */
function shown(envelope: string, state: string, edges: string, actions: number): object {
  const { snapshot, started, timers, machines } = JSON.parse(envelope) as Envelope;
  const { status, output, error, context, children, historyValue } = snapshot as unknown as Record<
    string,
    unknown
  >;
  return withoutStacks({
    ...{ state: JSON.parse(state), status, context, output, error },
    ...{ invokes: started, timers, machines, children, history: historyValue },
    ...{ edges: JSON.parse(edges), actions },
  }) as object;
}

function withoutStacks(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(withoutStacks);
  const isError = (value as { $perdure?: unknown }).$perdure === 'Error';
  const kept = Object.entries(value).map(([key, inner]) => {
    if (!isError || key !== 'v') return [key, withoutStacks(inner)] as const;
    const { stack: _place, ...fields } = inner as Record<string, unknown>;
    return [key, withoutStacks(fields)] as const;
  });
  return Object.fromEntries(kept);
}

function wantsOf({ effects, timersArmed, timersDropped, messages, kin }: Step): string[] {
  return [
    ...effects.flatMap((effect) => {
      if (effect.kind === 'action') return [`action ${effect.type}`];
      if (effect.kind === 'invoke') return [`start invoke ${effect.invokeId}`];
      if (effect.kind === 'stop') return [`stop invoke ${effect.invokeId}`];
      if (effect.kind === 'tell') return [`tell ${effect.invokeId} ${effect.event.type}`];
      if (effect.kind === 'emit') return [`emit ${effect.event.type}`];
      return [];
    }),
    ...timersArmed.map(({ timerId, delayMs }) => `timer ${timerId} in ${delayMs} ms`),
    ...timersDropped.map((timerId) => `drop timer ${timerId}`),
    ...messages.map(({ to }) => `message to ${to.type}/${to.id}`),
    ...kin.flatMap((act) => (act.kind === 'deliver' ? [] : [`${act.kind} machine ${act.childId}`])),
  ];
}
