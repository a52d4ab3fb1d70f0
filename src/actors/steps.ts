import { type AnyActorRef, fromPromise, type PromiseActorLogic } from 'xstate';
import { LIMITS } from '../config.ts';
import { PerdureError } from '../errors.ts';
import { workOf } from './attempt.ts';
import { checkRefs, parse, stringify } from './codec.ts';

/** What work in steps is given. */
export interface StepsArguments<TInput> {
  input: TInput;
  self: AnyActorRef;
  /** Aborted when the state is left, time is up, or the node loses the actor. */
  signal: AbortSignal;
  /**
   * Does one step of the work, once: what `run` resolves with is recorded before the promise resolves, and a later
   * run of the same invoke gets it from there. What is given back is always a copy that went through the codec. The name
   * must be the same in every run and be used once in each. A crash between the end of `run` and the record
   * repeats that step alone.
   * @throws whatever `run` throws; PerdureError `bad_definition` for a name used twice, `not_serialisable` or
   *   `snapshot_too_large` for a result that cannot be kept
   */
  step<T>(name: string, run: () => T | PromiseLike<T>): Promise<T>;
  /** The work gets on: its `timeout` begins anew. */
  heartbeat(): void;
}

/**
 * Invoke logic whose work is done in recorded steps: `fromSteps(async ({ step, input }) => { const id = await step('reserve',
 * () => reserve(input)); … })`. After a crash, or for the next attempt, it runs from the start, and steps that are done
 * give back what they gave then. Under a plain `createActor` every step simply runs.
 */
export function fromSteps<TOutput, TInput = never>(
  work: (given: StepsArguments<TInput>) => PromiseLike<TOutput>,
): PromiseActorLogic<TOutput, TInput> {
  return fromPromise<TOutput, TInput>(async ({ input, self, signal }) => {
    const attempt = workOf(self as unknown as AnyActorRef);
    const used = new Set<string>();
    return work({
      input,
      self: self as unknown as AnyActorRef,
      signal,
      heartbeat: () => attempt?.heartbeat(),
      async step(name, run) {
        if (used.has(name))
          throw new PerdureError(
            'bad_definition',
            `Step ${JSON.stringify(name)} is done twice in one run: give each step a name of its own, in a loop with its number.`,
          );
        used.add(name);
        const before = attempt?.recorded(name);
        if (before !== undefined) return read(before);
        // In an array, which can hold undefined.
        const text = stringify([await run()], `result of step ${name}`, LIMITS.nestingMax);
        checkRefs(text);
        await attempt?.record(name, text);
        return read(text);
      },
    });
  });
}

const read = <T>(text: string): T => (parse(text) as [T])[0];
