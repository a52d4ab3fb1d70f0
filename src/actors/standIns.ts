import { type AnyStateMachine, StateMachine } from 'xstate';
import type { ActorType } from './define.ts';
import { MachineLogic } from './machineLogic.ts';
import { childrenOf, type StateNodeOf } from './states.ts';

/**
 * A copy of the machine in which every machine among its actors, named or in place, is stood in for. The user's own is left
 * as it is: it runs under plain `createActor` all the same.
 */
export function withStandIns(
  machine: AnyStateMachine,
  typeOf: (child: AnyStateMachine) => ActorType,
): AnyStateMachine {
  const standIn = (logic: unknown) =>
    logic instanceof StateMachine ? new MachineLogic(typeOf(logic)) : logic;
  const named = Object.entries(machine.implementations.actors as Record<string, unknown>);
  const actors = Object.fromEntries(named.map(([src, logic]) => [src, standIn(logic)]));
  const copy = machine.provide({ actors } as Parameters<typeof machine.provide>[0]);
  replaceInPlace(copy.root as StateNodeOf, standIn);
  return copy;
}

/** An invoke's logic may stand in the machine itself; XState then makes up a `src` from the state's id. */
export function logicInPlace({ config }: StateNodeOf, position: number): unknown {
  const written = invokesOf(config)[position];
  return typeof written?.src === 'string' ? undefined : written?.src;
}

/** The type of the machine that `type` knows as `src`; undefined when it is no machine, or not known. */
export function childType(
  { machine }: Pick<ActorType, 'machine'>,
  src: string,
): ActorType | undefined {
  const named = (machine.implementations.actors as Record<string, unknown>)[src];
  const logic = named ?? inPlace(machine, src);
  return machineTypeOf(logic);
}

/** The type of a machine that is stood in for; undefined for any other logic. */
export const machineTypeOf = (logic: unknown): ActorType | undefined =>
  logic instanceof MachineLogic ? logic.type : undefined;

/** Types of the machines that are among the actors of a type's machine. */
export function childTypes({ machine }: ActorType): ActorType[] {
  const inPlace = (node: StateNodeOf): unknown[] => [
    ...invokesOf(node.config).map(({ src }) => src),
    ...childrenOf(node).flatMap(inPlace),
  ];
  const logics = [
    ...Object.values(machine.implementations.actors as Record<string, unknown>),
    ...inPlace(machine.root as StateNodeOf),
  ];
  return logics.flatMap((logic) => (logic instanceof MachineLogic ? [logic.type] : []));
}

/** Logic that stands in the machine itself, by the name XState made up. */
export function inPlace(machine: AnyStateMachine, src: string): unknown {
  const [, position, id] = /^xstate\.invoke\.(\d+)\.(.*)$/.exec(src) ?? [];
  if (id === undefined) return undefined;
  try {
    return logicInPlace(machine.getStateNodeById(id) as StateNodeOf, Number(position));
  } catch {
    // Of a state the machine does not have any more.
    return undefined;
  }
}

function replaceInPlace(node: StateNodeOf, standIn: (logic: unknown) => unknown): void {
  const invokes = invokesOf(node.config);
  if (invokes.some(({ src }) => src instanceof StateMachine))
    node.config = {
      ...node.config,
      invoke: invokes.map((invoke) => ({ ...invoke, src: standIn(invoke.src) })),
    } as StateNodeOf['config'];
  for (const child of childrenOf(node)) replaceInPlace(child, standIn);
}

type Invoke = { src: unknown };

function invokesOf(config: StateNodeOf['config']): Invoke[] {
  const { invoke } = config as { invoke?: Invoke | Invoke[] };
  if (invoke === undefined) return [];
  return Array.isArray(invoke) ? invoke : [invoke];
}
