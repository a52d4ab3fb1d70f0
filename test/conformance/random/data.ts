/**
 * A machine as plain data, so that it can be printed, made smaller, and kept in a test: the config `createMachine` takes, with
 * actions and guards in the words below.
 */
export type StateData = { [key: string]: unknown };

/** One action. */
export type ActionData =
  /** A custom action, or one that only counts. */
  | 'note'
  | 'mark'
  | 'sign'
  | 'count'
  /** Adds to the trail in the context. */
  | { do: 'keep'; what: string }
  | { do: 'emit'; n: number }
  | { do: 'raise' | 'self'; event: string }
  | { do: 'raise' | 'self'; event: string; id: string; delay: number | string }
  | { do: 'cancel'; id: string }
  /** To a child. */
  | { do: 'tell'; child: string }
  | { do: 'tell'; child: string; id: string; delay: number };

/** One guard. */
export type GuardData =
  | { is: [of: number, rest: number] }
  | { all: GuardData[] }
  | { any: GuardData[] }
  | { none: GuardData }
  | { at: string };

/** What happens to the actor. */
export type StepData = { send: { type: string; n?: number } } | { advance: number };

/** A machine and what happens to it. */
export interface CaseData {
  machine: StateData;
  steps: StepData[];
}
