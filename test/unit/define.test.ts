import { describe, expect, test } from 'vitest';
import {
  type AnyStateMachine,
  assign,
  createActor,
  createMachine,
  enqueueActions,
  fromCallback,
  fromPromise,
  raise,
  setup,
  spawnChild,
} from 'xstate';
import { defineActor, isActorType } from '../../src/actors/define.ts';

const work = fromPromise(async () => 1);
const machine = setup({ actors: { work } }).createMachine({
  initial: 'a',
  states: { a: { invoke: { src: 'work', onDone: 'b' } }, b: {} },
});

const endless: { self?: object } = {};
endless.self = endless;

function refusal(define: () => unknown): { code: string; message: string } {
  try {
    define();
  } catch (error) {
    return error as { code: string; message: string };
  }
  throw new Error('it was not refused');
}

test('a definition keeps what it was given, and leaves the machine alone', () => {
  const type = defineActor('order', {
    machine,
    version: '2',
    retry: { work: { attempts: 3 } },
    timeout: { '*': 1_000 },
  });
  expect(type).toMatchObject({ name: 'order', version: '2', retry: { work: { attempts: 3 } } });
  expect(isActorType(type)).toBe(true);
  expect(isActorType({ name: 'order', machine })).toBe(false);
  expect(() => Object.assign(type, { version: '3' })).toThrow();
  const actor = createActor(machine).start();
  expect(actor.getSnapshot().value).toBe('a');
  actor.stop();
});

test('the version is what is given, else the machine’s own, else 1', () => {
  expect(defineActor('a', { machine }).version).toBe('1');
  expect(defineActor('a', { machine: createMachine({ version: '7.1' }) }).version).toBe('7.1');
  expect(
    defineActor('a', { machine: createMachine({ version: '7.1' }), version: '8' }).version,
  ).toBe('8');
});

test('fields of the input that actors can be found by are kept', () => {
  expect(defineActor('a', { machine }).searchable).toEqual([]);
  expect(defineActor('a', { machine, searchable: ['customerId'] }).searchable).toEqual([
    'customerId',
  ]);
});

describe('refused, with the place and the cure:', () => {
  test.each<[string, unknown, RegExp]>([
    ['a text', 'customerId', /searchable: \['customerId'\]/],
    ['a path', ['customer.id'], /"customer.id" cannot name a field.*top of the input/],
    ['an empty name', [''], /cannot name a field/],
    ['a number', [7], /cannot name a field/],
    ['a field twice', ['a', 'b', 'a'], /named twice/],
    ['too many', ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'], /9 fields.*at most 8/],
  ])('searchable: %s', (_what, searchable, words) => {
    const options = { machine, searchable } as unknown as { machine: typeof machine };
    const { code, message } = refusal(() => defineActor('order', options));
    expect(code).toBe('bad_definition');
    expect(message).toMatch(words);
    expect(message).toMatch(/^Actor type order, searchable: /);
  });

  test.each(['', 'a.b', 'a b', 'ü', 'x'.repeat(129), 'a*', '>'])('the name %j', (name) => {
    expect(refusal(() => defineActor(name, { machine }))).toMatchObject({ code: 'bad_subject' });
  });

  test.each(['', ' ', 'a b', 'ü', 'x'.repeat(65)])('the version %j', (version) => {
    expect(refusal(() => defineActor('a', { machine, version }))).toMatchObject({
      code: 'bad_definition',
    });
  });

  test.each([
    ['no machine', {} as never, /createMachine/],
    ['logic that is no machine', work as never, /createMachine/],
    [
      'a context that holds a function',
      createMachine({ context: { list: [{ f: () => 1 }] } as never }),
      /initial context: context\.list\[0\]\.f is a function/,
    ],
    [
      'spawnChild of logic in place',
      createMachine({ entry: spawnChild(work) as never }),
      /state #\(machine\): spawnChild is given logic in place.*Give the logic a name/,
    ],
    [
      'spawnChild in a named action',
      setup({ actions: { go: spawnChild(work as never) as never } }).createMachine({ entry: 'go' }),
      /action go: spawnChild is given logic in place/,
    ],
    [
      'spawnChild deep down, on an edge',
      createMachine({
        initial: 'a',
        states: {
          a: {
            initial: 'b',
            states: { b: { on: { GO: { actions: spawnChild(work) as never } } } },
          },
        },
      }),
      /state #\(machine\)\.a\.b: spawnChild/,
    ],
    [
      'an invoke without an implementation',
      createMachine({ invoke: { src: 'nobody' } }),
      /actor "nobody" has no implementation.*machine\.provide/,
    ],
    [
      'two invokes of one id',
      setup({ actors: { work } }).createMachine({
        invoke: [
          { src: 'work', id: 'w' },
          { src: 'work', id: 'w' },
        ],
      }),
      /state #\(machine\): two invokes have the id "w".*Give each an id/,
    ],
    [
      'an event of Perdure’s own',
      createMachine({ on: { 'perdure.cancel': {} } }),
      /event "perdure.cancel" is Perdure's own.*Call it something/,
    ],
    [
      'an invoke of logic of one’s own',
      createMachine({ invoke: { src: { transition: (s: unknown) => s } as never } }),
      /is no logic of XState's own/,
    ],
    [
      'an invoke of a machine that could not survive a crash',
      setup({ actors: { child: createMachine({ invoke: { src: 'nobody' } }) } }).createMachine({
        invoke: { src: 'child' },
      }),
      /actor "nobody" has no implementation/,
    ],
    [
      'an event of XState’s own',
      createMachine({ initial: 'a', states: { a: { on: { 'xstate.after.5.x': {} } } } }),
      /state #\(machine\)\.a: event "xstate\.after\.5\.x" is XState's own.*Use after/,
    ],
    [
      'raising an event of Perdure’s own',
      createMachine({ entry: raise({ type: 'perdure.cancel' }) }),
      /state #\(machine\): raises "perdure\.cancel"/,
    ],
    [
      'one id for invokes of a state and one in it',
      setup({ actors: { work } }).createMachine({
        id: 'm',
        invoke: { src: 'work', id: 'w' },
        initial: 'a',
        states: { a: { invoke: { src: 'work', id: 'w' } } },
      }),
      /state #m\.a: the id "w" is that of an invoke of state #m, too, and both can run at once/,
    ],
    [
      'one id for invokes of two regions',
      setup({ actors: { work } }).createMachine({
        id: 'm',
        type: 'parallel',
        states: {
          a: { initial: 'x', states: { x: { invoke: { src: 'work', id: 'w' } } } },
          b: { initial: 'x', states: { x: { invoke: { src: 'work', id: 'w' } } } },
        },
      }),
      /state #m\.b\.x: the id "w" is that of an invoke of state #m\.a\.x/,
    ],
    [
      'spawn of logic in place, in assign',
      createMachine({
        entry: assign({ child: ({ spawn }) => spawn(fromPromise(async () => 1) as never) }),
      }),
      /state #\(machine\): spawn is given logic in place \(fromPromise\).*Give the logic a name/,
    ],
    [
      'spawn of logic in place, in a named action of enqueueActions',
      setup({
        actions: {
          go: enqueueActions(({ enqueue }) => {
            enqueue.spawnChild(fromCallback(() => {}) as never);
          }),
        },
      }).createMachine({ entry: 'go' }),
      /action go: spawn is given logic in place \(fromCallback\)/,
    ],
    [
      'an input of an invoke that holds a class instance',
      setup({ actors: { work } }).createMachine({
        invoke: { src: 'work', id: 'w', input: { at: new URL('http://x.y') } as never },
      }),
      /state #\(machine\): input of w\.at is an instance of URL.*Give an input of plain data/,
    ],
    [
      'an input of spawnChild that holds a symbol',
      setup({ actors: { work } }).createMachine({
        entry: spawnChild('work', { input: { s: Symbol('s') } as never }),
      }),
      /input of spawnChild\.s is a symbol/,
    ],
    [
      'an event that is sent and holds a function',
      createMachine({ entry: raise({ type: 'X', f: () => 1 } as never, { delay: 5 }) }),
      /an event that is sent\.f is a function.*Send plain data/,
    ],
    [
      'an output that contains itself',
      createMachine({
        initial: 'a',
        states: { a: { type: 'final', output: endless } },
      }),
      /state #\(machine\)\.a: output.* contains itself/,
    ],
    [
      'a context that contains itself',
      createMachine({ context: endless }),
      /initial context: context.* contains itself/,
    ],
  ])('%s', (_, given, words) => {
    const { code, message } = refusal(() =>
      defineActor('thing', { machine: given as AnyStateMachine }),
    );
    expect(code).toBe('bad_definition');
    expect(message).toMatch(words);
    expect(message).toMatch(/thing/);
  });

  test.each([
    [
      'a retry of nobody',
      { retry: { nobody: { attempts: 2 } } },
      /no invoke with src "nobody".*Known: \*, work/,
    ],
    ['a timeout of nobody', { timeout: { nobody: 5 } }, /no invoke with src "nobody"/],
    ['no attempts', { retry: { work: { attempts: 0 } } }, /attempts/],
    ['half an attempt', { retry: { work: { attempts: 1.5 } } }, /attempts/],
    ['no time', { timeout: { work: 0 } }, /above 0/],
    ['time that is no number', { timeout: { work: Number.NaN } }, /above 0/],
    ['more time than a timer can wait', { timeout: { work: 2 ** 31 } }, /2\^31/],
  ])('%s', (_, given, words) => {
    const { code, message } = refusal(() => defineActor('thing', { machine, ...given }));
    expect(code).toBe('bad_definition');
    expect(message).toMatch(words);
  });
});

test('what can survive is taken: promises in place, a context built by a function, spawning by name', () => {
  const fine = setup({ actors: { work } }).createMachine({
    context: () => ({ at: new Date(0), big: 1n, map: new Map() }),
    invoke: { src: fromPromise(async () => 2) },
    entry: [
      spawnChild('work'),
      assign({ at: new Date(1) }),
      enqueueActions(({ enqueue }) => enqueue.spawnChild('work')),
    ],
  });
  expect(() => defineActor('fine', { machine: fine })).not.toThrow();
  expect(() =>
    defineActor('fine', { machine: fine, retry: { '*': { attempts: 2 } } }),
  ).not.toThrow();
});

test('what looks like a refusal and is none: other names, other times, words in a comment', () => {
  const fine = setup({ actors: { work } }).createMachine({
    id: 'm',
    initial: 'a',
    on: {
      'xstate.done.actor.*': {},
      'xstate.error.actor.w': {},
      'xstate.snapshot.w': {},
      GO: {
        actions: assign(({ spawn }) => {
          // Not spawn(fromPromise(…)): that would be refused.
          spawn('work');
          return {};
        }),
      },
    },
    states: {
      // One after the other, they may have one id.
      a: { invoke: { src: 'work', id: 'w' }, after: { 5: 'b' } },
      b: { invoke: { src: 'work', id: 'w' }, entry: raise({ type: 'X' }, { delay: 5 }) },
    },
  });
  expect(() => defineActor('fine', { machine: fine })).not.toThrow();
});

test('logic invoked in place is taken, with a warning of what renaming the state would do', () => {
  const { warnings } = defineActor('placed', {
    machine: createMachine({ invoke: { src: work } }),
  });
  expect(warnings).toEqual([
    expect.stringMatching(/placed, state #\(machine\).*xstate\.invoke\.0.*give it a name/),
  ]);
});
