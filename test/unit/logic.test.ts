import { expect, test } from 'vitest';
import {
  createMachine,
  fromCallback,
  fromEventObservable,
  fromObservable,
  fromPromise,
  fromTransition,
} from 'xstate';
import { kindOf } from '../../src/actors/logic.ts';

// XState puts no mark on what its creators make; these pin how the engine tells them apart.

const observable = () => ({ subscribe: () => ({ unsubscribe() {} }) }) as never;
const begin = { config() {}, getInitialSnapshot() {}, start() {} };

test.each([
  ['an async function', fromPromise(async () => 1), 'promise'],
  ['a function that throws', fromPromise(() => Promise.reject(new Error('x'))), 'promise'],
  ['with input', fromPromise<number, { n: number }>(async ({ input }) => input.n), 'promise'],
  ['fromCallback', fromCallback(() => {}), 'callback'],
  ['fromObservable', fromObservable(observable), 'observable'],
  ['fromEventObservable', fromEventObservable(observable), 'events'],
  ['fromTransition', fromTransition((state: number) => state + 1, 0), 'transition'],
  [
    'fromTransition that answers to everything',
    fromTransition((state: object, event) => ({ ...state, ...event }), {}),
    'transition',
  ],
  ['a machine', createMachine({}), 'machine'],
  ['a function', () => 1, 'unknown'],
  ['a promise', Promise.resolve(1), 'unknown'],
  ['a string', 'work', 'unknown'],
  ['nothing', undefined, 'unknown'],
  ['null', null, 'unknown'],
  ['an object that looks a little like it', { ...begin, transition: () => ({}) }, 'unknown'],
  [
    'logic whose transition throws',
    {
      ...begin,
      transition() {
        throw new TypeError('no');
      },
    },
    'unknown',
  ],
])('%s', (_, logic, kind) => {
  expect(kindOf(logic)).toBe(kind);
  // The answer is remembered and stays the same.
  expect(kindOf(logic)).toBe(kind);
});

test('asking runs nothing', () => {
  let ran = 0;
  kindOf(
    fromPromise(async () => {
      ran++;
    }),
  );
  kindOf(fromCallback(() => void ran++));
  kindOf(fromTransition(() => ran++, 0));
  kindOf(
    fromObservable(() => {
      ran++;
      return observable();
    }),
  );
  expect(ran).toBe(0);
});
