import { type AnyActorRef, fromPromise, type PromiseActorLogic } from 'xstate';
import { PerdureError } from '../errors.ts';
import type { Transaction } from '../store/userTransaction.ts';
import { workOf } from './attempt.ts';

/** What a function in a transaction is given. */
export interface TransactionArguments<TInput> {
  /** Statements of the transaction. Of no use once the function has ended. */
  tx: Transaction;
  input: TInput;
  self: AnyActorRef;
  /** Aborted when the state is left, time is up, or the node loses the actor; the transaction is rolled back then. */
  signal: AbortSignal;
}

type Work<TOutput, TInput> = (given: TransactionArguments<TInput>) => PromiseLike<TOutput>;

/** Runs the function where there is no node. */
type RunPlain = <T>(run: (tx: Transaction) => PromiseLike<T>) => Promise<T>;

const works = new WeakMap<object, Work<unknown, never>>();

/**
 * Invoke logic whose statements are committed with the transition its result causes, in one Postgres transaction:
 * `fromTransaction(async ({ tx, input }) => { await tx.query('UPDATE account SET …', [input.amount]); … })`. Exactly once: the
 * statements are there if and only if `xstate.done.actor.ID` is in the history. It may run more often than that; what
 * was not committed never happened. At most `transactionsMax` run at once in a node; no statement takes longer than 5 s,
 * and no pause between two.
 * Fails with what the function throws, and with `bad_transaction` when its statements cannot be committed. Under a plain
 * `createActor` it fails with `bad_options`; see `withTransactions` of `perdure/testing`.
 */
export function fromTransaction<TOutput, TInput = never>(
  work: Work<TOutput, TInput>,
): PromiseActorLogic<TOutput, TInput> {
  return transactionLogic(work, async () => {
    throw new PerdureError(
      'bad_options',
      'fromTransaction needs a Perdure node to run in; in tests of the machine alone, withTransactions of perdure/testing.',
    );
  });
}

/** The same logic, which outside of a node runs as `plain` says. @throws PerdureError `bad_options` for other logic */
export function withPlainTransactions<TOutput, TInput>(
  logic: PromiseActorLogic<TOutput, TInput>,
  plain: RunPlain,
): PromiseActorLogic<TOutput, TInput> {
  const work = works.get(logic) as Work<TOutput, TInput> | undefined;
  if (!work)
    throw new PerdureError('bad_options', 'withTransactions is for logic made by fromTransaction.');
  return transactionLogic(work, plain);
}

function transactionLogic<TOutput, TInput>(
  work: Work<TOutput, TInput>,
  plain: RunPlain,
): PromiseActorLogic<TOutput, TInput> {
  const logic = fromPromise<TOutput, TInput>((given) => {
    const { input, signal } = given;
    const self = given.self as unknown as AnyActorRef;
    const inTransaction = workOf(self)?.transaction ?? plain;
    return inTransaction(async (tx) => {
      const output = await work({ tx, input, self, signal });
      signal.throwIfAborted();
      return output;
    });
  });
  works.set(logic, work as Work<unknown, never>);
  return logic;
}
