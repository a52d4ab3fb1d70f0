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
import { pathsOf, testCluster } from '../../src/testing/index.ts';

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
defineActor('order', { machine, searchable: ['total'] });
// @ts-expect-error no such field in its input
defineActor('order', { machine, searchable: ['amount'] });
const nested = setup({
  types: { input: {} as { customer: { id: string }; region?: 'eu' | 'us'; vip: boolean | null } },
}).createMachine({});
defineActor('nested', { machine: nested, searchable: ['region', 'vip'] });
// @ts-expect-error an object is nothing to be found by
defineActor('nested', { machine: nested, searchable: ['customer'] });
defineActor('untyped', { machine: createMachine({}), searchable: ['anything'] });
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
createNode({ actors: [order], limits: { residentsMax: 10 } });
// @ts-expect-error there is no such limit
createNode({ actors: [order], limits: { residents: 10 } });
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
  const done = await client.waitFor(order, 'o-1', (state) => state.context.receipt !== null);
  done.output?.receipt satisfies string | null | undefined;
  done.context.total satisfies number;
  await client.waitFor(order, 'o-1', (state) => state.matches('done') || state.hasTag('open'));
  // @ts-expect-error no such state
  await client.waitFor(order, 'o-1', (state) => state.matches('paid'));
  // @ts-expect-error no such tag
  await job.waitFor((state) => state.hasTag('closed'));
  // @ts-expect-error no such event
  await job.waitFor((state) => state.can({ type: 'REFUND' }));
  // @ts-expect-error a predicate answers yes or no
  await job.waitFor((state) => state.context.receipt);
  // @ts-expect-error without its type nobody knows the machine
  await client.waitFor('order', 'o-1', () => true);
  // @ts-expect-error no such context
  await job.waitFor((state) => state.context.paid);

  const outcome = await job.outcome();
  if (outcome.status === 'done') outcome.output.receipt satisfies string | null;
  // @ts-expect-error only a done actor has output
  outcome.output;
  if (outcome.status === 'error') outcome.error.message satisfies string;
  const told = await client.outcome(order, 'o-1', { timeoutMs: 100 });
  // @ts-expect-error output of another shape
  if (told.status === 'done') told.output.receipt satisfies number;

  const handle = client.actor(order, 'o-1');
  await handle.send({ type: 'PAY', amount: 3 });
  // @ts-expect-error the amount is a number
  await handle.send({ type: 'PAY', amount: '3' });
  (await handle.snapshot()).context.receipt satisfies string | null;
  // @ts-expect-error no such context
  (await handle.snapshot()).context.paid;
  // @ts-expect-error there is no such option
  await handle.outcome({ timeout: 5 });

  await client.start('anything', { id: 'x', input: { free: 'form' } });
  await client.send('anything', 'x', { type: 'ANY', more: 1 });
}

/** The same in tests of one's own. */
export async function inferenceInTests(): Promise<void> {
  const cluster = await testCluster({ actors: [order, plain], crash: 'never' });
  // @ts-expect-error a machine is no actor type
  await testCluster({ actors: [machine] });

  const job = await cluster.start(order, { input: { total: 30 } });
  // @ts-expect-error input is required
  await cluster.start(order, { id: 'o-1' });
  // @ts-expect-error input of another shape
  await cluster.start(order, { input: { total: '30' } });
  await cluster.start(plain, {});

  await job.send({ type: 'PAY', amount: 3 });
  // @ts-expect-error the event needs an amount
  await job.send({ type: 'PAY' });
  // @ts-expect-error no such event
  await cluster.actor(order, 'o-1').send({ type: 'REFUND' });

  job.snapshot.context.total satisfies number;
  job.context.receipt satisfies string | null;
  // @ts-expect-error no such context
  job.context.paid;
  job.state satisfies 'waiting' | 'charging' | 'done';
  job.matches('waiting') satisfies boolean;
  // @ts-expect-error no such state
  job.matches('paid');
  job.can({ type: 'ABANDON' }) satisfies boolean;
  // @ts-expect-error no such event
  job.can({ type: 'REFUND' });
  job.output?.receipt satisfies string | null | undefined;
  // @ts-expect-error output of another shape
  job.output?.receipt satisfies number;

  pathsOf(order, { input: { total: 1 }, events: [{ type: 'PAY', amount: 1 }] });
  // @ts-expect-error no such event
  pathsOf(order, { input: { total: 1 }, events: [{ type: 'REFUND' }] });
  // @ts-expect-error input of another shape
  pathsOf(order, { input: { total: '1' } });
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
