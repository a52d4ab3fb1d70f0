import type { Limits } from '../config.ts';
import { PerdureError } from '../errors.ts';
import type { OutboxWrite } from '../store/store.ts';
import { checkRefs, encode, errorData, errorSummary } from './codec.ts';
import type { Outcome } from './invocation.ts';
import type { Resident } from './resident.ts';
import type { Step } from './step.ts';
import { Texts } from './texts.ts';

const doneTypes = new Texts((invokeId) => `xstate.done.actor.${invokeId}`);

/** Of the event that carries what the invoke has come to. */
export const doneType = (invokeId: string): string => doneTypes.of(invokeId);

/** Of the one that says why it has failed. */
export const errorType = (invokeId: string): string => `xstate.error.actor.${invokeId}`;

/** The event that carries a result; one that no row can hold becomes the error of the invoke. */
export function resultText(limits: Limits, invokeId: string, outcome: Outcome): string {
  const { nestingMax, bodyMaxBytes } = limits;
  if (!outcome.ok) return errorText(limits, invokeId, outcome.error);
  try {
    const type = doneType(invokeId);
    const output = encode(outcome.output, `output of ${invokeId}`, nestingMax);
    const text = JSON.stringify({ type, output, actorId: invokeId });
    const bytes = Buffer.byteLength(text);
    checkRefs(text);
    if (bytes <= bodyMaxBytes) return text;
    const problem = `The output of ${invokeId} has ${bytes} bytes; at most ${bodyMaxBytes} are kept.`;
    return errorText(limits, invokeId, new PerdureError('body_too_large', problem));
  } catch (error) {
    return errorText(limits, invokeId, error);
  }
}

function errorText(limits: Limits, invokeId: string, error: unknown): string {
  const write = (told: unknown) =>
    JSON.stringify({ type: errorType(invokeId), error: told, actorId: invokeId });
  try {
    const text = write(encode(error, `error of ${invokeId}`, limits.nestingMax));
    if (Buffer.byteLength(text) <= limits.bodyMaxBytes) return text;
  } catch {
    // Told below as well as it can be.
  }
  return write(errorData(errorSummary(error)));
}

/** What is told to the world when an actor has ended. */
export function outcomeOf({ key, address }: Resident, step: Step): OutboxWrite {
  const { status, live, output, error } = step;
  const told = error ?? (status === 'stopped' ? CANCELLED : 'null');
  return {
    messageId: `${key}/${live.seq}/outcome`,
    kind: 'outcome',
    ...address,
    body: `{"type":"${address.type}","id":"${address.id}","seq":${live.seq},"status":"${status}","output":${output},"error":${told}}`,
  };
}

const CANCELLED = JSON.stringify({
  name: 'Cancelled',
  message: 'The actor was cancelled.',
  code: 'cancelled',
});
