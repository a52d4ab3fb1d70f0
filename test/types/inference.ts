/**
 * Compiled by `npm run test:types`, never run: types come from the user's machine, so a wrong input, event or output
 * does not compile. Each `@ts-expect-error` fails the build when the line under it becomes legal.
 */
import { assign, createMachine, fromPromise, sendTo, setup } from 'xstate';
import {
  actorAddress,
  createClient,
  createNode,
  defineActor,
  fromTransaction,
  invocation,
  type Migrate,
  type TransactionArguments,
} from '../../src/index.ts';

const machine = setup({
  types: {
    input: {} as { total: number },
    context: {} as { total: number; receipt: string | null },
    events: {} as { type: 'PAY'; amount: number } | { type: 'ABANDON' },
    output: {} as { receipt: string | null },
    tags: 'open' as const,
  },
  actors: {
    charge: fromPromise(async ({ input, self, signal }: PromiseArguments<{ total: number }>) => {
      signal.throwIfAborted();
      return `${invocation(self).idempotencyKey}:${input.total}`;
    }),
  },
}).createMachine({
  context: ({ input }) => ({ total: input.total, receipt: null }),
  initial: 'waiting',
  states: {
    waiting: { tags: 'open', on: { PAY: 'charging' } },
    charging: {
      invoke: {
        src: 'charge',
        input: ({ context }) => ({ total: context.total }),
        onDone: { target: 'done', actions: assign({ receipt: ({ event }) => event.output }) },
      },
    },
    done: { type: 'final' },
  },
  output: ({ context }) => ({ receipt: context.receipt }),
});
type PromiseArguments<T> = Parameters<Parameters<typeof fromPromise<string, T>>[0]>[0];

const order = defineActor('order', {
  machine,
  version: '2',
  retry: { charge: { attempts: 5 } },
  timeout: { '*': 30_000 },
});
const plain = defineActor('plain', { machine: createMachine({}) });

const fromOne: Migrate<typeof machine> = ({ value, context, version }) => {
  version satisfies string;
  return {
    value: value === 'paying' ? 'charging' : 'waiting',
    context: { total: Number(context.total), receipt: null },
  };
};
defineActor('order', {
  machine,
  version: '3',
  migrate: {
    '1': fromOne,
    // In place, TypeScript takes a name for any string unless it is told that it is a constant.
    '2': ({ context: { total } }) => ({
      value: 'charging' as const,
      context: { total, receipt: null },
    }),
  },
});
defineActor('order', {
  machine,
  // @ts-expect-error no such state
  migrate: { '1': () => ({ value: 'paid' as const, context: { total: 1, receipt: null } }) },
});
defineActor('order', {
  machine,
  // @ts-expect-error a context of another shape
  migrate: { '1': () => ({ value: 'waiting' as const, context: { total: '1', receipt: null } }) },
});
defineActor('order', {
  machine,
  // @ts-expect-error there is no context
  migrate: { '1': () => ({ value: 'waiting' as const }) },
});
defineActor('plain', {
  machine: createMachine({}),
  version: '2',
  migrate: { '1': ({ value }) => ({ value, context: {} }) },
});

createNode({ actors: [order, plain] });
// @ts-expect-error a machine is no actor type
createNode({ actors: [machine] });
// @ts-expect-error there is no such option
defineActor('order', { machine, retries: 3 });

export async function inference(): Promise<void> {
  const client = createClient({ natsUrl: 'nats://localhost' });

  const job = await client.start(order, { id: 'o-1', input: { total: 30 } });
  // @ts-expect-error input is required
  await client.start(order, { id: 'o-1' });
  // @ts-expect-error input of another shape
  await client.start(order, { id: 'o-1', input: { total: '30' } });
  // @ts-expect-error no such moment
  await client.start(order, { input: { total: 30 }, until: 'finished' });
  await client.start(plain, {});

  await job.send({ type: 'PAY', amount: 3 }, { until: 'committed' });
  await client.send(order, 'o-1', { type: 'ABANDON' });
  // @ts-expect-error the event needs an amount
  await client.send(order, 'o-1', { type: 'PAY' });
  // @ts-expect-error no such event
  await job.send({ type: 'REFUND' });

  const snapshot = await client.snapshot(order, 'o-1');
  snapshot.context.total satisfies number;
  snapshot.matches('waiting') satisfies boolean;
  // @ts-expect-error no such state
  snapshot.matches('paid');
  // @ts-expect-error no such tag
  snapshot.hasTag('closed');
  await client.waitFor(order, 'o-1', (state) => state.context.receipt !== null);
  // @ts-expect-error no such context
  await job.waitFor((state) => state.context.paid);

  const outcome = await job.outcome();
  if (outcome.status === 'done') outcome.output.receipt satisfies string | null;
  // @ts-expect-error only a done actor has output
  outcome.output;

  await client.start('anything', { id: 'x', input: { free: 'form' } });
  await client.send('anything', 'x', { type: 'ANY', more: 1 });
}

setup({}).createMachine({
  entry: sendTo(() => actorAddress<{ type: 'PAY'; amount: number }>('order', 'o-1'), {
    type: 'PAY',
    amount: 1,
  }),
});

const debit = fromTransaction(
  async ({ tx, input, signal }: TransactionArguments<{ by: number }>) => {
    signal.throwIfAborted();
    const { rows, rowCount } = await tx.query<{ balance: number }>('UPDATE …', [input.by]);
    rowCount satisfies number;
    // @ts-expect-error no such column
    rows[0]?.amount;
    // @ts-expect-error it ends with the transition
    tx.commit();
    return rows[0]?.balance ?? 0;
  },
);
fromTransaction<string, number>(async ({ input }) => {
  input satisfies number;
  return `${input}`;
});
// @ts-expect-error an output of another type
fromTransaction<string>(async () => 1);
setup({
  types: { context: {} as { left: number } },
  actors: { debit },
}).createMachine({
  context: { left: 0 },
  invoke: {
    src: 'debit',
    input: { by: 3 },
    onDone: { actions: assign({ left: ({ event }) => event.output }) },
  },
});
setup({ actors: { debit } }).createMachine({
  // @ts-expect-error input of another shape
  invoke: { src: 'debit', input: { by: '3' } },
});
