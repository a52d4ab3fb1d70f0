import { assign, emit, enqueueActions, fromTransition, log, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

conform('enqueueActions', [
  defineCase({
    name: 'enqueueActions, with emit, log, raise and checks',
    machine: () =>
      setup({
        types: {
          context: {} as { n: number },
          events: {} as { type: 'GO' } | { type: 'INNER' },
          emitted: {} as { type: 'told'; n: number },
        },
        actions: { one: note, two: note },
        guards: { big: ({ context }) => context.n > 1 },
      }).createMachine({
        context: { n: 0 },
        on: {
          GO: {
            actions: enqueueActions(({ enqueue, check, context }) => {
              enqueue('one');
              enqueue.assign({ n: context.n + 1 });
              enqueue.emit({ type: 'told', n: context.n });
              if (check('big')) enqueue('two');
              enqueue.raise({ type: 'INNER' });
            }),
          },
          INNER: {
            actions: [log('inner'), emit(({ context }) => ({ type: 'told', n: context.n * 10 }))],
          },
        },
      }),
    steps: [{ send: { type: 'GO' } }, { send: { type: 'GO' } }, { send: { type: 'GO' } }],
  }),

  defineCase({
    name: 'children, messages and timers, enqueued under a condition',
    machine: () =>
      setup({
        types: {
          context: {} as { total: number; rang: number },
          events: {} as { type: 'GO' | 'RING' | 'STOP' },
        },
        actors: { sum: fromTransition((total: number) => total + 1, 0) },
        actions: {
          tell: enqueueActions(({ enqueue }, times: number) => {
            for (let n = 0; n < times; n++) enqueue.sendTo('sum', { type: 'ADD' });
          }),
        },
      }).createMachine({
        context: { total: 0, rang: 0 },
        on: {
          GO: {
            actions: enqueueActions(({ enqueue, context }) => {
              if (context.rang > 0) return;
              enqueue.spawnChild('sum', { id: 'sum', syncSnapshot: true });
              enqueue({ type: 'tell', params: 2 });
              enqueue.raise({ type: 'RING' }, { delay: 50, id: 'bell' });
            }),
          },
          RING: { actions: assign({ rang: ({ context }) => context.rang + 1 }) },
          STOP: {
            actions: enqueueActions(({ enqueue }) => {
              enqueue.cancel('bell');
              enqueue.stopChild('sum');
            }),
          },
          'xstate.snapshot.sum': {
            actions: assign({
              total: ({ event }) =>
                (event as unknown as { snapshot: { context: number } }).snapshot.context,
            }),
          },
        },
      } as never) as never,
    steps: [
      { send: { type: 'GO' } },
      { advance: 20 },
      { send: { type: 'STOP' } },
      { advance: 100 },
    ],
  }),
]);
