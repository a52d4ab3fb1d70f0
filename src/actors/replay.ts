import { invariant } from '../errors.ts';
import type { Address, TransitionWrite } from '../store/store.ts';
import { ABANDON, abandonStep } from './abandon.ts';
import { parse } from './codec.ts';
import type { ActorType } from './define.ts';
import { type Envelope, rehydrate } from './envelope.ts';
import { isChildRow } from './kin.ts';
import { migrateStep } from './migrate.ts';
import type { StepScope } from './scope.ts';
import { firstStep, nextStep, type Step, type StepLimits } from './step.ts';
import { MIGRATE } from './versions.ts';

/**
 * Computes a recorded transition again: the snapshot before it and its event give the same step, on any node (P1).
 * That is how actions that were not acknowledged are redone, and how a history is checked.
 */
export function stepAgain(
  type: ActorType,
  scope: StepScope,
  transition: TransitionWrite,
  previousEnvelope: string | undefined,
  limits: StepLimits,
): Step {
  const address: Address = { type: transition.type, id: transition.id };
  const event = parse(transition.event) as { type: string; input?: unknown };
  if (transition.seq === 1)
    return firstStep(type, address, scope, event.input, limits, pathOf(transition));
  invariant(previousEnvelope !== undefined, `transition ${transition.seq - 1} is missing`);
  if (isMigration(transition))
    return migrateStep(type, address, scope, transition.seq - 1, previousEnvelope, limits).step;
  if (transition.eventType === ABANDON && transition.origin === 'engine')
    return abandonStep(type, transition.seq - 1, previousEnvelope);
  const live = rehydrate(type, scope, transition.seq - 1, previousEnvelope);
  const { origin, eventId } = transition;
  const timerId = origin === 'timer' && eventId !== null ? timerIdOf(eventId) : undefined;
  return nextStep(type, address, scope, live, { event, origin, timerId }, limits);
}

/** Where a child machine stands below its root. */
const pathOf = ({ id, snapshot }: TransitionWrite): readonly string[] =>
  isChildRow({ type: '', id }) ? ((JSON.parse(snapshot) as Envelope).path ?? []) : [];

/** Recorded when the actor was taken over from another version of its type. */
export const isMigration = ({ eventType, origin }: TransitionWrite): boolean =>
  eventType === MIGRATE && origin === 'engine';

/** Event id of a timer's firing: one for each arming. No message id may begin with `!`. */
export const timerEventId = (timerId: string, armedSeq: number): string =>
  `!timer:${armedSeq}:${timerId}`;

const timerIdOf = (eventId: string): string => eventId.slice(eventId.indexOf(':', 7) + 1);
