import {
  assign,
  forwardTo,
  fromCallback,
  fromEventObservable,
  fromObservable,
  fromPromise,
  fromTransition,
  sendTo,
  setup,
  spawnChild,
  stopChild,
} from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

// Children that are no promises. One that is started again after a crash says again what it said: contexts here keep
// what was said, not how often.

const note = () => {};

const values = (list: readonly unknown[]) => ({
  subscribe(observer: { next?: (value: never) => void; complete?: () => void }) {
    for (const value of list) observer.next?.(value as never);
    observer.complete?.();
    return { unsubscribe() {} };
  },
});

const never = { subscribe: () => ({ unsubscribe() {} }) };

conform([
  defineCase({
    name: 'a callback that speaks first, answers, and is left',
    machine: () =>
      setup({
        types: {
          context: {} as { up: boolean; answers: Record<string, number> },
          events: {} as
            | { type: 'UP' }
            | { type: 'ASK'; n: number }
            | { type: 'ANSWER'; n: number }
            | { type: 'LEAVE' },
        },
        actions: { heard: note },
        actors: {
          oracle: fromCallback<{ type: 'ASK'; n: number }>(({ sendBack, receive }) => {
            sendBack({ type: 'UP' });
            receive((event) => sendBack({ type: 'ANSWER', n: event.n * 2 }));
          }),
        },
      }).createMachine({
        context: { up: false, answers: {} },
        initial: 'asking',
        states: {
          asking: {
            invoke: { id: 'oracle', src: 'oracle' },
            on: {
              UP: { actions: assign({ up: true }) },
              ASK: { actions: sendTo('oracle', ({ event }) => event) },
              ANSWER: {
                actions: assign({
                  answers: ({ context, event }) => ({ ...context.answers, [event.n]: event.n }),
                }),
              },
              LEAVE: 'left',
            },
          },
          left: { on: { ASK: { actions: 'heard' } } },
        },
      }),
    steps: [
      { send: { type: 'ASK', n: 1 } },
      { send: { type: 'ASK', n: 2 } },
      { send: { type: 'LEAVE' } },
      { send: { type: 'ASK', n: 3 } },
    ],
  }),

  defineCase({
    name: 'a callback that throws as it begins',
    machine: () =>
      setup({
        types: { context: {} as { problem: string } },
        actors: {
          broken: fromCallback(() => {
            throw new Error('no line');
          }),
        },
      }).createMachine({
        context: { problem: '' },
        initial: 'on',
        states: {
          on: {
            invoke: {
              src: 'broken',
              onError: {
                target: 'off',
                actions: assign({ problem: ({ event }) => (event.error as Error).message }),
              },
            },
          },
          off: {},
        },
      }),
    steps: [],
  }),

  defineCase({
    name: 'events are forwarded to a callback',
    machine: () =>
      setup({
        types: {
          context: {} as { last: string },
          events: {} as { type: 'SAY'; text: string } | { type: 'SAID'; text: string },
        },
        actors: {
          echo: fromCallback<{ type: 'SAY'; text: string }>(({ sendBack, receive }) => {
            receive(({ text }) => sendBack({ type: 'SAID', text: text.toUpperCase() }));
          }),
        },
      }).createMachine({
        context: { last: '' },
        invoke: { id: 'echo', src: 'echo' },
        on: {
          SAY: { actions: forwardTo('echo') },
          SAID: { actions: assign({ last: ({ event }) => event.text }) },
        },
      }),
    steps: [{ send: { type: 'SAY', text: 'a' } }, { send: { type: 'SAY', text: 'b' } }],
  }),

  defineCase({
    name: 'an observable, watched to its end',
    machine: () =>
      setup({
        types: { context: {} as { last: number | undefined } },
        actions: { done: note },
        actors: { numbers: fromObservable(() => values([1, 2, 3]) as never) },
      }).createMachine({
        context: { last: undefined },
        initial: 'watching',
        states: {
          watching: {
            invoke: {
              src: 'numbers',
              onSnapshot: {
                actions: assign({
                  last: ({ event }) => event.snapshot.context as number | undefined,
                }),
              },
              onDone: { target: 'over', actions: 'done' },
            },
          },
          over: { type: 'final' },
        },
      }),
    steps: [],
  }),

  defineCase({
    name: 'an observable of events',
    machine: () =>
      setup({
        types: { context: {} as { last: number }, events: {} as { type: 'TICK'; n: number } },
        actors: {
          ticks: fromEventObservable(
            () =>
              values([
                { type: 'TICK', n: 1 },
                { type: 'TICK', n: 2 },
              ]) as never,
          ),
        },
      }).createMachine({
        context: { last: 0 },
        initial: 'on',
        states: {
          on: {
            invoke: { src: 'ticks', onDone: 'off' },
            on: { TICK: { actions: assign({ last: ({ event }) => event.n }) } },
          },
          off: {},
        },
      }),
    steps: [{ send: { type: 'TICK', n: 9 } }],
  }),

  defineCase({
    name: 'an observable that never says anything is left',
    machine: () =>
      setup({
        actions: { bye: note },
        actors: { silent: fromObservable(() => never as never) },
      }).createMachine({
        initial: 'on',
        states: {
          on: { invoke: { src: 'silent' }, exit: 'bye', on: { LEAVE: 'off' } },
          off: {},
        },
      }),
    steps: [{ send: { type: 'LEAVE' } }],
  }),

  defineCase({
    name: 'a transition function, watched, told by id, by ref and with delay',
    machine: () =>
      setup({
        types: {
          context: {} as { totals: (number | undefined)[] },
          events: {} as { type: 'ADD' | 'LATER' | 'BY_REF'; n: number },
        },
        actors: {
          sum: fromTransition<number, { type: 'ADD'; n: number }, never, { from: number }>(
            (total, { n }) => total + n,
            ({ input }) => input.from,
          ),
        },
      }).createMachine({
        context: { totals: [] },
        invoke: {
          id: 'sum',
          src: 'sum',
          input: { from: 10 },
          onSnapshot: {
            actions: assign({
              totals: ({ context, event }) => [...context.totals, event.snapshot.context],
            }),
          },
        },
        on: {
          ADD: { actions: sendTo('sum', ({ event }) => ({ type: 'ADD', n: event.n })) },
          BY_REF: {
            actions: sendTo(
              ({ self }) => self.getSnapshot().children.sum as never,
              ({ event }) => ({ type: 'ADD', n: event.n }) as never,
            ),
          },
          LATER: {
            actions: sendTo('sum', ({ event }) => ({ type: 'ADD', n: event.n }), { delay: 50 }),
          },
        },
      }),
    steps: [
      { send: { type: 'ADD', n: 1 } },
      { send: { type: 'LATER', n: 5 } },
      { send: { type: 'ADD', n: 2 } },
      { send: { type: 'BY_REF', n: 7 } },
      { advance: 50 },
    ],
  }),

  defineCase({
    name: 'a transition function that throws',
    machine: () =>
      setup({
        types: { context: {} as { problem: string }, events: {} as { type: 'BREAK' } },
        actors: {
          glass: fromTransition((): number => {
            throw new Error('broken');
          }, 0),
        },
      }).createMachine({
        context: { problem: '' },
        invoke: {
          id: 'glass',
          src: 'glass',
          onError: { actions: assign({ problem: ({ event }) => (event.error as Error).message }) },
        },
        on: { BREAK: { actions: sendTo('glass', { type: 'HIT' }) } },
      }),
    steps: [{ send: { type: 'BREAK' } }, { send: { type: 'BREAK' } }],
  }),

  defineCase({
    name: 'a child known by a system id',
    machine: () =>
      setup({
        types: {
          context: {} as { last: number },
          events: {} as { type: 'ASK'; n: number } | { type: 'GOT'; n: number },
        },
        actors: {
          desk: fromCallback<{ type: 'ASK'; n: number }>(({ sendBack, receive }) => {
            receive(({ n }) => sendBack({ type: 'GOT', n }));
          }),
        },
      }).createMachine({
        context: { last: 0 },
        invoke: { src: 'desk', systemId: 'reception' },
        on: {
          ASK: {
            actions: sendTo(
              ({ system }) => system.get('reception'),
              ({ event }) => event,
            ),
          },
          GOT: { actions: assign({ last: ({ event }) => event.n }) },
        },
      }),
    steps: [{ send: { type: 'ASK', n: 4 } }],
  }),

  defineCase({
    name: 'a child that is spawned, told and stopped',
    machine: () =>
      setup({
        types: {
          context: {} as { total: number },
          events: {} as { type: 'BEGIN' | 'ADD' | 'END' },
        },
        actions: { ended: note },
        actors: { tally: fromTransition((total: number) => total + 1, 0) },
      }).createMachine({
        context: { total: 0 },
        on: {
          BEGIN: { actions: spawnChild('tally', { id: 't', syncSnapshot: true }) },
          ADD: { actions: sendTo('t', { type: 'ADD' }) },
          'xstate.snapshot.t': {
            actions: assign({
              total: ({ event }) =>
                (event as unknown as { snapshot: { context: number } }).snapshot.context,
            }),
          },
          END: { actions: [stopChild('t'), 'ended'] },
        },
      } as never) as never,
    steps: [
      { send: { type: 'BEGIN' } },
      { send: { type: 'ADD' } },
      { send: { type: 'ADD' } },
      { send: { type: 'END' } },
    ],
  }),

  defineCase({
    name: 'a promise, watched',
    machine: () =>
      setup({
        types: { context: {} as { seen: string[] } },
        actors: { work: fromPromise<string>(() => new Promise(() => {})) },
      }).createMachine({
        context: { seen: [] },
        initial: 'working',
        states: {
          working: {
            invoke: {
              src: 'work',
              onSnapshot: {
                actions: assign({
                  seen: ({ context, event }) => [...context.seen, event.snapshot.status],
                }),
              },
              onDone: 'done',
            },
          },
          done: { type: 'final' },
        },
      }),
    steps: [],
  }),

  defineCase({
    name: 'spawnChild ahead of an action, when the actor starts',
    machine: () =>
      setup({
        actors: { wait: fromPromise(() => new Promise<never>(() => {})) },
        actions: { note },
      }).createMachine({ entry: [spawnChild('wait', { id: 'child' }), 'note'] }),
    steps: [],
  }),
]);
