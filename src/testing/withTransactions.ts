import type { PromiseActorLogic } from 'xstate';
import { withPlainTransactions } from '../actors/transaction.ts';
import type { TestTransaction } from '../store/memoryTransaction.ts';

/**
 * Logic made by `fromTransaction`, to run under a plain `createActor`, with what `begin` gives instead of Postgres:
 * `createActor(machine.provide({ actors: { pay: withTransactions(pay, begin) } }))`. What it did is committed when the
 * function has ended well, and rolled back when it throws.
 * @throws PerdureError `bad_options` for any other logic
 */
export function withTransactions<TOutput, TInput>(
  logic: PromiseActorLogic<TOutput, TInput>,
  begin: () => TestTransaction,
): PromiseActorLogic<TOutput, TInput> {
  return withPlainTransactions(logic, async (run) => {
    const { tx, commit, rollback } = begin();
    try {
      const output = await run(tx);
      commit();
      return output;
    } catch (error) {
      rollback();
      throw error;
    }
  });
}
