import type { AnyActorRef, AnyActorScope, AnyMachineSnapshot } from 'xstate';
import { LIMITS } from '../config.ts';
import { asError, PerdureError } from '../errors.ts';
import type { Address } from '../store/store.ts';
import { parse, stringify } from './codec.ts';
import type { ActorType } from './define.ts';
import { parentRef } from './inside.ts';
import { childRow, ROW_ID_MAX } from './kin.ts';
import { TARGET, type Target } from './refs.ts';
import { type Collected, createStepScope, currentSeq, type StepScope } from './scope.ts';

/** A child machine in the middle of the step that begins it: its first step is computed and not taken yet. */
export interface Born {
  address: Address;
  scope: StepScope;
  /** Encoded; empty when it was given none. */
  input: string;
  snapshot: AnyMachineSnapshot;
  collected: Collected;
}

const born = new WeakMap<AnyActorRef, Born>();

/** What was computed when the child was made; undefined for one that was restored. */
export const bornOf = (child: AnyActorRef): Born | undefined => born.get(child);

/**
 * Stands for a machine among a machine's actors. XState takes it for logic like any other and makes a child of it; the
 * child's steps are not its own doing but those of an actor with a row of its own, and what the child shows in the
 * parent's snapshot is kept what that actor's is.
 */
export class MachineLogic {
  readonly type: ActorType;

  constructor(type: ActorType) {
    this.type = type;
  }

  /** XState computes a child's first snapshot where it is made: guards and actions of the parent may look at it. */
  getInitialSnapshot({ self, id }: AnyActorScope, input: unknown): unknown {
    const parent = parentRef(self) as AnyActorRef & { [TARGET]: Target };
    const address = childRow(parent[TARGET], id, currentSeq());
    Object.assign(self, { [TARGET]: address });
    const scope = createStepScope(address, parent);
    let text = '';
    const { result, collected } = scope.within(() => {
      try {
        if (address.id.length > ROW_ID_MAX) throw tooDeep(address);
        if (input !== undefined) text = stringify(input, `input of ${id}`, LIMITS.nestingMax);
        return this.type.machine.getInitialSnapshot(
          scope.scope,
          text === '' ? undefined : parse(text),
        ) as AnyMachineSnapshot;
      } catch (error) {
        return brokenSnapshot(asError(error));
      }
    });
    born.set(self, { address, scope, input: text, snapshot: result, collected });
    return result;
  }

  transition(snapshot: unknown): unknown {
    return snapshot;
  }

  getPersistedSnapshot(snapshot: unknown): unknown {
    return snapshot;
  }

  /** The row of its own has all of it. */
  restoreSnapshot(): unknown {
    return { status: 'active', output: undefined, error: undefined };
  }
}

const brokenSnapshot = (error: Error): AnyMachineSnapshot =>
  ({
    status: 'error',
    error,
    output: undefined,
    value: {},
    context: {},
    children: {},
    historyValue: {},
    tags: new Set(),
  }) as unknown as AnyMachineSnapshot;

const tooDeep = ({ id }: Address): PerdureError =>
  new PerdureError(
    'step_failed',
    `The row of a child machine would be called ${id.slice(0, 100)}…, more than ${ROW_ID_MAX} characters: give children shorter ids, or nest them less deep.`,
  );
