import { defineActor } from 'perdure';
import { assign, fromPromise, setup } from 'xstate';

interface Watch {
  url: string;
  /** Between two looks, ms. Default: a minute. */
  everyMs?: number;
}

const machine = setup({
  types: {
    input: {} as Watch,
    context: {} as Watch & { seen?: string; changes: number; failures: number },
    events: {} as { type: 'STOP' },
  },
  actors: {
    look: fromPromise<string, Watch>(async ({ input, signal }) => {
      const answer = await fetch(input.url, { signal });
      if (!answer.ok) throw new Error(`${input.url} answers ${answer.status}`);
      return answer.headers.get('etag') ?? (await answer.text());
    }),
  },
  delays: {
    // Twice as long for each failure in a row, at most 32 times.
    pause: ({ context }) => (context.everyMs ?? 60_000) * 2 ** Math.min(context.failures, 5),
  },
  guards: { isNew: ({ context, event }) => (event as { output?: string }).output !== context.seen },
}).createMachine({
  context: ({ input }) => ({ ...input, changes: 0, failures: 0 }),
  initial: 'looking',
  on: { STOP: '.stopped' },
  states: {
    looking: {
      invoke: {
        src: 'look',
        input: ({ context }) => context,
        onDone: [
          {
            guard: 'isNew',
            target: 'pausing',
            actions: assign(({ context, event }) => ({
              seen: event.output,
              changes: context.changes + 1,
              failures: 0,
            })),
          },
          { target: 'pausing', actions: assign({ failures: 0 }) },
        ],
        onError: {
          target: 'pausing',
          actions: assign({ failures: ({ context }) => context.failures + 1 }),
        },
      },
    },
    pausing: { after: { pause: 'looking' } },
    stopped: { type: 'final' },
  },
});

/** Looks at a page again and again, for years if need be, and counts how often it has changed. */
export const poller = defineActor('poller', { machine, timeout: { look: 10_000 } });
