import * as restate from '@restatedev/restate-sdk';
import { fromPromise, xstate } from '@restatedev/xstate';
import { assign, setup } from 'xstate';
import { type Client, inFlight, type Peer, type Place, type Worker } from '../peer.ts';
import { clientOf, Ingress } from './restateIngress.ts';
import { versionOf } from './versions.ts';

export const peers: readonly Peer[] = [
  {
    name: 'restate + xstate',
    servers: ['restate'],
    versions: () =>
      versionOf(
        '@restatedev/restate-server',
        '@restatedev/restate-sdk',
        '@restatedev/xstate',
        'xstate',
      ),
    settings: ['as restate; finalStateTTL not set'],
    caveats: [
      'the same machines as ours: an invocation for each transition and for each promise, the snapshot is kept, the history is that of the invocations',
      'its README calls it experimental',
    ],
    scale: 0.05,
    workloads: {
      noop: { units: 1 },
      flow: { units: 3 },
      events: { units: 1 },
      slow: { no: 'as restate' },
      // The timer is a delayed call, nothing waits in a handler.
      sleep: { units: 0, count: 5_000 },
    },
    workerFirst: true,
    worker,
    client,
  },
];

let units = 0;

const noop = setup({ actions: { count } }).createMachine({
  id: 'noop',
  initial: 'done',
  states: { done: { type: 'final', entry: 'count' } },
});

const flow = setup({
  types: {
    input: {} as { n: number },
    context: {} as { n: number; sum: number },
    output: {} as { sum: number },
  },
  actors: {
    add: fromPromise(async ({ input }: { input: { n: number; sum: number } }) => {
      units++;
      return input.sum + input.n;
    }),
  },
}).createMachine({
  id: 'flow',
  context: ({ input }) => ({ n: input.n, sum: 0 }),
  initial: 'one',
  states: {
    one: {
      invoke: {
        src: 'add',
        id: 'one',
        input: ({ context }) => context,
        onDone: { target: 'two', actions: assign({ sum: ({ event }) => event.output }) },
      },
    },
    two: {
      invoke: {
        src: 'add',
        id: 'two',
        input: ({ context }) => context,
        onDone: { target: 'three', actions: assign({ sum: ({ event }) => event.output }) },
      },
    },
    three: {
      invoke: {
        src: 'add',
        id: 'three',
        input: ({ context }) => context,
        onDone: { target: 'done', actions: assign({ sum: ({ event }) => event.output }) },
      },
    },
    done: { type: 'final' },
  },
  output: ({ context }) => ({ sum: context.sum }),
});

const counter = setup({
  types: { context: {} as { count: number }, events: {} as { type: 'ADD'; by: number } },
  actions: { count },
}).createMachine({
  id: 'counter',
  context: { count: 0 },
  on: {
    ADD: {
      actions: [assign({ count: ({ context, event }) => context.count + event.by }), 'count'],
    },
  },
});

const sleep = setup({}).createMachine({
  id: 'sleep',
  initial: 'asleep',
  states: { asleep: { after: { 3600000: 'done' } }, done: { type: 'final' } },
});

function count(): void {
  units++;
}

async function worker(place: Place): Promise<Worker> {
  const services = [
    xstate('noop', noop),
    xstate('flow', flow),
    xstate('counter', counter),
    xstate('sleep', sleep),
  ];
  await restate.serve({ services, port: place.restate.endpoints[place.worker] as number });
  await new Ingress(place).register(1);
  return { units: () => units, stop: async () => {} };
}

async function client(place: Place): Promise<Client> {
  const ingress = new Ingress(place);
  const { prefix } = place;
  const machine = place.kind === 'events' ? 'counter' : place.kind;
  const put = (i: number, query: string) =>
    ingress.call(`/${machine}/${prefix}${i}/create/send${query}`, { input: { n: i } });
  let asked = 0;
  return clientOf(place, ingress, put, {
    // Its first answer has the state after all that happens at once: the final one.
    one: async () => {
      await ingress.call(`/noop/${prefix}one${asked++}/create`, {});
    },
    async create(count) {
      await inFlight(count, (i) => ingress.call(`/counter/${prefix}${i}/create`, {}));
    },
    send: (count, instances) =>
      inFlight(count, (i) =>
        ingress.call(`/counter/${prefix}${i % instances}/send/send`, {
          event: { type: 'ADD', by: 1 },
        }),
      ),
  });
}
