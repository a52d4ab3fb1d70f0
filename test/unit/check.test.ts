import { describe, expect, test } from 'vitest';
import { type AnyStateMachine, createMachine, fromPromise, raise, setup } from 'xstate';
import { defineActor } from '../../src/actors/define.ts';
import { machineFindings } from '../../src/inspect/machineFindings.ts';

const never = fromPromise(() => new Promise(() => {}));

const find = (machine: AnyStateMachine) =>
  machineFindings(defineActor('order', { machine, version: '3' })).map(
    ({ level, place, problem }) => `${level} ${place} ${problem.replace(/:.*/, '')}`,
  );

const plain = (config: Parameters<typeof createMachine>[0]) =>
  find(createMachine({ id: 'm', ...config } as never));

describe('what is said of a machine', () => {
  test('names type, version, place and cure', () => {
    const machine = createMachine({ id: 'm', initial: 'a', states: { a: {} } });
    expect(machineFindings(defineActor('order', { machine, version: '3' }))).toEqual([
      {
        level: 'error',
        type: 'order',
        version: '3',
        place: '#m.a',
        problem: 'is a dead end: it is not final, and nothing leads out of it or happens in it',
        cure: "Make it final (type: 'final'), or give it a transition.",
      },
    ]);
  });

  test.each<[string, Parameters<typeof createMachine>[0]]>([
    [
      'events, after and always',
      {
        initial: 'a',
        states: {
          a: { on: { GO: 'b' } },
          b: { after: { 5: 'c' } },
          c: { always: 'd' },
          d: { type: 'final' },
        },
      },
    ],
    [
      'a target deep in another state, and what that state begins with',
      {
        initial: 'a',
        states: {
          a: { on: { GO: 'b.y' } },
          b: { initial: 'x', on: { BACK: 'a', AGAIN: '.x' }, states: { x: {}, y: {} } },
        },
      },
    ],
    [
      'what a state begins with, after one was entered deep',
      {
        initial: 'a',
        states: {
          a: { on: { DEEP: 'b.y', GO: 'b' } },
          b: { initial: 'x', on: { BACK: 'a' }, states: { x: {}, y: {} } },
        },
      },
    ],
    [
      'all regions of a parallel state',
      {
        initial: 'a',
        states: {
          a: { on: { GO: 'p.one.y' } },
          p: {
            type: 'parallel',
            onDone: 'end',
            states: {
              one: {
                initial: 'x',
                states: {
                  x: { on: { BACK: 'y' } },
                  y: { on: { NEXT: 'x', END: 'z' } },
                  z: { type: 'final' },
                },
              },
              two: { initial: 'x', states: { x: { type: 'final' } } },
            },
          },
          end: { type: 'final' },
        },
      },
    ],
    [
      'a history state',
      {
        initial: 'a',
        states: {
          a: { on: { GO: 'b.past', LEAP: 'c.past' } },
          b: { initial: 'x', states: { x: { on: { OUT: '#m.end' } }, past: { type: 'history' } } },
          c: {
            initial: 'x',
            states: {
              x: { on: { OUT: '#m.end' } },
              y: { on: { X: 'x' } },
              past: { type: 'history', target: 'y' },
            },
          },
          end: { type: 'final' },
        },
      },
    ],
    ['a state that only listens', { on: { PING: {} } }],
    [
      'a rest beside a region in which something happens',
      {
        type: 'parallel',
        states: {
          one: {},
          two: { initial: 'x', states: { x: { on: { Y: 'y' } }, y: { on: { X: 'x' } } } },
        },
      },
    ],
  ])('nothing, of %s', (_, config) => {
    expect(plain(config)).toEqual([]);
  });

  test('states that nothing leads to, the outermost ones', () => {
    const found = plain({
      initial: 'a',
      on: { PING: {} },
      states: { a: {}, lost: { initial: 'x', states: { x: { on: { GO: 'y' } }, y: {} } } },
    });
    expect(found).toEqual(['error #m.lost can never be reached']);
  });

  test('dead ends, also where only what cannot happen would lead out', () => {
    const found = plain({
      initial: 'a',
      states: {
        a: {
          initial: 'x',
          onDone: 'b',
          states: { x: { on: { GO: 'y', STOP: 'z' } }, y: {}, z: { type: 'final' } },
        },
        b: { type: 'final' },
      },
    });
    expect(found).toEqual(['error #m.a.y is a dead end']);
  });

  test('ends that cannot come, and what only they would lead to', () => {
    const found = plain({
      initial: 'a',
      states: {
        a: {
          initial: 'x',
          onDone: 'b',
          states: { x: { on: { GO: 'y' } }, y: { on: { GO: 'x' } } },
        },
        b: { type: 'final' },
      },
    });
    expect(found).toEqual([
      'error #m.b can never be reached',
      'error #m.a has an onDone that can never happen',
    ]);
    expect(
      plain({
        type: 'parallel',
        states: {
          a: {
            initial: 'x',
            onDone: 'b',
            states: {
              x: { on: { GO: 'y' } },
              y: { type: 'final' },
              // Final, and nothing leads there.
              z: { type: 'final' },
            },
          },
          b: { on: { GO: {} } },
        },
      }),
    ).toEqual(['error #m.a.z can never be reached']);
  });

  test('raised events that no state handles, wherever they are raised', () => {
    const machine = setup({
      types: { events: {} as { type: string } },
      actions: { shout: raise({ type: 'SHOUTED' }), whisper: raise({ type: 'mouse.up' }) },
    }).createMachine({
      id: 'm',
      initial: 'a',
      states: {
        a: {
          entry: [raise({ type: 'KNOWN' }), 'shout', raise({ type: 'LATE' }, { delay: 5 })],
          exit: raise(({ event }) => event),
          after: { 10: 'b' },
          on: { KNOWN: { target: 'b', actions: raise({ type: 'LOST' }) }, 'mouse.*': {} },
        },
        b: { type: 'final' },
      },
    });
    expect(find(machine)).toEqual([
      'error #m.a raises "LATE", which no state handles',
      'error #m.a raises "LOST", which no state handles',
      'error action shout raises "SHOUTED", which no state handles',
    ]);
    const hears = (on: object) =>
      plain({ initial: 'a', on, states: { a: { entry: raise({ type: 'ANY' }) as never } } });
    expect(hears({ '*': {} })).toEqual([]);
    expect(hears({ 'ANY.*': {} })).toEqual([]);
    expect(hears({ 'ANYTHING.*': {} })).toHaveLength(1);
  });

  test('ends of children that no state invokes', () => {
    const machine = setup({ actors: { never } }).createMachine({
      id: 'm',
      initial: 'a',
      states: {
        a: {
          invoke: { id: 'one', src: 'never' },
          on: { 'xstate.done.actor.one': 'a', 'xstate.error.actor.one': 'a' },
        },
      },
      on: { 'xstate.done.actor.two': {}, 'xstate.error.actor.*': {} },
    });
    expect(find(machine)).toEqual([
      'note #m handles "xstate.done.actor.two", and no state invokes "two"',
    ]);
  });

  test('invokes whose failure nobody hears of', () => {
    const machine = setup({ actors: { never } }).createMachine({
      id: 'm',
      initial: 'a',
      states: {
        a: { invoke: { id: 'one', src: 'never', onDone: 'b' } },
        b: { invoke: { id: 'two', src: 'never', onDone: 'c', onError: 'c' } },
        c: { invoke: { id: 'three', src: 'never' }, on: { 'xstate.error.actor.*': 'a' } },
      },
    });
    expect(find(machine)).toEqual(['note #m.a invoke one has no onError']);
  });
});
