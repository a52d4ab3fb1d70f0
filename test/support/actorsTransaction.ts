import { assign, setup } from 'xstate';
import { defineActor, fromTransaction, invocation } from '../../src/index.ts';
import { crashAt } from './actorsJournal.ts';
import type { Sql } from './cluster.ts';

/** Actors that move money in tables of the user's own. Nothing in these keeps a transfer from being made twice. */

export const TABLES = `
  CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0));
  INSERT INTO account SELECT n, 1000 FROM generate_series(1, 40) AS n;
  CREATE TABLE movement (transfer text NOT NULL, amount int NOT NULL, key text NOT NULL);
  CREATE TABLE due (account int REFERENCES account DEFERRABLE INITIALLY DEFERRED)`;

export interface TransferInput {
  from: number;
  to: number;
  amount: number;
  /** What it does beyond that. */
  also?: Also;
}

export type Also =
  | 'deadlock'
  | 'fail'
  | 'defer'
  | 'idle'
  | 'wait'
  | 'commit'
  | 'swallow'
  | 'late'
  | 'break';

interface TransferContext extends TransferInput {
  left: number | null;
  error: string | null;
}

/** What a test holds transfers of its own process with, and how often each of them has begun. */
export const held = { gate: Promise.resolve(), runs: new Map<string, number>() };

const move = fromTransaction<number, TransferInput>(async ({ tx, input, self }) => {
  const { from, to, amount, also } = input;
  const { actor, idempotencyKey } = invocation(self);
  const pay = async (account: number, by: number) => {
    const { rows } = await tx.query<{ balance: number }>(
      'UPDATE account SET balance = balance + $2 WHERE id = $1 RETURNING balance',
      [account, by],
    );
    return rows[0]?.balance ?? Number.NaN;
  };
  held.runs.set(actor, (held.runs.get(actor) ?? 0) + 1);
  const left = await pay(from, -amount);
  if (also === 'deadlock') await held.gate;
  await pay(to, amount);
  await tx.query('INSERT INTO movement VALUES ($1, $2, $3)', [actor, amount, idempotencyKey]);
  crashAt('inside');
  if (process.env.PERDURE_TEST_FREEZE) process.kill(process.pid, 'SIGSTOP');
  if (also === 'wait') await held.gate;
  if (also === 'idle') {
    await tx.query(`SET LOCAL idle_in_transaction_session_timeout = '20ms'`);
    // From here on it is idle until Postgres ends it.
    held.runs.set(`${actor} idle`, 1);
    await held.gate;
  }
  if (also === 'fail') throw new Error('changed its mind');
  if (also === 'defer') await tx.query('INSERT INTO due VALUES (-1)');
  if (also === 'commit') await tx.query('/* of /* all */ things */ ; commit');
  if (also === 'swallow') await tx.query('SELECT 1 / 0').catch(() => {});
  if (also === 'late') void held.gate.then(() => tx.query('SELECT 1')).catch(() => {});
  // Dies when the function has ended, and what follows is on its way.
  setImmediate(() => crashAt('ended'));
  return left;
});

export const transfer = defineActor('transfer', {
  machine: setup({
    types: {
      input: {} as TransferInput,
      context: {} as TransferContext,
      events: {} as { type: 'LEAVE' } | { type: 'PING' },
      output: {} as { left: number | null; error: string | null },
    },
    actors: { move },
    actions: { told: () => crashAt('told') },
    guards: {
      broken: ({ context }) => {
        if (context.also === 'break') throw new Error('broken guard');
        return false;
      },
    },
  }).createMachine({
    context: ({ input }) => ({ ...input, left: null, error: null }),
    initial: 'moving',
    on: { PING: {} },
    states: {
      moving: {
        invoke: {
          id: 'move',
          src: 'move',
          input: ({ context: { from, to, amount, also } }) => ({
            from,
            to,
            amount,
            ...(also && { also }),
          }),
          onDone: [
            { guard: 'broken', target: 'failed' },
            { target: 'moved', actions: assign({ left: ({ event }) => event.output }) },
          ],
          onError: {
            target: 'failed',
            actions: assign({
              error: ({ event }) => {
                const { code, message } = event.error as Error & { code?: string };
                return `${code ?? 'none'}: ${message}`;
              },
            }),
          },
        },
        on: { LEAVE: 'left' },
      },
      moved: { entry: 'told', type: 'final' },
      failed: { type: 'final' },
      left: { type: 'final' },
    },
    output: ({ context }) => ({ left: context.left, error: context.error }),
  }),
  timeout: { move: 15_000 },
});

/** How often each transfer has been made, by its id, and what all accounts hold. */
export async function ledger(sql: Sql): Promise<{ made: Record<string, number>; total: number }> {
  const made = await sql.query<{ transfer: string; times: string }>(
    'SELECT transfer, count(*) AS times FROM public.movement GROUP BY 1',
  );
  const [sum] = await sql.query<{ total: string }>(
    'SELECT sum(balance) AS total FROM public.account',
  );
  return {
    made: Object.fromEntries(made.map((row) => [row.transfer.split('/')[1], Number(row.times)])),
    total: Number(sum?.total),
  };
}
