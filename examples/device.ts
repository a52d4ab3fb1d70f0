import { defineActor, invocation } from 'perdure';
import { assign, fromCallback, sendTo, setup } from 'xstate';

type FromDevice = { type: 'READING'; celsius: number } | { type: 'DONE'; command: string };
type ToDevice = { type: 'COMMAND'; command: string };

/** Stands for a real line to a device. It is opened again wherever the actor goes on after a crash. */
const session = fromCallback<ToDevice, { device: string }>(({ input, sendBack, receive, self }) => {
  console.log(`${input.device}: online (${invocation(self).idempotencyKey})`);
  const timer = setInterval(() => sendBack({ type: 'READING', celsius: 21 }), 200);
  // At least once: a command that was under way when the node died comes again.
  receive(({ command }) => sendBack({ type: 'DONE', command }));
  return () => {
    clearInterval(timer);
    console.log(`${input.device}: offline`);
  };
});

const machine = setup({
  types: {
    input: {} as { device: string },
    context: {} as { device: string; readings: number; done: string[] },
    events: {} as FromDevice | ToDevice | { type: 'CLOSE' },
  },
  actors: { session },
}).createMachine({
  context: ({ input }) => ({ ...input, readings: 0, done: [] }),
  initial: 'online',
  states: {
    online: {
      invoke: { id: 'session', src: 'session', input: ({ context }) => context },
      on: {
        READING: { actions: assign({ readings: ({ context }) => context.readings + 1 }) },
        COMMAND: { actions: sendTo('session', ({ event }) => event) },
        DONE: {
          guard: ({ context, event }) => !context.done.includes(event.command),
          actions: assign({ done: ({ context, event }) => [...context.done, event.command] }),
        },
        CLOSE: 'closed',
      },
    },
    closed: { type: 'final' },
  },
  output: ({ context }) => ({ readings: context.readings, done: context.done }),
});

/** A session with a device: it tells, and is told. */
export const device = defineActor('device', { machine });
