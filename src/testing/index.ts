export type { TestTransaction } from '../store/memoryTransaction.ts';
export type { CrashOption, CrashPoint } from './crashPlan.ts';
export type { EffectEntry } from './effectLog.ts';
export { forEachCrash, type Scenario } from './forEachCrash.ts';
export { type ActorPath, type PathOptions, pathsOf } from './pathsOf.ts';
export type { DeadLetter, HistoryEntry, TimerEntry } from './record.ts';
export {
  type RecordedEvent,
  type ReplayedActor,
  type ReplayOptions,
  replayEvents,
} from './replayEvents.ts';
export type { EmittedEntry, TestActor } from './testActor.ts';
export {
  type OutcomeEntry,
  type TestCluster,
  type TestClusterOptions,
  testCluster,
} from './testCluster.ts';
export { withTransactions } from './withTransactions.ts';
