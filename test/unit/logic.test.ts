import { expect, test } from 'vitest';
import {
  createMachine,
  fromCallback,
  fromEventObservable,
  fromObservable,
  fromPromise,
  fromTransition,
} from 'xstate';
import { isPromiseLogic } from '../../src/actors/logic.ts';

// XState puts no mark on what its creators make; these pin how the engine tells them apart.

const observable = () => ({ subscribe: () => ({ unsubscribe() {} }) }) as never;

test.each([
  ['an async function', fromPromise(async () => 1)],
  ['a function that throws', fromPromise(() => Promise.reject(new Error('x')))],
  ['a promise with input', fromPromise<number, { n: number }>(async ({ input }) => input.n)],
])('fromPromise is promise logic: %s', (_, logic) => {
  expect(isPromiseLogic(logic)).toBe(true);
  // The answer is remembered and stays the same.
  expect(isPromiseLogic(logic)).toBe(true);
});

test.each([
  ['fromCallback', fromCallback(() => {})],
  ['fromObservable', fromObservable(observable)],
  ['fromEventObservable', fromEventObservable(observable)],
  ['fromTransition', fromTransition((state: number) => state + 1, 0)],
  [
    'fromTransition that answers to everything',
    fromTransition((state: object, event) => ({ ...state, ...event }), {}),
  ],
  ['a machine', createMachine({})],
  ['a function', () => 1],
  ['a promise', Promise.resolve(1)],
  ['a string', 'work'],
  ['nothing', undefined],
  ['null', null],
  ['an object that looks a little like it', { config: {}, transition: () => ({}), start() {} }],
  [
    'logic whose transition throws',
    {
      config: {},
      getInitialSnapshot() {},
      start() {},
      transition() {
        throw new Error('no');
      },
    },
  ],
])('%s is not', (_, logic) => {
  expect(isPromiseLogic(logic)).toBe(false);
});

test('asking runs nothing', () => {
  let ran = 0;
  isPromiseLogic(
    fromPromise(async () => {
      ran++;
    }),
  );
  isPromiseLogic(fromCallback(() => void ran++));
  expect(ran).toBe(0);
});
