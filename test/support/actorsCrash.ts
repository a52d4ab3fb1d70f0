import { setTimeout as pause } from 'node:timers/promises';
import { assign, fromPromise, sendTo, setup } from 'xstate';
import { actorAddress, defineActor, invocation } from '../../src/index.ts';
import { isCommitted, write } from './actorsJournal.ts';

/** The load of crash runs: jobs of three steps that move money between purses. */

export interface TransferInput {
  from: string;
  to: string;
  amount: number;
  /** How long the two pieces of work take, and the timer between them, ms. */
  chargeMs: number;
  waitMs: number;
  shipMs: number;
  /** The first attempts of the first piece of work that fail. */
  failures: number;
}

interface Piece {
  step: string;
  ms: number;
  failures: number;
  note: string;
}

/** Writes down that it ran, and whether Postgres knows of the transition that wanted it. */
const piece = fromPromise<string, Piece>(async ({ input, self, signal }) => {
  const { idempotencyKey: key, attempt } = invocation(self);
  const at = Date.now();
  const committed = await isCommitted(key);
  write({ kind: 'invoke', key, phase: 'start', attempt, input, at, committed });
  await pause(input.ms, undefined, { signal });
  if (attempt <= input.failures) throw new Error(`attempt ${attempt} of ${input.step}`);
  write({ kind: 'invoke', key, phase: 'end', attempt, input, at: Date.now() });
  return key;
});

export const transfer = defineActor('transfer', {
  machine: setup({
    types: {
      input: {} as TransferInput,
      context: {} as TransferInput & { steps: number; charged?: string; shipped?: string },
      events: {} as { type: 'MOVED'; amount: number },
      output: {} as { charged: string; shipped: string },
    },
    actors: { piece },
    delays: { wait: ({ context }) => context.waitMs },
    actions: {
      note: ({ self }, { label, steps }: { label: string; steps: number }) =>
        write({ kind: 'action', at: Date.now(), actor: self.id, label, steps }),
      step: assign({ steps: ({ context }) => context.steps + 1 }),
    },
  }).createMachine({
    context: ({ input }) => ({ ...input, steps: 0 }),
    initial: 'charging',
    states: {
      charging: {
        entry: {
          type: 'note',
          params: ({ context }) => ({ label: 'charge', steps: context.steps }),
        },
        invoke: {
          id: 'charge',
          src: 'piece',
          input: ({ context: { chargeMs, failures, from, amount } }) => ({
            step: 'charge',
            ms: chargeMs,
            failures,
            note: `${amount} from ${from}`,
          }),
          onDone: {
            target: 'moving',
            actions: ['step', assign({ charged: ({ event }) => event.output })],
          },
        },
      },
      moving: {
        entry: [
          { type: 'note', params: ({ context }) => ({ label: 'move', steps: context.steps }) },
          sendTo(
            ({ context }) => actorAddress('purse', context.from),
            ({ context, self }) => ({
              type: 'PAY',
              amount: context.amount,
              to: context.to,
              job: self.id,
            }),
          ),
        ],
        on: { MOVED: { target: 'cooling', actions: 'step' } },
      },
      cooling: { after: { wait: { target: 'shipping', actions: 'step' } } },
      shipping: {
        entry: { type: 'note', params: ({ context }) => ({ label: 'ship', steps: context.steps }) },
        invoke: {
          id: 'ship',
          src: 'piece',
          input: ({ context: { shipMs, to } }) => ({
            step: 'ship',
            ms: shipMs,
            failures: 0,
            note: to,
          }),
          onDone: {
            target: 'shipped',
            actions: ['step', assign({ shipped: ({ event }) => event.output })],
          },
        },
      },
      shipped: {
        type: 'final',
        entry: { type: 'note', params: ({ context }) => ({ label: 'end', steps: context.steps }) },
      },
    },
    output: ({ context }) => ({ charged: context.charged ?? '', shipped: context.shipped ?? '' }),
  }),
  retry: { piece: { attempts: 5, delayMs: 100, maxDelayMs: 400 } },
});

export const PURSE_START = 1_000;

export const purse = defineActor('purse', {
  machine: setup({
    types: {
      context: {} as { balance: number; paid: number; received: number },
      events: {} as
        | { type: 'PAY'; amount: number; to: string; job: string }
        | { type: 'RECEIVE'; amount: number; job: string }
        | { type: 'PING'; n: number },
    },
    actions: {
      note: ({ self }, params: { amount: number; job: string; balance: number }) =>
        write({ kind: 'action', at: Date.now(), actor: self.id, ...params }),
    },
  }).createMachine({
    context: { balance: PURSE_START, paid: 0, received: 0 },
    on: {
      PAY: {
        actions: [
          assign(({ context, event }) => ({
            balance: context.balance - event.amount,
            paid: context.paid + 1,
          })),
          {
            type: 'note',
            params: ({ context, event }) => ({
              amount: -event.amount,
              job: event.job,
              balance: context.balance,
            }),
          },
          sendTo(
            ({ event }) => actorAddress('purse', event.to),
            ({ event }) => ({ type: 'RECEIVE', amount: event.amount, job: event.job }),
          ),
        ],
      },
      RECEIVE: {
        actions: [
          assign(({ context, event }) => ({
            balance: context.balance + event.amount,
            received: context.received + 1,
          })),
          {
            type: 'note',
            params: ({ context, event }) => ({
              amount: event.amount,
              job: event.job,
              balance: context.balance,
            }),
          },
          sendTo(
            ({ event }) => actorAddress('transfer', event.job),
            ({ event }) => ({ type: 'MOVED', amount: event.amount }),
          ),
        ],
      },
      PING: {},
    },
  }),
});
