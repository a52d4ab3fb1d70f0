import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import {
  assign,
  fromCallback,
  fromEventObservable,
  fromObservable,
  fromTransition,
  sendTo,
  setup,
} from 'xstate';
import { defineActor, fromOutcome, fromSteps, invocation } from '../../src/index.ts';
import { crashAt } from './actorsJournal.ts';

/** Actors with children that are no promises; what these do outside of the database goes to a file beside it. */

const fileIn = (dir: string) => join(dir, 'children.txt');

function note(line: string): void {
  const { PERDURE_TEST_DIR: dir } = process.env;
  if (dir !== undefined) appendFileSync(fileIn(dir), `${process.pid} ${line}\n`);
}

/** What the children of one actor have done, split by process. */
export function notesOf(dir: string, actor: string): string[][] {
  const file = fileIn(dir);
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const runs = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [pid = '', of, ...words] = line.split(' ');
    if (of === actor) runs.set(pid, [...(runs.get(pid) ?? []), words.join(' ')]);
  }
  return [...runs.values()];
}

type DeviceEvent =
  | { type: 'UP'; key: string }
  | { type: 'ACK'; n: number }
  | { type: 'CMD'; n: number }
  | { type: 'LATER'; n: number }
  | { type: 'FLOOD' }
  | { type: 'HANG_UP' };

const link = fromCallback<{ type: string; n?: number }>(({ sendBack, receive, self }) => {
  const { actor, idempotencyKey: key } = invocation(self);
  note(`${actor} up`);
  sendBack({ type: 'UP', key });
  receive((event) => {
    note(`${actor} ${event.type} ${event.n ?? ''}`.trim());
    crashAt(`told ${event.n}`);
    if (event.type === 'FLOOD') for (let n = 0; n < 5_000; n++) sendBack({ type: 'ACK', n });
    else sendBack({ type: 'ACK', n: event.n });
  });
  return () => {
    note(`${actor} down`);
    sendBack({ type: 'ACK', n: -1 });
  };
});

/** Talks to a device both ways for as long as it is online. */
export const device = defineActor('device', {
  machine: setup({
    types: {
      context: {} as { heard: number[]; key: string; error: string | null },
      events: {} as DeviceEvent,
    },
    actors: { link },
  }).createMachine({
    context: { heard: [], key: '', error: null },
    initial: 'online',
    states: {
      online: {
        invoke: {
          id: 'link',
          src: 'link',
          onError: {
            target: 'broken',
            actions: assign({ error: ({ event }) => (event.error as { code: string }).code }),
          },
        },
        on: {
          UP: { actions: assign({ key: ({ event }) => event.key }) },
          CMD: { actions: sendTo('link', ({ event }) => event) },
          LATER: { actions: sendTo('link', ({ event }) => event, { delay: 300 }) },
          FLOOD: { actions: sendTo('link', ({ event }) => event) },
          ACK: { actions: assign({ heard: ({ context, event }) => [...context.heard, event.n] }) },
          HANG_UP: 'offline',
        },
        exit: sendTo('link', { type: 'CMD', n: 99 }),
      },
      offline: { on: { ACK: { actions: assign({ heard: [] }) } } },
      broken: {},
    },
  }),
});

/** Values 1 to `count`, one every few ms, then the end. */
function series(count: number, everyMs: number, name: string) {
  return {
    subscribe(observer: {
      next?: (value: never) => void;
      complete?: () => void;
      error?: (error: unknown) => void;
    }) {
      note(`${name} subscribed`);
      let n = 0;
      const timer = setInterval(() => {
        n++;
        if (n <= count) observer.next?.({ type: 'TICK', n } as never);
        else {
          clearInterval(timer);
          observer.complete?.();
        }
      }, everyMs);
      return {
        unsubscribe() {
          clearInterval(timer);
          note(`${name} unsubscribed`);
        },
      };
    },
  };
}

const nameOf = (self: Parameters<typeof invocation>[0]) => invocation(self).actor;

/** Keeps what its two observables say. */
export const sampler = defineActor('sampler', {
  machine: setup({
    types: {
      context: {} as { values: number[]; ticks: number[]; count: number },
      input: {} as { count: number },
      events: {} as { type: 'TICK'; n: number },
    },
    actors: {
      values: fromObservable<{ n: number }, { count: number }>(
        ({ input, self }) => series(input.count, 10, nameOf(self)) as never,
      ),
      ticks: fromEventObservable<{ type: 'TICK'; n: number }, { count: number }>(
        ({ input, self }) => series(input.count, 10, nameOf(self)) as never,
      ),
    },
  }).createMachine({
    context: ({ input }) => ({ values: [], ticks: [], count: input.count }),
    initial: 'watching',
    states: {
      watching: {
        invoke: {
          src: 'values',
          input: ({ context }) => context,
          onSnapshot: {
            actions: assign({
              values: ({ context, event }) => [...context.values, event.snapshot.context?.n ?? 0],
            }),
          },
          onDone: 'ticking',
        },
      },
      ticking: {
        invoke: { src: 'ticks', input: ({ context }) => context, onDone: 'done' },
        on: {
          TICK: { actions: assign({ ticks: ({ context, event }) => [...context.ticks, event.n] }) },
        },
      },
      done: { type: 'final' },
    },
    output: ({ context }) => ({ values: context.values, ticks: context.ticks }),
  }),
});

/** Has its sums done by a child that is nothing but a function. */
export const ledger = defineActor('ledger', {
  machine: setup({
    types: {
      context: {} as { totals: number[]; error: string | null },
      events: {} as { type: 'ADD'; n: number },
    },
    actors: {
      sum: fromTransition<number, { type: 'ADD'; n: number }, never, { from: number }>(
        (total, event) => {
          if (event.n < 0) throw new Error('below zero');
          return total + event.n;
        },
        ({ input }) => input.from,
      ),
    },
  }).createMachine({
    context: { totals: [], error: null },
    invoke: {
      id: 'sum',
      src: 'sum',
      input: { from: 100 },
      onSnapshot: {
        actions: assign({
          totals: ({ context, event }) => [...context.totals, event.snapshot.context],
        }),
      },
      onError: {
        actions: assign({ error: ({ event }) => (event.error as Error).message }),
      },
    },
    on: { ADD: { actions: sendTo('sum', ({ event }) => event) } },
  }),
});

export interface TripInput {
  /** Book fails so often. */
  failures?: number;
  /** Uses a name twice. */
  twice?: boolean;
  /** Steps of 60 ms, each with a sign of life or without. */
  slow?: 'alive' | 'silent';
}

const plan = fromSteps<string[], TripInput>(async ({ step, input, self, heartbeat }) => {
  const { actor, attempt } = invocation(self);
  const one = (name: string, run: () => unknown) =>
    step(name, async () => {
      note(`${actor} ${name}`);
      return run();
    });
  const seat = (await one('reserve', () => ({ seat: 12n, at: new Date(0) }))) as {
    seat: bigint;
    at: Date;
  };
  if (input.slow)
    for (let n = 0; n < 6; n++) {
      await pause(60);
      if (input.slow === 'alive') heartbeat();
    }
  await one('nothing', () => undefined);
  const booked = await one('book', () => {
    crashAt('booking');
    if (attempt <= (input.failures ?? 0)) throw new Error(`attempt ${attempt} failed`);
    return 'booked';
  });
  if (input.twice) await one('book', () => 'again');
  return [`${seat.seat} ${seat.at.getTime()}`, String(booked)];
});

/** A journey that is planned in recorded steps. */
export const trip = defineActor('trip', {
  machine: setup({
    types: {
      input: {} as TripInput,
      context: {} as { input: TripInput; told: string[]; error: string | null },
      output: {} as string[],
    },
    actors: { plan },
  }).createMachine({
    context: ({ input }) => ({ input, told: [], error: null }),
    initial: 'planning',
    states: {
      planning: {
        invoke: {
          src: 'plan',
          input: ({ context }) => context.input,
          onDone: { target: 'done', actions: assign({ told: ({ event }) => event.output }) },
          onError: {
            target: 'failed',
            actions: assign({ error: ({ event }) => (event.error as { code: string }).code }),
          },
        },
      },
      done: { type: 'final' },
      failed: {},
    },
    output: ({ context }) => context.told,
  }),
  retry: { plan: { attempts: 3, delayMs: 10 } },
  timeout: { plan: 250 },
});

/** Waits for a trip. */
export const companion = defineActor('companion', {
  machine: setup({
    types: {
      input: {} as { of: string },
      context: {} as { of: string; told: string[] | null; error: string | null },
      output: {} as string[] | null,
    },
    actors: { tripDone: fromOutcome<string[]>() },
  }).createMachine({
    context: ({ input }) => ({ of: input.of, told: null, error: null }),
    initial: 'waiting',
    states: {
      waiting: {
        invoke: {
          src: 'tripDone',
          input: ({ context }) => ({ type: 'trip', id: context.of }),
          onDone: { target: 'done', actions: assign({ told: ({ event }) => event.output }) },
          onError: {
            target: 'failed',
            actions: assign({ error: ({ event }) => (event.error as Error).message }),
          },
        },
      },
      done: { type: 'final' },
      failed: {},
    },
    output: ({ context }) => context.told,
  }),
});
