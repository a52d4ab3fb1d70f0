import { describe, expect, test } from 'vitest';
import { type AnyStateMachine, assign, emit, fromPromise, raise, sendTo, setup } from 'xstate';
import { parse } from '../../src/actors/codec.ts';
import { defineActor } from '../../src/actors/define.ts';
import { type Envelope, rehydrate, XSTATE_VERSION } from '../../src/actors/envelope.ts';
import { actorAddress } from '../../src/actors/refs.ts';
import { createStepScope } from '../../src/actors/scope.ts';
import { firstStep, nextStep } from '../../src/actors/step.ts';
import { LIMITS } from '../../src/config.ts';
import { ActorDriver } from '../support/actorsDriver.ts';

const work = fromPromise<number, { n: number }>(() => new Promise(() => {}));
const effects: string[] = [];

const machine = setup({
  types: {
    context: {} as { n: number },
    input: {} as { n?: number } | undefined,
    events: {} as { type: 'GO' } | { type: 'ADD'; n: number } | { type: 'STAY' },
  },
  actors: { work },
}).createMachine({
  id: 'm',
  context: ({ input }) => ({ n: input?.n ?? 0 }),
  initial: 'idle',
  on: { ADD: { actions: assign({ n: ({ context, event }) => context.n + event.n }) } },
  states: {
    idle: { tags: 'resting', on: { GO: 'busy' } },
    busy: {
      entry: [
        () => void effects.push('entry'),
        sendTo(() => actorAddress('other', 'o'), { type: 'HELLO' }),
      ],
      invoke: { id: 'w', src: 'work', input: ({ context }) => ({ n: context.n }), onDone: 'end' },
      after: { 1000: 'end' },
    },
    end: { type: 'final' },
  },
  output: ({ context }) => context.n,
});
const type = defineActor('thing', { machine, version: '3' });
const address = { type: 'thing', id: 'x' };
const scope = () => createStepScope(address);

test('the first step makes the actor, from its input', () => {
  const step = firstStep(type, address, scope(), { n: 5 }, LIMITS);
  expect(step).toMatchObject({
    status: 'active',
    state: '"idle"',
    tags: '["resting"]',
    output: null,
    error: null,
  });
  expect(step.live.seq).toBe(1);
  expect(JSON.parse(step.envelope)).toEqual({
    machine: 'm',
    version: '3',
    xstate: XSTATE_VERSION,
    book: expect.any(Number),
    started: {},
    timers: {},
    snapshot: expect.objectContaining({ status: 'active', value: 'idle', context: { n: 5 } }),
  });
});

test('a step says what it causes, as data, and has caused nothing', () => {
  effects.length = 0;
  const first = firstStep(type, address, scope(), undefined, LIMITS);
  const step = nextStep(
    type,
    address,
    scope(),
    first.live,
    { event: { type: 'GO' }, origin: 'event' },
    LIMITS,
  );
  expect(step.effects.map(({ kind }) => kind)).toEqual(['action', 'invoke']);
  expect(step.messages).toEqual([
    { index: expect.any(Number), to: { type: 'other', id: 'o' }, body: '{"type":"HELLO"}' },
  ]);
  expect(step.timersArmed).toMatchObject([{ timerId: 'xstate.after.1000.m.busy', delayMs: 1_000 }]);
  expect(step.edges).toBe('["#m.idle|GO|#m.busy"]');
  expect(step.live).toMatchObject({
    seq: 2,
    started: { w: 2 },
    timers: { 'xstate.after.1000.m.busy': 2 },
  });
  expect(effects).toEqual([]);
});

test('the same snapshot and event give the same step, wherever and how often', () => {
  const first = firstStep(type, address, scope(), { n: 1 }, LIMITS);
  const input = { event: { type: 'GO' }, origin: 'event' } as const;
  const envelopes = new Set<string>();
  for (let n = 0; n < 5; n++) {
    const shared = scope();
    envelopes.add(nextStep(type, address, shared, first.live, input, LIMITS).envelope);
    const live = rehydrate(type, shared, 1, first.envelope);
    envelopes.add(nextStep(type, address, shared, live, input, LIMITS).envelope);
  }
  expect(envelopes.size).toBe(1);
});

test('a step looks at no clock and no chance', () => {
  const { now } = Date;
  const { random } = Math;
  Date.now = Math.random = () => {
    throw new Error('a step must not ask');
  };
  try {
    const driver = new ActorDriver(type, { input: { n: 1 }, rehydrates: true });
    driver.send({ type: 'GO' });
    driver.settle('w', { output: 3 });
    expect(driver.status).toBe('done');
  } finally {
    Date.now = now;
    Math.random = random;
  }
});

test('a result is taken once: what ran is settled, its timer is dropped', () => {
  const driver = new ActorDriver(type, { input: { n: 2 } });
  driver.send({ type: 'GO' });
  expect([...driver.running]).toEqual([['w', { src: 'work', input: { n: 2 }, seq: 2 }]]);
  driver.settle('w', { output: 9 });
  expect(driver.step).toMatchObject({
    status: 'done',
    output: '2',
    timersDropped: ['xstate.after.1000.m.busy'],
  });
  expect(driver.live).toMatchObject({ started: {}, timers: {} });
  expect(driver.timers).toEqual([]);
});

test('an event nobody handles is a transition all the same', () => {
  const driver = new ActorDriver(type);
  driver.send({ type: 'UNHEARD' });
  expect(driver.live.seq).toBe(2);
  expect(driver.step).toMatchObject({ state: '"idle"', edges: '[]', effects: [] });
});

test('cancel stops what runs and drops every timer', () => {
  const driver = new ActorDriver(type);
  driver.send({ type: 'GO' });
  driver.send({ type: 'perdure.cancel' });
  expect(driver.step.status).toBe('stopped');
  expect(driver.step.effects).toContainEqual({ kind: 'stop', invokeId: 'w', seq: 2 });
  expect(driver.timers).toEqual([]);
});

describe('a step never throws for what user code did (P3):', () => {
  const made = (actions: never, more: object = {}) =>
    defineActor('bad', {
      machine: setup({ types: { context: {} as Record<string, unknown> } }).createMachine({
        // Made anew for each actor: one of the misdeeds below changes it in place.
        context: () => ({ kept: 1 }),
        initial: 'a',
        on: { BAD: { actions } },
        ...more,
      } as never) as unknown as AnyStateMachine,
    });
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const states = { states: { a: {} } };

  test.each([
    [
      'an assign that throws',
      assign(() => {
        throw new Error('x');
      }),
      'step_failed',
    ],
    ['an assign of a function', assign({ f: () => () => 1 } as never), 'not_serialisable'],
    ['an assign of a cycle', assign({ cycle } as never), 'not_serialisable'],
    [
      'an assign that is too large',
      assign({ x: 'x'.repeat(LIMITS.snapshotMaxBytes) } as never),
      'snapshot_too_large',
    ],
    [
      'an event to itself that cannot be written',
      raise((() => ({ type: 'X', f: () => 1 })) as never, { delay: 5 }),
      'not_serialisable',
    ],
    [
      'a message that cannot be written',
      sendTo(() => actorAddress('o', 'o'), (() => ({ type: 'X', f: () => 1 })) as never),
      'not_serialisable',
    ],
    [
      'a child whose logic has no name',
      assign(({ spawn }) => {
        const logic = fromPromise(async () => 1);
        return { child: spawn(logic as never) };
      }),
      'not_serialisable',
    ],
    ['a message to nobody', sendTo('nobody', { type: 'X' }), 'step_failed'],
    ['an endless loop of raises', raise({ type: 'BAD' }), 'step_failed'],
    [
      'a context changed in place',
      assign(({ context }) => {
        context.f = () => 1;
        return {};
      }),
      'not_serialisable',
    ],
  ])('%s', (_, action, code) => {
    for (const rehydrates of [false, true]) {
      const driver = new ActorDriver(made(action as never, states), { rehydrates });
      driver.send({ type: 'BAD' });
      expect(driver.status).toBe('error');
      expect(JSON.parse(driver.step.error ?? '')).toMatchObject({ code });
      // What it had before, and nothing under way.
      const { snapshot, started, timers } = parse(driver.step.envelope) as Envelope & {
        snapshot: { context: unknown; value: unknown };
      };
      expect(snapshot.context).toEqual({ kept: 1 });
      expect(snapshot.value).toBe('a');
      expect({ started, timers }).toEqual({ started: {}, timers: {} });
      expect(driver.replayDifferences()).toEqual([]);
    }
  });

  const broken = assign(() => {
    throw new Error('at the start');
  });
  test.each([
    [
      'a context that throws',
      {
        context: () => {
          throw new Error('at the start');
        },
      },
    ],
    ['a context that cannot be written', { context: () => ({ f: () => 1 }) }],
    ['an entry that throws', { entry: broken }],
    ['an entry of the first state that throws', { states: { a: { entry: broken } } }],
    ['an endless loop at the start', { states: { a: { always: 'b' }, b: { always: 'a' } } }],
    [
      'an always guard that throws',
      {
        states: {
          a: {
            always: {
              guard: () => {
                throw new Error('at the start');
              },
              target: 'b',
            },
          },
          b: {},
        },
      },
    ],
    [
      'an output that throws',
      {
        states: { a: { type: 'final' } },
        output: () => {
          throw new Error('at the start');
        },
      },
    ],
    [
      'an invoke whose input throws',
      {
        states: {
          a: {
            invoke: {
              src: work,
              input: () => {
                throw new Error('at the start');
              },
            },
          },
        },
      },
    ],
  ])('in the first step: %s', (_, more) => {
    const driver = new ActorDriver(made([] as never, { ...states, ...more }));
    expect(driver.status).toBe('error');
    expect(driver.live.seq).toBe(1);
    expect(JSON.parse(driver.step.error ?? '').message).not.toBe('');
    expect(driver.running.size).toBe(0);
    expect(driver.replayDifferences()).toEqual([]);
  });
});

test('a failed step stops what ran', () => {
  const failing = defineActor('failing', {
    machine: setup({ actors: { work } }).createMachine({
      invoke: { id: 'w', src: 'work', input: { n: 1 } },
      after: { 1000: {} },
      on: {
        BAD: {
          actions: assign(() => {
            throw new Error('x');
          }),
        },
      },
    }),
  });
  const driver = new ActorDriver(failing);
  expect(driver.running.size).toBe(1);
  driver.send({ type: 'BAD' });
  expect(driver.running.size).toBe(0);
  expect(driver.timers).toEqual([]);
  expect(driver.step.effects).toEqual([{ kind: 'stop', invokeId: 'w', seq: 1 }]);
});

test('a snapshot the machine cannot take is refused when it is opened', () => {
  const first = firstStep(type, address, scope(), undefined, LIMITS);
  const other = first.envelope.replace('"value":"idle"', '"value":"gone"');
  expect(() => rehydrate(type, scope(), 1, other)).toThrow();
  expect(() => rehydrate(type, scope(), 1, '{')).toThrow();
});

test('a snapshot is restored with the state value it was written with, also where a region is missing', () => {
  const region = { initial: 'on', states: { on: { tags: 'on' } } };
  const parallel = defineActor('parallel', {
    machine: setup({}).createMachine({ type: 'parallel', states: { a: region, b: region } }),
  });
  const { envelope } = firstStep(parallel, address, scope(), undefined, LIMITS).live;
  const written = JSON.parse(envelope) as Envelope;
  const value = { b: 'on' };
  const active = written.active?.filter((id) => !id.includes('.a'));
  const odd = { ...written, active, snapshot: { ...written.snapshot, value } };
  const { snapshot } = rehydrate(parallel, scope(), 1, JSON.stringify(odd));
  expect(snapshot.value).toEqual(value);
  expect([...snapshot.tags]).toEqual(['on']);
});

test('the error of a step that fails leaves the tags as they were', () => {
  const tagged = defineActor('tagged', {
    machine: setup({}).createMachine({
      tags: 'open',
      on: {
        BAD: {
          guard: () => {
            throw new Error('x');
          },
        },
      },
    }),
  });
  const driver = new ActorDriver(tagged);
  driver.send({ type: 'BAD' });
  expect(driver.step.tags).toBe('["open"]');
});

test('what is emitted is written as all values are, or the step fails', () => {
  const emitting = defineActor('emitting', {
    machine: setup({}).createMachine({
      on: {
        BIG: { actions: emit({ type: 'told', n: 1n } as never) },
        ODD: { actions: emit({ type: 'told', run: () => {} } as never) },
      },
    }),
  });
  const driver = new ActorDriver(emitting);
  driver.send({ type: 'BIG' });
  const [effect] = driver.step.effects;
  expect(parse((effect as { text: string }).text)).toEqual({ type: 'told', n: 1n });
  driver.send({ type: 'ODD' });
  expect(driver.step.error).toContain('not_serialisable');
});
