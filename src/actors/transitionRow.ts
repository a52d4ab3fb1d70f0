import type { Address, TransitionWrite } from '../store/store.ts';
import { isAct } from './effects.ts';
import type { Step } from './step.ts';
import type { Cause } from './taker.ts';

/** A step as it stands in the history. */
export function transitionRow(
  { type, id }: Address,
  fromState: string | null,
  { live, state, edges, effects, envelope }: Step,
  { eventType, text, eventId, origin }: Cause,
): TransitionWrite {
  let actions = 0;
  for (const effect of effects) if (isAct(effect)) actions++;
  return {
    type,
    id,
    seq: live.seq,
    eventType,
    event: text,
    eventId,
    origin,
    fromState,
    toState: state,
    edges,
    actions,
    snapshot: envelope,
  };
}
