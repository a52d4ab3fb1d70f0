import { type AnyStateMachine, assign, createMachine, fromPromise, setup } from 'xstate';

/** A machine and events it can be sent over and over, each of which takes a transition. */
export interface Course {
  name: string;
  machine: AnyStateMachine;
  events: { type: string; [key: string]: unknown }[];
}

const small = setup({
  types: {
    context: {} as { id: string; customer: string; total: number; paid: boolean; tries: number },
    events: {} as { type: 'PAY'; amount: number } | { type: 'SHIP' | 'RETURN' | 'CLOSE' | 'AGAIN' },
  },
  guards: { isEnough: ({ event }) => event.type === 'PAY' && event.amount > 0 },
}).createMachine({
  id: 'small',
  context: { id: 'o-1', customer: 'c-1', total: 30, paid: false, tries: 0 },
  initial: 'waiting',
  states: {
    waiting: { on: { PAY: { guard: 'isEnough', target: 'paid' } } },
    paid: {
      entry: assign({ paid: true, tries: ({ context }) => context.tries + 1 }),
      on: { SHIP: 'shipped' },
    },
    shipped: { on: { RETURN: 'returned' } },
    returned: { entry: assign({ paid: false }), on: { CLOSE: 'closed' } },
    closed: { on: { AGAIN: 'waiting' } },
  },
});

/** Three regions of nine states each; every event moves all three. */
const region = (name: string) => ({
  initial: 's0',
  states: Object.fromEntries(
    Array.from({ length: 9 }, (_, n) => [
      `s${n}`,
      {
        ...(n === 8 && { entry: assign({ [name]: ({ context }) => context[name] + 1 }) }),
        on: { NEXT: { target: `s${(n + 1) % 9}`, guard: () => true } },
      },
    ]),
  ),
});
const large = createMachine({
  id: 'large',
  type: 'parallel',
  context: { a: 0, b: 0, c: 0 },
  states: { a: region('a'), b: region('b'), c: region('c') },
} as never);

const never = fromPromise<unknown, unknown>(() => new Promise(() => {}));
const invokes = setup({
  types: { context: {} as { total: number } },
  actors: { never },
}).createMachine({
  id: 'invokes',
  context: { total: 30 },
  initial: 'idle',
  states: {
    idle: { on: { GO: 'running' } },
    running: {
      invoke: {
        id: 'one',
        src: 'never',
        input: ({ context }: { context: { total: number } }) => context,
      },
      on: { BACK: 'idle' },
    },
  },
});

const timers = createMachine({
  id: 'timers',
  initial: 'idle',
  states: {
    idle: { on: { GO: 'waiting' } },
    waiting: { after: { 3600000: 'idle' }, on: { BACK: 'idle' } },
  },
});

export const courses: Course[] = [
  {
    name: 'small',
    machine: small,
    events: [
      { type: 'PAY', amount: 3 },
      { type: 'SHIP' },
      { type: 'RETURN' },
      { type: 'CLOSE' },
      { type: 'AGAIN' },
    ],
  },
  { name: 'large, parallel', machine: large, events: [{ type: 'NEXT' }] },
  { name: 'invokes', machine: invokes, events: [{ type: 'GO' }, { type: 'BACK' }] },
  { name: 'timers', machine: timers, events: [{ type: 'GO' }, { type: 'BACK' }] },
];
