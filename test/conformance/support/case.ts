import type { AnyStateMachine } from 'xstate';

/** What is done to the actor, one after the other; everything settles in between. */
export type CaseStep = { send: { type: string; [key: string]: unknown } } | { advance: number };

/** How each case is run; what is seen must be the same. */
export const WAYS = [
  'XState alone',
  'in Perdure',
  'out of memory after every commit',
  'a node dies at every point',
] as const;

/** One case, as data: a machine, and what happens to it. */
export interface Case {
  name: string;
  /** A fresh machine. Actions and children have names in `setup`, which is how they are told apart. */
  machine: () => AnyStateMachine;
  input?: unknown;
  steps: readonly CaseStep[];
  /** What of it is known to be otherwise than in XState, and why. A test fails once it is not otherwise any more. */
  differs?: Partial<Record<keyof Trace, string>>;
}

/** What can be seen of an actor when everything has settled. */
export interface View {
  status: string;
  value: unknown;
  context: unknown;
  tags: string[];
  /** By the id of the state. */
  meta: unknown;
  output: unknown;
  /** Its message. */
  error: string | undefined;
  /** Machines it has invoked or spawned, by id. */
  machines: Record<string, View>;
}

/** What was seen of one run of a case. */
export interface Trace {
  /** At the start, then after each step. */
  views: View[];
  emitted: unknown[];
  /** Custom actions and invokes, in the order they began: `action note`, `invoke charge {"total":3}`. */
  effects: string[];
}

export const defineCase = (definition: Case): Case => definition;
