import { assign, cancel, enqueueActions, fromPromise, sendTo, setup, spawnChild } from 'xstate';
import { actorAddress, defineActor, invocation } from '../../src/index.ts';
import { crashAt, isCommitted, whileHeld, write } from './actorsJournal.ts';
import { pause } from './cluster.ts';

export { capture } from './actorsJournal.ts';

/** Actor types for nodes that are killed; what they do outside of the database goes to a journal. */

/** What a step of the work is told. */
export interface WorkInput {
  /** How long it takes, ms. */
  ms?: number;
  /** Fails while the attempt is not above this. */
  failures?: number;
  /** Fails for good at the first attempt. */
  final?: boolean;
  /** Anything; shows in the journal. */
  note?: string;
  /** Also asks Postgres whether the transition that started it is there. */
  look?: boolean;
}

const work = fromPromise<string, WorkInput>(async ({ input, self, signal }) => {
  const { idempotencyKey: key, attempt } = invocation(self);
  const line = (phase: 'start' | 'end' | 'abort', more: { committed?: boolean } = {}) =>
    write({ kind: 'invoke', key, phase, attempt, input, at: Date.now(), ...more });
  if (input.look) {
    const at = Date.now();
    const committed = await isCommitted(key);
    write({ kind: 'invoke', key, phase: 'start', attempt, input, at, committed });
  } else line('start');
  signal.addEventListener('abort', () => line('abort'), { once: true });
  if (attempt > (input.failures ?? 0)) await whileHeld(signal);
  if (input.ms) await pause(input.ms);
  if (signal.aborted) return 'aborted';
  if (input.final) throw Object.assign(new Error('never again'), { retryable: false });
  if (attempt <= (input.failures ?? 0)) throw new Error(`attempt ${attempt} failed`);
  line('end');
  return key;
});

/** Counts what it is sent; ends when told. */
export const counter = defineActor('counter', {
  machine: setup({
    types: {
      context: {} as { seen: number[] },
      events: {} as { type: 'ADD'; n: number } | { type: 'STOP' },
    },
  }).createMachine({
    context: { seen: [] },
    initial: 'counting',
    states: {
      counting: {
        on: {
          ADD: { actions: assign({ seen: ({ context, event }) => [...context.seen, event.n] }) },
          STOP: 'stopped',
        },
      },
      stopped: { type: 'final' },
    },
    output: ({ context }) => context.seen.length,
  }),
});

/** Rings when told to, in every way a machine can wait. */
export const alarm = defineActor('alarm', {
  machine: setup({
    types: {
      context: {} as { rang: string[]; ms: number },
      events: {} as
        | { type: 'SET'; id: string; ms: number }
        | { type: 'UNSET'; id: string }
        | { type: 'WAIT'; ms: number }
        | { type: 'LEAVE' }
        | { type: 'TELL'; to: string; ms: number; n: number }
        | { type: 'RING'; id: string },
    },
    delays: { asked: ({ context }) => context.ms },
  }).createMachine({
    context: { rang: [], ms: 0 },
    initial: 'idle',
    on: {
      SET: {
        actions: enqueueActions(({ enqueue, event: { id, ms } }) =>
          enqueue.raise({ type: 'RING', id }, { id, delay: ms }),
        ),
      },
      UNSET: { actions: cancel(({ event }) => event.id) },
      TELL: {
        actions: sendTo(
          ({ event }) => actorAddress('counter', event.to),
          ({ event }) => ({ type: 'ADD', n: event.n }),
          { delay: ({ event }) => event.ms },
        ),
      },
      RING: { actions: assign({ rang: ({ context, event }) => [...context.rang, event.id] }) },
    },
    states: {
      idle: {
        on: { WAIT: { target: 'waiting', actions: assign({ ms: ({ event }) => event.ms }) } },
      },
      waiting: {
        on: { LEAVE: 'idle' },
        after: {
          asked: {
            target: 'idle',
            actions: assign({ rang: ({ context }) => [...context.rang, 'after'] }),
          },
        },
      },
    },
  }),
});

/** Does one piece of work. */
export const worker = defineActor('worker', {
  machine: setup({
    types: {
      input: {} as WorkInput,
      context: {} as WorkInput & { result?: string; error?: string; rounds: number },
      events: {} as { type: 'LEAVE' } | { type: 'AGAIN' } | { type: 'PING' },
    },
    actors: { work },
  }).createMachine({
    context: ({ input }) => ({ ...input, rounds: 0 }),
    initial: 'working',
    on: { PING: {} },
    states: {
      working: {
        invoke: {
          id: 'work',
          src: 'work',
          input: ({ context: { rounds: _rounds, ...input } }) => input,
          onDone: { target: 'worked', actions: assign({ result: ({ event }) => event.output }) },
          onError: {
            target: 'failed',
            actions: assign({ error: ({ event }) => (event.error as Error).message }),
          },
        },
        on: { LEAVE: 'left' },
      },
      worked: { on: { AGAIN: { target: 'working', actions: assign({ rounds: 1 }) } } },
      left: { on: { AGAIN: 'working' } },
      failed: {},
    },
  }),
  retry: { work: { attempts: 4, delayMs: 400, maxDelayMs: 1_000 } },
});

/** Spawns its work without giving it a name. */
export const spawner = defineActor('spawner', {
  machine: setup({ actors: { work } }).createMachine({
    initial: 'on',
    entry: spawnChild('work', { input: {} }),
    on: { 'xstate.done.actor.*': '.over' },
    states: { on: {}, over: { type: 'final' } },
  }),
});

/** Its second action ends the process, the first time. */
export const fragile = defineActor('fragile', {
  machine: setup({
    types: {
      context: {} as { heard: string[] },
      events: {} as { type: 'GO'; crash: string } | { type: 'HEARD'; from: string },
    },
    actions: {
      named: ({ event, self }, { label }: { label: string }) =>
        write({ kind: 'action', at: Date.now(), label, actor: self.id, event: event.type }),
      tellSelf: ({ self }, { from }: { from: string }) => {
        write({ kind: 'action', at: Date.now(), label: `tell ${from}`, actor: self.id });
        self.send({ type: 'HEARD', from });
      },
      crash: (_, { at }: { at: string }) => crashAt(at),
    },
  }).createMachine({
    context: { heard: [] },
    initial: 'ready',
    on: {
      HEARD: { actions: assign({ heard: ({ context, event }) => [...context.heard, event.from] }) },
    },
    states: {
      ready: {
        on: {
          GO: {
            target: 'gone',
            actions: [
              { type: 'named', params: { label: 'first' } },
              ({ self }) =>
                write({ kind: 'action', at: Date.now(), label: 'inline', actor: self.id }),
              { type: 'tellSelf', params: { from: 'early' } },
              { type: 'crash', params: { at: 'middle' } },
              { type: 'named', params: { label: 'last' } },
              { type: 'tellSelf', params: { from: 'late' } },
            ],
          },
        },
      },
      gone: {
        entry: [
          { type: 'crash', params: { at: 'end' } },
          { type: 'named', params: { label: 'entry' } },
        ],
      },
    },
  }),
});

/** Ends at once; for what happens after the end. */
export const brief = defineActor('brief', {
  machine: setup({
    types: { input: {} as { n: number } },
    actions: {
      crash: () => crashAt('brief'),
    },
  }).createMachine({
    context: ({ input }) => input,
    initial: 'over',
    states: { over: { type: 'final', entry: { type: 'crash' } } },
    output: ({ context }) => context,
  }),
});
