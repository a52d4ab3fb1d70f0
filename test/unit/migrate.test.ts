import { describe, expect, test } from 'vitest';
import { type AnyStateMachine, assign, fromPromise, raise, setup } from 'xstate';
import { defineActor } from '../../src/actors/define.ts';
import type { Envelope } from '../../src/actors/envelope.ts';
import { migrateStep } from '../../src/actors/migrate.ts';
import { Registry } from '../../src/actors/registry.ts';
import { stepAgain } from '../../src/actors/replay.ts';
import { createStepScope } from '../../src/actors/scope.ts';
import { firstStep, nextStep, type Step } from '../../src/actors/step.ts';
import type { Migrate } from '../../src/actors/versions.ts';
import { LIMITS } from '../../src/config.ts';

const address = { type: 'order', id: 'o' };
const scope = () => createStepScope(address);
const never = fromPromise<string, { n: number }>(() => new Promise(() => {}));

const acts = { named: () => {} };
const old = defineActor('order', {
  version: '1',
  machine: setup({
    types: { context: {} as { n: number; at: Date } },
    actors: { charge: never, look: never },
    actions: acts,
  }).createMachine({
    id: 'order',
    context: { n: 7, at: new Date(5) },
    initial: 'paying',
    states: {
      paying: {
        invoke: [
          { id: 'charge', src: 'charge', input: ({ context }) => ({ n: context.n }) },
          { id: 'look', src: 'look', input: { n: 1 }, onDone: { actions: [] } },
        ],
        entry: raise({ type: 'NAG' }, { id: 'nag', delay: 9_000 }),
        after: { 1000: 'late', 5000: 'late' },
        on: { SHIP: 'shop', ACT: { actions: 'named' } },
      },
      late: {},
      shop: {
        initial: 'one',
        states: { one: { on: { GO: 'two' } }, two: {}, past: { type: 'history' } },
        on: { OUT: 'outside' },
      },
      outside: { on: { BACK: 'shop.past' } },
    },
  }),
});

/** The new version: another charge, another deadline, and a mail that was not there before. */
function newer(migrate: Migrate<AnyStateMachine>) {
  return defineActor('order', {
    version: '2',
    migrate: { '1': migrate },
    machine: setup({
      types: { context: {} as { count: number; at: Date; quick?: boolean } },
      actors: { pay: never, mail: never, look: never },
      guards: { quick: ({ context }) => context.quick === true },
      actions: { wrong: () => {} },
    }).createMachine({
      id: 'order',
      context: { count: 0, at: new Date(0) },
      initial: 'paying',
      states: {
        paying: {
          entry: 'wrong',
          always: { guard: 'quick', target: 'end', actions: assign({ count: 100 }) },
          invoke: [
            { id: 'charge', src: 'pay', input: { n: 0 }, onDone: 'end' },
            { id: 'mail', src: 'mail', input: ({ context }) => ({ n: context.count }) },
            { id: 'look', src: 'look', input: { n: 2 } },
          ],
          after: { 1000: 'end', 2000: 'end' },
        },
        rest: { invoke: { id: 'look', src: 'look', input: { n: 2 } } },
        shop: {
          initial: 'one',
          states: { one: {}, two: {}, past: { type: 'history' } },
        },
        outside: { on: { BACK: 'shop.past' } },
        end: { type: 'final' },
      },
      output: ({ context }) => context.count,
    }),
  });
}

const stay: Migrate<AnyStateMachine> = ({ value, context }) => ({
  value,
  context: { count: context.n + 1, at: context.at },
});

function run(...events: string[]): Step {
  let step = firstStep(old, address, scope(), undefined, LIMITS);
  for (const type of events)
    step = nextStep(old, address, scope(), step.live, { event: { type }, origin: 'event' }, LIMITS);
  return step;
}

const move = (migrate: Migrate<AnyStateMachine>, from: Step = run()) =>
  migrateStep(newer(migrate), address, scope(), from.live.seq, from.envelope, LIMITS);

const childrenOf = (step: Step) =>
  (JSON.parse(step.envelope) as { snapshot: { children: Record<string, unknown> } }).snapshot
    .children;

describe('migrateStep', () => {
  test('is one more transition, of the new version', () => {
    const { step, event } = move(stay);
    expect(event).toEqual({ type: 'perdure.migrate', from: '1', to: '2' });
    expect(step.live.seq).toBe(2);
    expect(step.state).toBe('"paying"');
    const { version, snapshot } = JSON.parse(step.envelope) as Envelope & {
      snapshot: { context: unknown };
    };
    expect(version).toBe('2');
    expect(snapshot.context).toMatchObject({ count: 8 });
    expect(step.live.snapshot.context).toEqual({ count: 8, at: new Date(5) });
  });

  test('what both states have goes on as it is; the rest is begun or dropped', () => {
    const { step } = move(stay);
    expect(step.live.started).toEqual({ charge: 1, look: 1, mail: 2 });
    // The key is the old one, so is the input; the logic is what the new machine has under the id.
    expect(childrenOf(step).charge).toMatchObject({ src: 'pay', snapshot: { input: { n: 7 } } });
    expect(childrenOf(step).mail).toMatchObject({ snapshot: { input: { n: 8 } } });
    expect(step.effects).toMatchObject([{ kind: 'invoke', invokeId: 'mail', seq: 2 }]);
    expect(step.live.timers).toEqual({
      'xstate.after.1000.order.paying': 1,
      'xstate.after.2000.order.paying': 2,
      nag: 1,
    });
    expect(step.timersDropped).toEqual(['xstate.after.5000.order.paying']);
    expect(step.timersArmed).toMatchObject([
      { timerId: 'xstate.after.2000.order.paying', delayMs: 2_000 },
    ]);
  });

  test('does not run what a state does when it is entered', () => {
    expect(move(stay).step.effects.filter(({ kind }) => kind === 'action')).toEqual([]);
  });

  test('an invoke whose result was taken runs again only in a state that is new to the actor', () => {
    const looked = nextStep(
      old,
      address,
      scope(),
      run().live,
      {
        event: { type: 'xstate.done.actor.look', output: 'x', actorId: 'look' } as never,
        origin: 'invoke',
      },
      LIMITS,
    );
    expect(move(stay, looked).step.live.started).toEqual({ charge: 1, mail: 3 });
    const rest = move(() => ({ value: 'rest', context: {} }), looked);
    expect(rest.step.live.started).toEqual({ look: 3 });
  });

  test('drops all that ran in a state that is gone', () => {
    const { step } = move(() => ({ value: 'outside', context: {} }));
    expect(step.live.started).toEqual({});
    expect(childrenOf(step)).toEqual({});
    expect(step.live.timers).toEqual({ nag: 1 });
  });

  test('takes the eventless transitions of the new state', () => {
    const { step } = move(({ value }) => ({ value, context: { count: 1, quick: true } }));
    expect(step).toMatchObject({ status: 'done', output: '100', state: '"end"' });
    expect(step.live.started).toEqual({});
    expect(step.timersDropped.length).toBeGreaterThan(1);
  });

  test('keeps what history states remember', () => {
    const from = run('SHIP', 'GO', 'OUT');
    const { step } = move(stay, from);
    const type = newer(stay);
    const back = { event: { type: 'BACK' }, origin: 'event' } as const;
    expect(nextStep(type, address, scope(), step.live, back, LIMITS).state).toBe('{"shop":"two"}');
  });

  test('comes out the same when the history is replayed', () => {
    const from = run();
    const { step, event } = move(stay, from);
    const transition = {
      ...address,
      seq: 2,
      eventType: event.type,
      event: JSON.stringify(event),
      eventId: null,
      origin: 'engine' as const,
      fromState: from.state,
      toState: step.state,
      edges: step.edges,
      actions: 0,
      snapshot: step.envelope,
    };
    const again = stepAgain(newer(stay), scope(), transition, from.envelope, LIMITS);
    expect(again.envelope).toBe(step.envelope);
    expect(again.effects).toMatchObject(step.effects.map(({ kind }) => ({ kind })));
    expect(again.edges).toBe(step.edges);
  });

  test.each<[string, Migrate<AnyStateMachine>, RegExp]>([
    ['throws', () => assertNever(), /from version 1 to 2: no idea/],
    ['answers nothing', () => undefined as never, /must answer \{ value, context \}/],
    ['answers no context', () => ({ value: 'rest' }) as never, /context that is an object/],
    [
      'names no state there is',
      () => ({ value: 'nowhere', context: {} }),
      /no state "nowhere" in #order; it has paying/,
    ],
    [
      'names a state too deep',
      () => ({ value: { rest: 'x' }, context: {} }),
      /no state "x" in #order.rest; it has none/,
    ],
    [
      'names two states',
      () => ({ value: { rest: {}, shop: 'one' }, context: {} }),
      /in one of its states at a time/,
    ],
    ['names a final state', () => ({ value: 'end', context: {} }), /final state/],
    [
      'gives what no row can hold',
      () => ({ value: 'rest', context: { f: () => {} } }),
      /context.f is a function/,
    ],
  ])('refuses a migrate that %s', (_, migrate, message) => {
    expect(() => move(migrate)).toThrow(message);
    expect(() => move(migrate)).toThrow(expect.objectContaining({ code: 'migrate_failed' }));
  });
});

function assertNever(): never {
  throw new Error('no idea');
}

describe('a registry', () => {
  const machine = setup({}).createMachine({});
  const to = (version: string, ...from: string[]) =>
    defineActor('order', {
      machine,
      version,
      migrate: Object.fromEntries(from.map((v) => [v, () => ({ value: {}, context: {} })])),
    });

  test('migrates to the last in the list that can', () => {
    const registry = new Registry([to('2', '1'), to('3', '2', '1'), to('4', '3')]);
    expect(registry.migrating('order', '1')?.version).toBe('3');
    expect(registry.migrating('order', '0')).toBeUndefined();
    expect(registry.opens).toEqual([
      { type: 'order', version: '2', as: '2' },
      { type: 'order', version: '3', as: '3' },
      { type: 'order', version: '4', as: '4' },
      { type: 'order', version: '1', as: '3' },
    ]);
  });
});

describe('defineActor', () => {
  const machine = setup({}).createMachine({});
  test.each([
    ['to itself', { '1': () => ({ value: {}, context: {} }) }, /nothing to migrate from 1/],
    ['what is no version', { 'a b': () => ({ value: {}, context: {} }) }, /is no version/],
    ['with what is no function', { '0': 1 as never }, /must be a function/],
  ])('refuses to migrate %s', (_, migrate, message) => {
    expect(() => defineActor('order', { machine, version: '1', migrate })).toThrow(message);
  });
});
