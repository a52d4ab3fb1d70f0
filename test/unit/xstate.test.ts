import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import {
  type AnyActorRef,
  type AnyStateMachine,
  and,
  assign,
  cancel,
  createActor,
  createEmptyActor,
  type EventObject,
  emit,
  enqueueActions,
  fromPromise,
  log,
  not,
  or,
  raise,
  SimulatedClock,
  sendTo,
  setup,
  spawnChild,
  stateIn,
  stopChild,
} from 'xstate';
import { defineActor } from '../../src/actors/define.ts';
import { createStepScope } from '../../src/actors/scope.ts';
import { ActorDriver, visible } from '../support/actorsDriver.ts';

// XState's own interpreter is the judge: whatever it makes of a machine, the engine must make of it, in memory and
// with a rehydration before every step. What fails here after an upgrade of XState says where its inside has moved.

/** Something that happens to a machine. */
type Happening =
  | (EventObject & Record<string, unknown>)
  | { advance: number }
  | { done: string; output?: unknown }
  | { fails: string; error: Error };

interface Case {
  machine: AnyStateMachine;
  input?: unknown;
  script: Happening[];
  /** What must be seen in the end, so that two wrongs do not make a right. */
  ends: unknown;
}

const calls: string[] = [];
const say = (label: string) => () => void calls.push(label);

const promised = fromPromise<unknown, unknown>(() => new Promise(() => {}));

const cases: Record<string, Case> = {
  'guards, context and targetless transitions': {
    machine: setup({
      types: {
        context: {} as { n: number },
        events: {} as { type: 'UP'; by: number } | { type: 'GO' },
      },
      guards: { high: ({ context }) => context.n > 2, even: ({ context }) => context.n % 2 === 0 },
    }).createMachine({
      context: { n: 0 },
      initial: 'low',
      on: { UP: { actions: assign({ n: ({ context, event }) => context.n + event.by }) } },
      states: {
        low: {
          on: {
            GO: [
              { guard: and(['high', not('even')]), target: 'odd' },
              { guard: 'high', target: 'up' },
            ],
          },
        },
        up: { tags: ['a', 'b'] },
        odd: { on: { GO: { guard: or(['even', stateIn('odd')]), target: 'up' } } },
      },
    }),
    script: [
      { type: 'GO' },
      { type: 'UP', by: 3 },
      { type: 'NOTHING' },
      { type: 'GO' },
      { type: 'GO' },
    ],
    ends: 'up',
  },
  'parallel states, their end, and an event for several regions': {
    machine: setup({}).createMachine({
      initial: 'both',
      context: { log: [] as string[] },
      states: {
        both: {
          type: 'parallel',
          onDone: { target: 'over', actions: say('both done') },
          states: {
            a: {
              initial: 'x',
              states: {
                x: { on: { NEXT: 'y' }, exit: say('exit a.x') },
                y: { on: { NEXT: 'z' } },
                z: { type: 'final' },
              },
            },
            b: {
              initial: 'x',
              entry: say('entry b'),
              states: {
                x: { on: { NEXT: 'z', '*': 'w' } },
                w: { on: { BACK: 'x' } },
                z: { type: 'final' },
              },
            },
          },
        },
        over: { type: 'final' },
      },
      output: { all: 'done' },
    }),
    script: [{ type: 'ODD' }, { type: 'BACK' }, { type: 'NEXT' }, { type: 'NEXT' }],
    ends: 'over',
  },
  'shallow and deep history': {
    machine: setup({}).createMachine({
      initial: 'on',
      states: {
        on: {
          initial: 'one',
          on: { OFF: 'off' },
          states: {
            one: { on: { NEXT: 'two' } },
            two: { initial: 'p', states: { p: { on: { NEXT: 'q' } }, q: {} } },
            deep: { type: 'history', history: 'deep' },
            shallow: { type: 'history' },
          },
        },
        off: { on: { DEEP: 'on.deep', SHALLOW: 'on.shallow', FRESH: 'on' } },
      },
    }),
    script: [
      { type: 'NEXT' },
      { type: 'NEXT' },
      { type: 'OFF' },
      { type: 'SHALLOW' },
      { type: 'NEXT' },
      { type: 'OFF' },
      { type: 'DEEP' },
    ],
    ends: { on: { two: 'q' } },
  },
  'always, raise, reenter and internal transitions': {
    machine: setup({ types: { context: {} as { n: number; log: string[] } } }).createMachine({
      context: { n: 0, log: [] },
      initial: 'a',
      states: {
        a: {
          entry: [assign({ log: ({ context }) => [...context.log, 'a'] }), say('entry a')],
          exit: say('exit a'),
          on: {
            AGAIN: { target: 'a', reenter: true },
            SAME: { target: 'a' },
            GO: { target: 'b', actions: [raise({ type: 'INNER' }), assign({ n: 5 }), say('go')] },
          },
        },
        b: {
          always: { guard: ({ context }) => context.n > 9, target: 'c' },
          on: { INNER: { actions: assign({ n: 10 }) } },
        },
        c: { entry: raise({ type: 'LAST' }), on: { LAST: 'd' } },
        d: {},
      },
    }),
    script: [{ type: 'AGAIN' }, { type: 'SAME' }, { type: 'GO' }],
    ends: 'd',
  },
  'after, delayed raise, cancel and arming again': {
    machine: setup({
      types: {
        context: {} as { rang: string[] },
        events: {} as { type: 'SET' | 'UNSET' | 'BELL' | 'GONG' | 'LEAVE' | 'BACK' },
      },
      delays: { long: 500, dynamic: ({ context }) => 100 + context.rang.length * 10 },
    }).createMachine({
      context: { rang: [] },
      initial: 'in',
      on: {
        SET: {
          actions: [
            raise({ type: 'BELL' }, { id: 'bell', delay: 200 }),
            raise({ type: 'GONG' }, { delay: 250 }),
          ],
        },
        UNSET: { actions: cancel('bell') },
        BELL: { actions: assign({ rang: ({ context }) => [...context.rang, 'bell'] }) },
        GONG: { actions: assign({ rang: ({ context }) => [...context.rang, 'gong'] }) },
      },
      states: {
        in: {
          after: {
            long: 'late',
            dynamic: { actions: assign({ rang: ({ context }) => [...context.rang, 'dynamic'] }) },
          },
          on: { LEAVE: 'out' },
        },
        out: { on: { BACK: 'in' } },
        late: { type: 'final' },
      },
      output: ({ context }) => context.rang.length,
    }),
    script: [
      { type: 'SET' },
      { advance: 150 },
      { type: 'UNSET' },
      { type: 'SET' },
      { advance: 100 },
      { type: 'UNSET' },
      { type: 'LEAVE' },
      { advance: 1_000 },
      { type: 'BACK' },
      { advance: 499 },
      { type: 'SET' },
      { advance: 1 },
    ],
    ends: 'late',
  },
  'invokes: input, result, failure, and leaving': {
    machine: setup({
      types: { context: {} as { got: unknown[] }, input: {} as { start: number } },
      actors: { work: promised, other: promised },
    }).createMachine({
      context: ({ input }) => ({ got: [input.start] }),
      type: 'parallel',
      states: {
        a: {
          initial: 'run',
          states: {
            run: {
              invoke: {
                id: 'first',
                src: 'work',
                input: ({ context }: { context: { got: unknown[] } }) => ({
                  n: context.got.length,
                }),
                onDone: {
                  target: 'ok',
                  actions: assign({ got: ({ context, event }) => [...context.got, event.output] }),
                },
                onError: {
                  target: 'bad',
                  actions: assign({
                    got: ({ context, event }) => [...context.got, (event.error as Error).message],
                  }),
                },
              },
            },
            ok: { on: { AGAIN: 'run' } },
            bad: { on: { AGAIN: 'run' } },
          },
        },
        b: {
          initial: 'run',
          states: {
            run: {
              on: { LEAVE: 'left' },
              invoke: [
                { id: 'x', src: 'other', onDone: 'left' },
                { id: 'y', src: 'other' },
              ],
            },
            left: { on: { AGAIN: 'run' } },
          },
        },
      },
    }),
    input: { start: 1 },
    script: [
      { done: 'first', output: { deep: [1, 2] } },
      { type: 'LEAVE' },
      { done: 'x', output: 'too late' },
      { type: 'AGAIN' },
      { fails: 'first', error: new Error('broken') },
      { done: 'y' },
      { done: 'x', output: 'in time' },
      { type: 'AGAIN' },
      { done: 'first', output: 'last' },
    ],
    ends: { a: 'ok', b: 'run' },
  },
  'spawned children: by action, in assign, stopped, with results': {
    machine: setup({
      types: { context: {} as { ref: AnyActorRef | null; seen: unknown[] } },
      actors: { work: promised },
    }).createMachine({
      context: { ref: null, seen: [] },
      on: {
        SPAWN: { actions: spawnChild('work', { id: 'spawned', input: { a: 1 } }) },
        ASSIGN: { actions: assign({ ref: ({ spawn }) => spawn('work', { id: 'assigned' }) }) },
        STOP: { actions: [stopChild('spawned'), say('stopped')] },
        FORGET: {
          actions: [stopChild(({ context }) => context.ref as AnyActorRef), assign({ ref: null })],
        },
        'xstate.done.actor.*': {
          actions: assign({
            seen: ({ context, event }) => [
              ...context.seen,
              (event as unknown as { output: unknown }).output,
            ],
          }),
        },
      },
    }),
    script: [
      { type: 'SPAWN' },
      { type: 'ASSIGN' },
      { done: 'assigned', output: 1 },
      { type: 'STOP' },
      { done: 'spawned', output: 'too late' },
      { type: 'SPAWN' },
      { done: 'spawned', output: 2 },
      { type: 'FORGET' },
    ],
    ends: {},
  },
  'enqueueActions, actions in order, emit and log': {
    machine: setup({
      types: { context: {} as { n: number } },
      actions: { named: (_, { label }: { label: string }) => void calls.push(label) },
    }).createMachine({
      context: { n: 0 },
      on: {
        RUN: {
          actions: [
            say('inline'),
            { type: 'named', params: ({ context }) => ({ label: `named ${context.n}` }) },
            enqueueActions(({ enqueue, check, context }) => {
              enqueue.assign({ n: context.n + 1 });
              if (check(({ context: now }) => now.n === 0))
                enqueue({ type: 'named', params: { label: 'first' } });
              enqueue.raise({ type: 'INNER' });
              enqueue.emit({ type: 'heard' });
            }),
            log('said'),
            emit({ type: 'told' }),
            { type: 'named', params: { label: 'end' } },
          ],
        },
        INNER: { actions: say('inner') },
      },
    }),
    script: [{ type: 'RUN' }, { type: 'RUN' }],
    ends: {},
  },
  'messages to itself, now and later': {
    machine: setup({ types: { context: {} as { log: string[] } } }).createMachine({
      context: { log: [] },
      initial: 'a',
      on: {
        '*': { actions: assign({ log: ({ context, event }) => [...context.log, event.type] }) },
      },
      states: {
        a: {
          on: {
            GO: {
              target: 'b',
              actions: [
                sendTo(({ self }) => self, { type: 'SOON' }),
                sendTo(({ self }) => self, { type: 'LATER' }, { delay: 50, id: 'later' }),
                raise({ type: 'RAISED' }),
              ],
            },
          },
        },
        b: { on: { DROP: { actions: cancel('later') } } },
      },
    }),
    script: [{ type: 'GO' }, { advance: 50 }, { type: 'DROP' }],
    ends: 'b',
  },
  'an end in the first step': {
    machine: setup({}).createMachine({
      context: ({ input }) => ({ input }),
      initial: 'a',
      states: { a: { always: 'b' }, b: { type: 'final', entry: say('b') } },
      output: ({ context }) => context,
    }),
    input: { deep: { er: [null, 'x', 1.5] } },
    script: [{ type: 'TOO_LATE' }],
    ends: 'b',
  },
  'wildcards, forbidden events and targets by id': {
    machine: setup({}).createMachine({
      id: 'root',
      initial: 'a',
      on: { 'mouse.*': '.moved', 'mouse.up': '.up', '*': '.any' },
      states: {
        a: { on: { STAY: undefined, 'key.*': {} } },
        moved: { on: { HOME: '#home' } },
        up: {},
        any: { on: { BACK: 'a' } },
        home: { id: 'home' },
      },
    }),
    script: [
      { type: 'key.down.x' },
      { type: 'OTHER' },
      { type: 'BACK' },
      { type: 'mouse.move.left' },
      { type: 'HOME' },
    ],
    ends: 'home',
  },
  'a child with a system id': {
    machine: setup({
      types: { context: {} as { there: boolean[] } },
      actors: { work: promised },
    }).createMachine({
      context: { there: [] },
      initial: 'off',
      on: {
        LOOK: {
          actions: assign({
            there: ({ context, system }) => [...context.there, system.get('worker') !== undefined],
          }),
        },
      },
      states: {
        off: { on: { ON: 'on' } },
        on: { invoke: { id: 'w', src: 'work', systemId: 'worker' }, on: { OFF: 'off' } },
      },
    }),
    script: [
      { type: 'LOOK' },
      { type: 'ON' },
      { type: 'LOOK' },
      { type: 'OFF' },
      { type: 'LOOK' },
      { type: 'ON' },
      { type: 'LOOK' },
    ],
    ends: 'on',
  },
};

/** Runs the script under XState itself. */
async function judged({ machine, input, script }: Case) {
  const clock = new SimulatedClock();
  const settle = new Map<string, { resolve(value: unknown): void; reject(error: unknown): void }>();
  const controlled = fromPromise<unknown, unknown>(
    ({ self }) =>
      new Promise((resolve, reject) => {
        settle.set(self.id, { resolve, reject });
      }),
  );
  const names = Object.keys(machine.implementations.actors);
  const provided = machine.provide({
    actors: Object.fromEntries(names.map((name) => [name, controlled])),
  });
  const actor = createActor(provided, { clock, input, logger: () => {} } as never);
  // An actor that ends in error says so to its observers, or to the process.
  actor.subscribe({ error: () => {} });
  const seen: unknown[] = [];
  calls.length = 0;
  actor.start();
  await pause(0);
  seen.push(visible(actor.getSnapshot() as never));
  for (const happening of script) {
    if ('type' in happening) actor.send(happening);
    else if ('advance' in happening) clock.increment(happening.advance);
    else if ('done' in happening) settle.get(happening.done)?.resolve(happening.output);
    else settle.get(happening.fails)?.reject(happening.error);
    await pause(0);
    seen.push(visible(actor.getSnapshot() as never));
  }
  return { seen, calls: [...calls], value: (actor.getSnapshot() as { value: unknown }).value };
}

/** The same under the engine's own steps. */
function driven({ machine, input, script }: Case, rehydrates: boolean) {
  calls.length = 0;
  const driver = new ActorDriver(defineActor('driven', { machine }), { input, rehydrates });
  const seen: unknown[] = [visible(driver.snapshot)];
  for (const happening of script) {
    if ('type' in happening) driver.send(happening);
    else if ('advance' in happening) driver.advance(happening.advance);
    else if ('done' in happening) driver.settle(happening.done, { output: happening.output });
    else driver.settle(happening.fails, { error: happening.error });
    seen.push(visible(driver.snapshot));
  }
  return { driver, seen, calls: [...calls] };
}

describe.each(Object.keys(cases))('%s', (name) => {
  const given = cases[name] as Case;

  test.each([
    ['in memory', false],
    ['rehydrated before every step', true],
  ])('as XState does it, %s', async (_, rehydrates) => {
    const oracle = await judged(given);
    expect(oracle.value).toEqual(given.ends);
    const ours = driven(given, rehydrates);
    expect(ours.seen.map(withoutRefs)).toEqual(oracle.seen.map(withoutRefs));
    expect(ours.calls).toEqual(oracle.calls);
  });

  test('replayed from its rows it is the same, byte for byte', () => {
    for (const rehydrates of [false, true]) {
      const { driver } = driven(given, rehydrates);
      expect(driver.replayDifferences()).toEqual([]);
    }
    const snapshots = [false, true].map((rehydrates) =>
      driven(given, rehydrates).driver.history.map(({ snapshot }) => snapshot),
    );
    expect(snapshots[0]).toEqual(snapshots[1]);
  });
});

/** References to children are objects of different kinds in the two worlds. */
function withoutRefs(seen: unknown): unknown {
  return JSON.parse(
    JSON.stringify(seen, (_key, value) =>
      typeof value === 'object' && value !== null && 'xstate$$type' in value
        ? { ref: value.id }
        : value,
    ),
  );
}

// ── the members the engine touches that XState does not document ─────────────────────────────────

describe('inside of XState', () => {
  const machine = setup({ actors: { work: promised } }).createMachine({
    initial: 'a',
    states: {
      a: { on: { GO: 'b' } },
      b: { invoke: { id: 'w', src: 'work', input: { n: 1 } }, entry: say('b') },
    },
  });

  test('an empty actor lends its system', () => {
    const { system } = createEmptyActor() as unknown as { system: Record<string, unknown> };
    for (const name of ['_bookId', '_register', '_set', '_relay', '_sendInspectionEvent', 'get'])
      expect(typeof system[name]).toBe('function');
  });

  test('a step hands every action to the scope and runs none', () => {
    calls.length = 0;
    const scope = createStepScope({ type: 't', id: 'i' });
    scope.begin(0, new Map());
    const first = machine.getInitialSnapshot(scope.scope as never, undefined as never);
    scope.begin(0, new Map());
    const next = machine.transition(first, { type: 'GO' } as never, scope.scope as never);
    expect(next.value).toBe('b');
    expect(scope.collected.actions.map(({ type }) => type)).toEqual([
      '(anonymous)',
      'xstate.spawnChild',
    ]);
    expect(scope.collected.edges).toEqual(['#(machine).a|GO|#(machine).b']);
    expect(calls).toEqual([]);
    // Steps are pure: the snapshot they start from is as it was.
    expect(first.value).toBe('a');
    expect(Object.keys(first.children)).toEqual([]);
  });

  test('a child carries its logic, its name and its input, and has not started', () => {
    const { driver } = driven({ machine, script: [{ type: 'GO' }], ends: 'b' }, false);
    const child = driver.snapshot.children.w as unknown as Record<string, unknown> & AnyActorRef;
    expect(child.src).toBe('work');
    expect(child.logic).toBe(promised);
    expect(child.getSnapshot()).toMatchObject({ status: 'active', input: { n: 1 } });
    expect((child as unknown as { _snapshot: unknown })._snapshot).toBe(child.getSnapshot());
    expect((promised as unknown as { config: unknown }).config).toEqual(expect.any(Function));
  });

  test('made-up ids come from the counter in the envelope', () => {
    const anonymous = setup({ actors: { work: promised } }).createMachine({
      on: { SPAWN: { actions: spawnChild('work') } },
    });
    for (const rehydrates of [false, true]) {
      const { driver } = driven(
        {
          machine: anonymous,
          script: [{ type: 'SPAWN' }, { type: 'SPAWN' }, { type: 'SPAWN' }],
          ends: {},
        },
        rehydrates,
      );
      const ids = [...driver.running.keys()];
      expect(new Set(ids).size).toBe(3);
      expect(driver.live.book).toBeGreaterThanOrEqual(3);
    }
  });

  test('stopping is an event of its own', () => {
    const { driver } = driven(
      { machine, script: [{ type: 'GO' }, { type: 'perdure.cancel' }], ends: 'b' },
      false,
    );
    expect(driver.status).toBe('stopped');
    expect(driver.running.size).toBe(0);
  });
});
