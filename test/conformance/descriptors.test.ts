import { assign, createMachine, setup } from 'xstate';
import { defineCase } from './support/case.ts';
import { conform } from './support/compare.ts';

const note = () => {};

conform('wildcards and partial descriptors', [
  defineCase({
    name: 'wildcards and partial descriptors',
    machine: () =>
      createMachine({
        context: { took: [] as string[] },
        initial: 'a',
        states: {
          a: {
            on: {
              'mouse.click': {
                actions: assign({ took: ({ context }) => [...context.took, 'click'] }),
              },
              'mouse.*': {
                actions: assign({ took: ({ context }) => [...context.took, 'mouse'] }),
              },
              '*': { actions: assign({ took: ({ context }) => [...context.took, 'any'] }) },
            },
          },
        },
      } as never) as never,
    steps: [
      { send: { type: 'mouse.click' } },
      { send: { type: 'mouse.move.left' } },
      { send: { type: 'mouse' } },
      { send: { type: 'key' } },
    ],
  }),

  defineCase({
    name: 'a wildcard inside goes ahead of an exact one outside; a forbidden event stays forbidden',
    machine: () =>
      setup({ actions: { inner: note, outer: note, any: note } }).createMachine({
        initial: 'a',
        on: { 'order.paid': { actions: 'outer' }, '*': { actions: 'any' } },
        states: {
          a: { on: { 'order.*': { actions: 'inner' }, 'order.lost': {}, LEAVE: 'b' } },
          b: {},
        },
      } as never) as never,
    steps: ['order.paid', 'order.lost', 'order', 'LEAVE', 'order.paid', 'order.sent'].map(
      (type) => ({
        send: { type },
      }),
    ),
  }),
]);
