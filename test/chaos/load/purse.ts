import { type AnyActorRef, assign, sendTo, setup } from 'xstate';
import { actorAddress, defineActor } from '../../../src/index.ts';
import { write } from '../../support/actorsJournal.ts';
import { MODULUS, PURSE_START } from './program.ts';

/** Finds the actor a message is for. Plain XState has no durable addresses and looks among its own actors. */
export type Find = (type: string, id: string) => AnyActorRef;

/** A payment, as it goes from the job to one purse, to the other, and back to the job. */
interface Payment {
  amount: number;
  /** The purse that receives it. */
  to: string;
  flow: string;
  job: string;
  /** The op that pays. */
  n: number;
}

export interface PurseContext {
  balance: number;
  paid: number;
  received: number;
  /** Tallies so far, and what their order adds up to. */
  tallies: number;
  tally: number;
}

/** Lives as long as the run. What all purses hold together never changes. */
export const purseMachine = (find: Find) =>
  setup({
    types: {
      context: {} as PurseContext,
      events: {} as
        | ({ type: 'PAY' | 'RECEIVE' } & Payment)
        | { type: 'TALLY'; amount: number; src: string; srcSeq: number },
    },
    actions: {
      note: ({ self }, { job, n, change }: { job: string; n: number; change: number }) =>
        write({ kind: 'action', at: Date.now(), actor: self.id, job, n, change }),
    },
  }).createMachine({
    context: { balance: PURSE_START, paid: 0, received: 0, tallies: 0, tally: 0 },
    on: {
      PAY: {
        actions: [
          assign(({ context, event }) => ({
            balance: context.balance - event.amount,
            paid: context.paid + 1,
          })),
          {
            type: 'note',
            params: ({ event: { job, n, amount } }) => ({ job, n, change: -amount }),
          },
          sendTo(
            ({ event }) => find('purse', event.to),
            ({ event }) => ({ ...event, type: 'RECEIVE' }),
          ),
        ],
      },
      RECEIVE: {
        actions: [
          assign(({ context, event }) => ({
            balance: context.balance + event.amount,
            received: context.received + 1,
          })),
          { type: 'note', params: ({ event: { job, n, amount } }) => ({ job, n, change: amount }) },
          sendTo(
            ({ event }) => find(event.flow, event.job),
            ({ event }) => ({ type: 'MOVED', n: event.n, amount: event.amount }),
          ),
        ],
      },
      TALLY: {
        actions: assign(({ context, event }) => ({
          tallies: context.tallies + 1,
          tally: (context.tally * 31 + event.amount) % MODULUS,
        })),
      },
    },
  });

export const purse = defineActor('purse', { machine: purseMachine(actorAddress) });
