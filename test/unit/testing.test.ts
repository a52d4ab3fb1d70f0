import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { assign, emit, fromCallback, fromPromise, sendTo, setup } from 'xstate';
import { actorAddress, defineActor, invocation } from '../../src/index.ts';
import {
  type CrashPoint,
  forEachCrash,
  pathsOf,
  type TestCluster,
  type TestClusterOptions,
  testCluster,
} from '../../src/testing/index.ts';

const order = defineActor('order', {
  machine: setup({
    types: {
      input: {} as { total: number },
      context: {} as { total: number; receipt: string | null },
      events: {} as { type: 'PAY' } | { type: 'NOTE'; text: string },
      output: {} as { receipt: string | null },
      emitted: {} as { type: 'noted'; text: string },
    },
    actors: {
      charge: fromPromise<string, { total: number }>(
        async ({ input, self }) => `${input.total} by ${invocation(self).idempotencyKey}`,
      ),
    },
    actions: { print: () => {} },
  }).createMachine({
    id: 'order',
    context: ({ input }) => ({ total: input.total, receipt: null }),
    initial: 'open',
    states: {
      open: {
        on: {
          PAY: 'paying',
          NOTE: { actions: [emit(({ event }) => ({ type: 'noted', text: event.text })), 'print'] },
        },
      },
      paying: {
        tags: 'busy',
        invoke: {
          src: 'charge',
          input: ({ context }) => ({ total: context.total }),
          onDone: { target: 'paid', actions: assign({ receipt: ({ event }) => event.output }) },
        },
      },
      paid: { entry: 'print', after: { 60000: 'archived' } },
      archived: { type: 'final' },
    },
    output: ({ context }) => ({ receipt: context.receipt }),
  }),
});

/** Does one thing, given by the test, in a promise or in an action. */
function doing(work: (signal: AbortSignal) => Promise<unknown>, options = {}) {
  return defineActor('doing', {
    machine: setup({
      types: { context: {} as { got: unknown } },
      actors: { work: fromPromise(({ signal }) => work(signal)) },
    }).createMachine({
      context: { got: null },
      initial: 'working',
      states: {
        working: {
          invoke: {
            src: 'work',
            onDone: { target: 'over', actions: assign({ got: ({ event }) => event.output }) },
            onError: { target: 'failed' },
          },
          after: { 10000: 'late' },
        },
        over: { type: 'final' },
        failed: { type: 'final' },
        late: { type: 'final' },
      },
    }),
    ...options,
  });
}

const clusters: TestCluster[] = [];
async function open(options: Partial<TestClusterOptions> = {}): Promise<TestCluster> {
  const cluster = await testCluster({ actors: [order], ...options });
  clusters.push(cluster);
  return cluster;
}
afterEach(async () => {
  for (const cluster of clusters.splice(0)) await cluster.stop();
});

describe('an actor in a test cluster', () => {
  test('goes its way in virtual time', async () => {
    const cluster = await open();
    const o = await cluster.start(order, { id: 'o-1', input: { total: 30 } });
    expect(o.state).toBe('open');
    await o.send({ type: 'NOTE', text: 'quick' });
    expect(o.can({ type: 'PAY' })).toBe(true);
    await o.send({ type: 'PAY' });
    expect(o.state).toBe('paid');
    expect(o.matches('paid')).toBe(true);
    expect(o.hasTag('busy')).toBe(false);
    expect(o.context.receipt).toBe('30 by order/o-1/0.order.paying/3');
    expect(o.emitted).toEqual([{ type: 'noted', text: 'quick' }]);
    expect(o.timers).toEqual([{ id: 'xstate.after.60000.order.paid', inMs: 60_000 }]);
    await cluster.advance(59_999);
    expect(o.status).toBe('active');
    await cluster.advance(1);
    expect(o.status).toBe('done');
    expect(o.output).toEqual({ receipt: '30 by order/o-1/0.order.paying/3' });
    expect(cluster.outcomes).toEqual([
      expect.objectContaining({ type: 'order', id: 'o-1', status: 'done', output: o.output }),
    ]);
    expect(o.history.map(({ seq, event, origin }) => [seq, event.type, origin])).toEqual([
      [1, 'xstate.init', 'start'],
      [2, 'NOTE', 'event'],
      [3, 'PAY', 'event'],
      [4, 'xstate.done.actor.0.order.paying', 'invoke'],
      [5, 'xstate.after.60000.order.paid', 'timer'],
    ]);
    expect(o.effects.map(({ name, key, attempt }) => [name, key, attempt])).toEqual([
      ['print', 'order/o-1/2/0', 1],
      ['charge', 'order/o-1/0.order.paying/3', 1],
      ['print', 'order/o-1/4/0', 1],
    ]);
  });

  test('is refused what production refuses', async () => {
    const cluster = await open();
    const o = await cluster.start(order, { id: 'o-1', input: { total: 30 } });
    const again = cluster.start(order, { id: 'o-1', input: { total: 1 } });
    await expect(again).rejects.toMatchObject({ code: 'actor_exists' });
    const nobody = cluster.actor(order, 'o-2');
    await expect(nobody.send({ type: 'PAY' })).rejects.toMatchObject({ code: 'unknown_actor' });
    expect(nobody.exists).toBe(false);
    expect(() => nobody.state).toThrow(/There is no order\/o-2/);
    await o.cancel();
    expect(o.status).toBe('stopped');
    await expect(o.send({ type: 'PAY' })).rejects.toMatchObject({ code: 'actor_finished' });
    expect(cluster.deadLetters.map(({ reason }) => reason)).toEqual([
      'actor_exists',
      'unknown_actor',
      'actor_finished',
    ]);
  });

  test('reaches other actors', async () => {
    const caller = defineActor('caller', {
      machine: setup({}).createMachine({
        on: { GO: { actions: sendTo(() => actorAddress('order', 'o-1'), { type: 'PAY' }) } },
      }),
    });
    const cluster = await open({ actors: [order, caller] });
    const o = await cluster.start(order, { id: 'o-1', input: { total: 30 } });
    await (await cluster.start(caller, { id: 'c' })).send({ type: 'GO' });
    expect(o.state).toBe('paid');
    expect(o.history[1]).toMatchObject({ origin: 'actor', from: 'open', to: 'paying' });
  });

  test('sleeps through a year in a moment, in memory or not', async () => {
    const sleeper = defineActor('sleeper', {
      machine: setup({ delays: { year: 31_536_000_000 } }).createMachine({
        initial: 'asleep',
        states: { asleep: { after: { year: 'awake' } }, awake: {} },
      }),
    });
    const cluster = await open({ actors: [sleeper] });
    const s = await cluster.start(sleeper, {});
    const from = cluster.now;
    await cluster.advance(31_535_999_999);
    expect(s.state).toBe('asleep');
    await cluster.advance(1);
    expect(s.state).toBe('awake');
    expect(s.history[1]?.at).toBe(from + 31_536_000_000);
  });
});

describe('user code', () => {
  test('that waits in real time is waited for', async () => {
    const cluster = await open({ actors: [slow] });
    expect((await cluster.start(slow, {})).context.got).toBe('slept');
  });
  const slow = doing(async () => {
    await sleep(30);
    return 'slept';
  });

  test('that takes too long in real time is named', async () => {
    const type = doing(() => sleep(60_000, undefined, { ref: false }));
    const cluster = await open({ actors: [type], realWaitMs: 20 });
    await expect(cluster.start(type, { id: 'd' })).rejects.toThrow(
      /After 20 ms .* work of doing\/d \(Timeout\)/,
    );
  });

  test('that never ends does not hold up anything', async () => {
    const type = doing(() => new Promise(() => {}));
    const cluster = await open({ actors: [type] });
    const d = await cluster.start(type, {});
    await cluster.advance(10_000);
    expect(d.state).toBe('late');
  });

  test('that fails is tried again, in virtual time', async () => {
    const type = doing(() => Promise.reject(new Error('no')), {
      retry: { work: { attempts: 3, delayMs: 1_000 } },
    });
    const cluster = await open({ actors: [type] });
    const d = await cluster.start(type, { id: 'd' });
    expect(d.state).toBe('working');
    await cluster.advance(5_000);
    expect(d.state).toBe('failed');
    expect(d.effects.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(new Set(d.effects.map(({ key }) => key)).size).toBe(1);
  });

  test('of a dead node is told, and what it still does is dropped', async () => {
    const signals: AbortSignal[] = [];
    const ends: ((value: unknown) => void)[] = [];
    const type = doing((signal) => {
      signals.push(signal);
      return new Promise((resolve) => ends.push(resolve));
    });
    const cluster = await open({ actors: [type] });
    const d = await cluster.start(type, { id: 'd' });
    await cluster.crash();
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, false]);
    ends[0]?.('from the dead');
    await cluster.settle();
    expect(d.status).toBe('active');
    ends[1]?.('from the living');
    await cluster.settle();
    expect(d.context.got).toBe('from the living');
    expect(d.effects.map(({ key, attempt }) => [key, attempt])).toEqual([
      ['doing/d/0.(machine).working/1', 1],
      ['doing/d/0.(machine).working/1', 1],
    ]);
  });

  test('in a callback of a dead node is disposed of, and heard no more', async () => {
    const send: (() => void)[] = [];
    let disposed = 0;
    const type = defineActor('clock', {
      machine: setup({
        types: { context: {} as { ticks: number } },
        actors: {
          tick: fromCallback(({ sendBack }) => {
            send.push(() => sendBack({ type: 'TICK' }));
            return () => void disposed++;
          }),
        },
      }).createMachine({
        context: { ticks: 0 },
        invoke: { src: 'tick', id: 'tick' },
        on: { TICK: { actions: assign({ ticks: ({ context }) => context.ticks + 1 }) } },
      }),
    });
    const cluster = await open({ actors: [type] });
    const clock = await cluster.start(type, { id: 'c' });
    send[0]?.();
    await cluster.settle();
    await cluster.crash();
    expect(disposed).toBe(1);
    send[0]?.();
    send[1]?.();
    await cluster.settle();
    expect(clock.context.ticks).toBe(2);
    expect(clock.effects.map(({ key }) => key)).toEqual(['clock/c/tick/1', 'clock/c/tick/1']);
  });

  test('that sends to itself for ever is found out', async () => {
    const type = defineActor('endless', {
      machine: setup({}).createMachine({
        on: { GO: { actions: sendTo(({ self }) => self, { type: 'GO' }) } },
      }),
    });
    const cluster = await open({ actors: [type] });
    const e = await cluster.start(type, {});
    await expect(e.send({ type: 'GO' })).rejects.toThrow(/does not come to rest/);
  });
});

describe('crashes', () => {
  test('take no virtual time, and lose nothing', async () => {
    const cluster = await open();
    const o = await cluster.start(order, { id: 'o-1', input: { total: 30 } });
    await o.send({ type: 'PAY' });
    await cluster.advance(59_999);
    const before = cluster.now;
    for (let crashes = 0; crashes < 10; crashes++) await cluster.crash();
    expect(cluster.now).toBe(before);
    expect(o.state).toBe('paid');
    await cluster.advance(1);
    expect(o.status).toBe('done');
    expect(cluster.deadLetters).toEqual([]);
  });

  test.each(['never', 'every-commit'] as const)('%s: the actor ends the same', async (crash) => {
    const cluster = await open({ crash });
    const o = await cluster.start(order, { id: 'o-1', input: { total: 30 } });
    await o.send({ type: 'PAY' });
    await cluster.passivate();
    await cluster.advance(60_000);
    expect(o.history.map(({ to }) => to)).toEqual(['open', 'paying', 'paid', 'archived']);
    expect(cluster.outcomes).toHaveLength(1);
  });

  test('forEachCrash goes through every place a node can die at', async () => {
    const ran: (CrashPoint | undefined)[] = [];
    const points = await forEachCrash({ actors: [order] }, async (cluster, point) => {
      ran.push(point);
      const o = await cluster.start(order, { id: 'o-1', input: { total: 30 } });
      await o.send({ type: 'PAY' });
      expect(o.state).toBe('paid');
      const again: Record<string, string> = {
        // Commits: started, paying, paid, printed. What had begun and was not on record begins again.
        'between-effects 2': 'charge',
        'before-commit 3': 'charge',
        'between-effects 3': 'print',
        'before-commit 4': 'print',
      };
      const twice = again[`${point?.at} ${point?.commit}`];
      const begun = ['charge', 'print'].flatMap((name) => (name === twice ? [name, name] : name));
      expect(o.effects.map(({ name }) => name)).toEqual(begun);
    });
    expect(ran).toEqual([undefined, ...points]);
    expect(points.filter(({ at }) => at === 'before-commit')).toHaveLength(4);
    expect(points.filter(({ at }) => at === 'between-effects')).toEqual([
      { at: 'between-effects', commit: 2, effects: 1 },
      { at: 'between-effects', commit: 3, effects: 1 },
    ]);
  });

  test('forEachCrash says where it went wrong', async () => {
    const failing = forEachCrash({ actors: [order] }, async (cluster, point) => {
      await cluster.start(order, { id: 'o-1', input: { total: 30 } });
      if (point?.at === 'after-commit') throw new Error('lost');
    });
    await expect(failing).rejects.toThrow('Node dies after commit 1: lost');
  });
});

test('the same seed gives the same run, another seed another one', async () => {
  const run = async (seed: number) => {
    const type = doing(() => Promise.reject(new Error('no')), { retry: { '*': { attempts: 4 } } });
    const cluster = await open({ actors: [type], seed });
    const d = await cluster.start(type, {});
    await cluster.advance(10_000);
    return [d.id, d.history.map(({ at }) => at)];
  };
  expect(await run(7)).toEqual(await run(7));
  expect(await run(7)).not.toEqual(await run(8));
});

describe('pathsOf', () => {
  const done = { type: 'xstate.done.actor.0.order.paying', output: 'r' } as const;

  test('finds the way to every state, and the engine goes it', async () => {
    const paths = pathsOf(order, { input: { total: 3 } });
    expect(paths.map(({ state }) => state)).toEqual(['open', 'paying', 'paid', 'archived']);
    for (const path of paths) await path.run();
    expect(paths.at(-1)?.description).toBe(`PAY → ${done.type} → xstate.after.60000.order.paid`);
  });

  test('takes events with payloads, and runs with crashes', async () => {
    const paths = pathsOf(order, { input: { total: 3 }, events: [{ type: 'PAY' }, done] });
    expect(paths.map(({ state }) => state)).toEqual(['open', 'paying', 'paid']);
    for (const path of paths) await path.run({ crash: 'every-commit' });
  });

  test('says where the engine went another way', async () => {
    let asked = 0;
    const moody = defineActor('moody', {
      machine: setup({ guards: { now: () => asked++ === 0 } }).createMachine({
        initial: 'a',
        states: { a: { on: { GO: { guard: 'now', target: 'b' } } }, b: {} },
      }),
    });
    const [, path] = pathsOf(moody);
    await expect(path?.run()).rejects.toThrow('After GO the state is "a"; the path has "b".');
  });
});
