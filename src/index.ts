export { type Ask, type Asked, fromAsk } from './actors/asks.ts';
export {
  type ActorOptions,
  type ActorType,
  defineActor,
  isActorType,
  type RetryPolicy,
} from './actors/define.ts';
export { type InvocationInfo, invocation } from './actors/invocation.ts';
export { fromOutcome } from './actors/outcomes.ts';
export { actorAddress } from './actors/refs.ts';
export { fromSteps, type StepsArguments } from './actors/steps.ts';
export { fromTransaction, type TransactionArguments } from './actors/transaction.ts';
export type { Migrate, NewSnapshot, OldSnapshot } from './actors/versions.ts';
export {
  type ActorHandle,
  type ClientOptions,
  createClient,
  type FeedEntry,
  type Outcome,
  type PerdureClient,
  type PublishOptions,
  type Receipt,
} from './client.ts';
export { LIMITS, type Limits } from './config.ts';
export { ERRORS, type ErrorCode, PerdureError } from './errors.ts';
export { createNode, type NodeOptions, type NodeStatus, type PerdureNode } from './node.ts';
export type { Transaction } from './store/userTransaction.ts';
export type { TextCodec } from './textCodec.ts';
