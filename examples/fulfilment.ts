import { defineActor, fromSteps } from 'perdure';
import { assign, setup } from 'xstate';

/** What has been done and would have to be undone, oldest first. */
type Done = 'reserved' | 'charged';

interface Order {
  item: string;
  total: number;
  /** Lets the carrier refuse, to see the compensation. */
  refuse?: boolean;
}

const machine = setup({
  types: {
    input: {} as Order,
    context: {} as { order: Order; done: Done[]; problem?: string },
    output: {} as { shipped: boolean; undone: Done[] },
  },
  actors: {
    reserve: fromSteps<string, Order>(({ input, step }) =>
      step('reserve', () => `r-${input.item}`),
    ),
    charge: fromSteps<string, Order>(({ input, step }) => step('charge', () => `c-${input.total}`)),
    ship: fromSteps<string, Order>(async ({ input, step }) => {
      // Each is done once, however often this runs: a crash in between goes on behind the last one that is recorded.
      const label = await step('label', () => `label for ${input.item}`);
      return step('hand over', () => {
        if (input.refuse) throw Object.assign(new Error('too heavy'), { retryable: false });
        return `shipped with ${label}`;
      });
    }),
    undo: fromSteps<void, Done[]>(async ({ input, step }) => {
      for (const done of input.toReversed())
        await step(`undo ${done}`, () => console.log(`undoing: ${done}`));
    }),
  },
}).createMachine({
  context: ({ input }) => ({ order: input, done: [] }),
  initial: 'reserving',
  states: {
    reserving: {
      invoke: {
        src: 'reserve',
        input: ({ context }) => context.order,
        onDone: { target: 'charging', actions: assign({ done: ['reserved'] }) },
        onError: 'undoing',
      },
    },
    charging: {
      invoke: {
        src: 'charge',
        input: ({ context }) => context.order,
        onDone: { target: 'shipping', actions: assign({ done: ['reserved', 'charged'] }) },
        onError: 'undoing',
      },
    },
    shipping: {
      invoke: {
        src: 'ship',
        input: ({ context }) => context.order,
        onDone: 'shipped',
        onError: {
          target: 'undoing',
          actions: assign({ problem: ({ event }) => (event.error as Error).message }),
        },
      },
    },
    undoing: {
      invoke: { src: 'undo', input: ({ context }) => context.done, onDone: 'undone' },
    },
    shipped: { type: 'final' },
    undone: { type: 'final' },
  },
  output: ({ context }) => {
    const undone = context.problem === undefined ? [] : context.done;
    return { shipped: context.problem === undefined, undone };
  },
});

/** Reserve, charge, ship; when something is refused, what was done is undone in reverse. */
export const fulfilment = defineActor('fulfilment', {
  machine,
  // What cannot be undone for now is tried until it can.
  retry: { '*': { attempts: 5 }, undo: { attempts: 1_000 } },
});
