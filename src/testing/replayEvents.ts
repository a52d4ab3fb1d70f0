import type { ActorType } from '../actors/define.ts';
import type { Envelope } from '../actors/envelope.ts';
import { typeAt } from '../actors/kinRows.ts';
import { stepAgain, timerEventId } from '../actors/replay.ts';
import { createStepScope } from '../actors/scope.ts';
import type { Step } from '../actors/step.ts';
import { MIGRATE } from '../actors/versions.ts';
import { LIMITS } from '../config.ts';
import { PerdureError } from '../errors.ts';
import type { ActorStatus, Origin } from '../store/store.ts';

/** What happened to an actor once, as its history has it. */
export interface RecordedEvent {
  /** As it is recorded: Dates and the like as `{ $perdure: … }`. The first is `xstate.init`, with the input. */
  event: { type: string; [key: string]: unknown };
  /** Who caused it. Default `event`: somebody outside. */
  origin?: Origin;
  /** Of a timer that fired: its id. */
  timer?: string;
}

export interface ReplayOptions {
  /** Default `replayed`. */
  id?: string;
  /** Of a machine below the actor: one `src` for each level. */
  path?: readonly string[];
  events: readonly RecordedEvent[];
}

/** An actor after the events, in the form in which it would be recorded. */
export interface ReplayedActor {
  state: unknown;
  status: ActorStatus;
  context: unknown;
  /** Null until it is done. */
  output: unknown;
  /** Null unless its status is `error`. */
  error: { name: string; message: string; code?: string } | null;
  tags: string[];
}

/**
 * Gives the events of a recorded history to the machine as it is now, each to what the one before has left. Nothing runs:
 * what promises, timers and children have answered is among the events.
 * @throws PerdureError `bad_options`: no such machine, no events, or one that comes when the actor has ended
 */
export function replayEvents(type: ActorType, options: ReplayOptions): ReplayedActor {
  const { id = 'replayed', path = [], events } = options;
  const machine = typeAt(type, path);
  if (!machine)
    throw new PerdureError('bad_options', `${type.name} has no machine at ${path.join('/')}.`);
  const address = { type: type.name, id };
  const scope = createStepScope(address);
  let step: Step | undefined;
  for (const { event, origin = 'event', timer } of events) {
    // The machine of now has been given everything from the start: there is nothing to take over.
    if (event.type === MIGRATE && step) continue;
    if (step && step.status !== 'active')
      throw new PerdureError(
        'bad_options',
        `After #${step.live.seq} the actor has ended (${step.status}), and ${event.type} is still to come.`,
      );
    const seq: number = (step?.live.seq ?? 0) + 1;
    const recorded = {
      ...address,
      seq,
      eventType: event.type,
      event: JSON.stringify(event),
      eventId: timer === undefined ? null : timerEventId(timer, seq),
      origin: timer === undefined ? origin : 'timer',
      // Only a first step of a machine below looks here, for its place.
      snapshot: JSON.stringify({ path }),
      ...{ fromState: null, toState: '', edges: '', actions: 0 },
    } as const;
    step = stepAgain(machine, scope, recorded, step?.envelope, LIMITS);
  }
  if (!step)
    throw new PerdureError('bad_options', 'There are no events: the first is xstate.init.');
  return shown(step);
}

function shown({ state, status, envelope, output, error, tags }: Step): ReplayedActor {
  const { snapshot } = JSON.parse(envelope) as Envelope;
  return {
    state: JSON.parse(state),
    status,
    context: (snapshot as { context?: unknown }).context,
    output: JSON.parse(output ?? 'null'),
    error: JSON.parse(error ?? 'null'),
    tags: JSON.parse(tags),
  };
}
