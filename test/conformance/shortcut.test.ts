import { describe, expect, test } from 'vitest';
import {
  type AnyActorRef,
  type AnyMachineSnapshot,
  type AnyStateMachine,
  assign,
  cancel,
  type EventObject,
  emit,
  enqueueActions,
  fromCallback,
  fromPromise,
  log,
  raise,
  sendTo,
  setup,
} from 'xstate';
import { nodesOf } from '../../src/actors/inside.ts';
import { beginShortly, isFollowed, takeShortcut } from '../../src/actors/microstep.ts';
import { createStepScope, type StepScope } from '../../src/actors/scope.ts';
import { randomFrom } from '../support/cluster.ts';
import { seed } from '../support/services.ts';
import { build } from './random/build.ts';
import { writeCase } from './random/write.ts';

// What a step comes to is the same, whoever computes it: each step is computed twice here, from the same snapshot, and what
// both make of it is compared down to the parameters of every action.

const newScope = () => createStepScope({ type: 'thing', id: 'x' });

interface Made {
  snapshot: unknown;
  actions: unknown[];
  edges: string[];
  book: number;
}

function made(snapshot: AnyMachineSnapshot, scope: StepScope): Made {
  const { status, output, error, context, value, tags, children, historyValue } = snapshot;
  const { actions, edges, book } = scope.collected;
  return {
    snapshot: {
      ...{ status, output, error, context, value, historyValue },
      machine: snapshot.machine.id,
      tags: [...tags],
      // What has ended XState leaves in the order in which it was left.
      nodes: nodes(snapshot),
      children: Object.entries(children).map(([id, child]) => [id, shown(child as AnyActorRef)]),
    },
    actions: actions.map(({ type, params, info, exec }) => ({
      type,
      params: plain(params),
      // Of a built-in action nothing but its parameters is looked at.
      ...(!type.startsWith('xstate.') && { exec, context: info.context, event: info.event }),
    })),
    edges,
    book,
  };
}

function nodes(snapshot: AnyMachineSnapshot): string[] {
  const ids = nodesOf(snapshot).map(({ id }) => id);
  return snapshot.status === 'done' ? ids.sort() : ids;
}

const isRef = (value: unknown): value is AnyActorRef =>
  typeof value === 'object' && value !== null && 'sessionId' in value;

function shown(child: AnyActorRef | undefined): unknown {
  if (!child) return child;
  const { id, src, sessionId, systemId } = child as AnyActorRef & {
    src: unknown;
    systemId?: string;
  };
  const { _snapshot, _syncSnapshot } = child as unknown as Record<string, unknown>;
  return { id, src, sessionId, systemId, snapshot: { ...(_snapshot as object) }, _syncSnapshot };
}

const plain = (params: unknown): unknown =>
  isRef(params)
    ? shown(params)
    : typeof params === 'object' && params !== null && !Array.isArray(params)
      ? Object.fromEntries(
          Object.entries(params).map(([key, value]) => [key, isRef(value) ? shown(value) : value]),
        )
      : params;

function bothFirst(machine: AnyStateMachine, input: unknown) {
  const ours = newScope();
  ours.begin(0, undefined, 1);
  const short = beginShortly(machine, input, ours.scope, ours.collected);
  const theirs = newScope();
  theirs.begin(0, undefined, 1);
  const long = machine.getInitialSnapshot(theirs.scope, input as never) as AnyMachineSnapshot;
  return { short: short && made(short, ours), long: made(long, theirs), snapshot: long };
}

function bothNext(
  machine: AnyStateMachine,
  before: AnyMachineSnapshot,
  event: EventObject,
  book: number,
) {
  const ours = newScope();
  ours.begin(book, undefined, 2, before);
  const short = takeShortcut(machine, before, event, ours.scope, ours.collected);
  const shortMade = short && made(short, ours);
  if (!short) expect(ours.collected).toEqual({ actions: [], edges: [], book });
  const theirs = newScope();
  theirs.begin(book, undefined, 2, before);
  const long = machine.transition(before, event, theirs.scope) as AnyMachineSnapshot;
  return { short: shortMade, long: made(long, theirs), snapshot: long };
}

const nothing = () => {};

/** Undefined when XState throws; then there must be no short way. */
function bothUnlessThrown(...given: Parameters<typeof bothNext>) {
  const [machine, before, event, book] = given;
  try {
    return bothNext(...given);
  } catch (error) {
    const scope = newScope();
    scope.begin(book, undefined, 2, before);
    const short = takeShortcut(machine, before, event, scope.scope, scope.collected);
    expect(short && String(error)).toBeUndefined();
    return undefined;
  }
}

/** XState 5.31 throws what it keeps in the snapshot since. */
function bothFirstUnlessThrown(machine: AnyStateMachine) {
  try {
    return bothFirst(machine, undefined);
  } catch (error) {
    const scope = newScope();
    scope.begin(0, undefined, 1);
    const short = beginShortly(machine, undefined, scope.scope, scope.collected);
    expect(short && String(error)).toBeUndefined();
    return undefined;
  }
}

const works = fromPromise<string, { n: number }>(() => new Promise(() => {}));
const hears = fromCallback(() => {});

const everything = setup({
  types: {
    context: {} as { n: number; trail: string[]; ref?: unknown },
    input: {} as { n: number } | undefined,
    events: {} as { type: string; by?: number },
  },
  actors: { works, hears },
  guards: { above: ({ context }, least: number) => context.n > least },
  delays: { soon: ({ context }) => 100 + context.n },
  actions: {
    note: () => {},
    add: assign({ n: ({ context, event }) => context.n + (event.by ?? 1) }),
    trail: assign(({ context }, what: string) => ({ trail: [...context.trail, what] })),
  },
}).createMachine({
  id: 'everything',
  context: ({ input }) => ({ n: input?.n ?? 0, trail: [] }),
  initial: 'a',
  entry: 'note',
  exit: { type: 'trail', params: 'left' },
  output: ({ context, event, self }) => ({ n: context.n, of: event.type, by: self.id, event }),
  on: {
    ROOT: { actions: 'add' },
    TO_A: '.a',
    RESTART: { target: '.a', reenter: true },
    END: '.end',
    SAYS_SO: { target: '.endsWith', actions: 'add' },
    DEEP: '#deep',
    LOG: { actions: [log('label'), emit({ type: 'told' }), cancel('later')] },
    LATER: { actions: raise({ type: 'ROOT' }, { id: 'later', delay: 'soon' }) },
    AT_ONCE: { actions: raise({ type: 'ROOT' }, { delay: () => undefined as never }) },
    RAISED: { actions: raise({ type: 'ROOT' }) },
    TO_SELF: { actions: sendTo(({ self }) => self, { type: 'ROOT' }) },
    SPAWNS: {
      actions: assign({ ref: ({ spawn }) => spawn('hears', { id: 'spawned' }) }),
    },
    ENQUEUES: {
      actions: enqueueActions(({ enqueue, check }) => {
        enqueue.assign({ n: ({ context }) => context.n + 7 });
        if (check({ type: 'above', params: 3 })) enqueue({ type: 'trail', params: 'above' });
        enqueue(nothing);
      }),
    },
    ENQUEUES_RAISE: { actions: enqueueActions(({ enqueue }) => enqueue.raise({ type: 'ROOT' })) },
    THROWS: {
      actions: assign(() => {
        throw new Error('no');
      }),
    },
    '*': { actions: { type: 'trail', params: ({ event }) => `* ${event.type}` } },
  },
  states: {
    a: {
      id: 'a',
      tags: ['resting', 'first'],
      initial: { target: 'one', actions: { type: 'trail', params: 'a begins' } },
      entry: [{ type: 'trail', params: 'enter a' }, 'note'],
      exit: [() => {}, { type: 'trail', params: 'exit a' }],
      invoke: { src: 'hears', id: 'ear' },
      on: {
        OUT: 'b',
        SAME: { target: 'a', actions: 'add' },
        AGAIN: { target: 'a', reenter: true, actions: 'add' },
        INNER: '.two',
        INNER_AGAIN: { target: '.two', reenter: true },
        FORBIDDEN: undefined,
      },
      states: {
        one: {
          tags: 'first',
          invoke: {
            src: 'works',
            id: 'work',
            input: ({ context }) => ({ n: context.n }),
            onDone: { target: 'two', actions: { type: 'trail', params: 'done' } },
            onError: { target: '#b' },
          },
          after: { 500: 'two', soon: { guard: { type: 'above', params: 5 }, target: '#b' } },
          on: {
            NEXT: [{ guard: { type: 'above', params: 2 }, target: '#deep' }, { target: 'two' }],
          },
        },
        two: { entry: 'add', on: { BACK: 'one', OVER: 'over' } },
        over: { type: 'final' },
      },
      onDone: 'b',
    },
    b: {
      id: 'b',
      tags: 'second',
      entry: [emit({ type: 'came' }), 'add'],
      exit: [emit({ type: 'left' }), sendTo(({ self }) => self, { type: 'ROOT' })],
      initial: 'deeper',
      invoke: { src: 'works', id: 'watched', input: { n: 1 }, onSnapshot: { actions: 'note' } },
      states: {
        deeper: { initial: 'deepest', states: { deepest: { id: 'deep', on: { UP: '#b' } } } },
      },
    },
    end: { type: 'final', entry: { type: 'trail', params: 'end' } },
    endsWith: { type: 'final', output: ({ context }) => context.n },
    settles: { always: 'a' },
  },
});

const EVENTS: EventObject[] = [
  ...['ROOT', 'TO_A', 'RESTART', 'END', 'SAYS_SO', 'DEEP', 'LOG', 'LATER', 'AT_ONCE', 'RAISED'],
  ...['TO_SELF', 'SPAWNS', 'ENQUEUES', 'ENQUEUES_RAISE', 'UNKNOWN', 'OUT', 'SAME', 'AGAIN'],
  ...['INNER', 'INNER_AGAIN', 'NEXT', 'BACK', 'OVER', 'UP'],
  ...['xstate.after.500.everything.a.one', 'xstate.after.soon.everything.a.one'],
].map((type) => ({ type }));
const LEFT = ['AT_ONCE', 'ENQUEUES_RAISE', 'OVER', 'RAISED', 'SPAWNS'];
const DONE = { type: 'xstate.done.actor.work', output: 'x', actorId: 'work' } as EventObject;
const FAILED = { type: 'xstate.error.actor.work', error: 'x', actorId: 'work' } as EventObject;

describe('a step the short way is the step XState makes', () => {
  test('the first', () => {
    const { short, long } = bothFirst(everything, { n: 4 });
    expect(short).toEqual(long);
  });

  test('every event in every state the machine comes to', () => {
    const first = bothFirst(everything, { n: 1 });
    let places = [{ snapshot: first.snapshot, book: first.long.book }];
    const seen = new Set<string>();
    const left = new Set<string>();
    for (let round = 0; round < 3; round++) {
      const next: typeof places = [];
      for (const { snapshot, book } of places)
        for (const event of [...EVENTS, DONE, FAILED]) {
          const both = bothNext(everything, snapshot, event, book);
          const say = `${JSON.stringify(snapshot.value)} ${event.type}`;
          if (both.short) expect(both.short, say).toEqual(both.long);
          else left.add(event.type);
          const key = JSON.stringify([both.snapshot.value, Object.keys(both.snapshot.children)]);
          if (both.snapshot.status === 'active' && !seen.has(key)) {
            seen.add(key);
            next.push({ snapshot: both.snapshot, book: both.long.book });
          }
        }
      places = next;
    }
    expect(seen.size).toBeGreaterThan(5);
    // What is raised at once, spawned in between, or the end of an inner state.
    expect([...left].sort()).toEqual(LEFT);
  });

  test('what it throws is thrown by XState', () => {
    const { snapshot, long } = bothFirst(everything, undefined);
    expect(() => bothNext(everything, snapshot, { type: 'THROWS' }, long.book)).toThrow('no');
  });

  test('machines made at random', () => {
    const first = seed();
    let machines = 0;
    let taken = 0;
    for (let n = 0; n < 400; n++) {
      const random = randomFrom(first + n);
      const machine = build(writeCase(random).machine);
      const say = `seed ${first + n}`;
      const begun = bothFirstUnlessThrown(machine);
      if (!begun) continue;
      if (begun.short) expect(begun.short, say).toEqual(begun.long);
      let { snapshot } = begun;
      let { book } = begun.long;
      if (begun.short) machines++;
      for (let at = 0; at < 30 && snapshot.status === 'active'; at++) {
        const types = machine.events;
        const type = types[Math.floor(random() * types.length)] ?? 'NOTHING';
        const id = /^xstate\.(?:done|error)\.actor\.(.*)$/.exec(type)?.[1];
        const event = { type, ...(id !== undefined && { output: 'x', error: 'x', actorId: id }) };
        const both = bothUnlessThrown(machine, snapshot, event, book);
        if (!both) break;
        if (both.short) {
          taken++;
          expect(both.short, `${say}, ${JSON.stringify(snapshot.value)} ${type}`).toEqual(
            both.long,
          );
        }
        snapshot = both.snapshot;
        book = both.long.book;
      }
    }
    expect(machines).toBeGreaterThan(2);
    expect(taken).toBeGreaterThan(200);
  });
});

test.each([
  ['5.30.2', false],
  ['5.31.0', true],
  ['5.33.3', true],
  ['5.34.0', false],
  ['5.310.0', false],
  ['6.0.0', false],
])('whether the steps of XState %s are followed: %s', (version, answer) => {
  expect(isFollowed(version)).toBe(answer);
});
