import { describe, expect, test } from 'vitest';
import { assign, fromCallback, fromPromise, sendTo, setup } from 'xstate';
import { actorAddress, defineActor } from '../../src/index.ts';
import { forEachCrash, type TestCluster, testCluster } from '../../src/testing/index.ts';

// Pausing and resuming (docs/adr/0014): nothing is done meanwhile, nothing is lost, nothing comes twice.

type Event = { type: 'ADD'; n: number } | { type: 'WORK' } | { type: 'WAIT' } | { type: 'END' };

/** Takes numbers, works, and waits a minute, whenever it is told to. */
const clerk = defineActor('clerk', {
  machine: setup({
    types: { context: {} as { seen: (number | string)[] }, events: {} as Event },
    actors: { work: fromPromise(async () => 'worked') },
    actions: { print: () => {} },
  }).createMachine({
    context: { seen: [] },
    initial: 'idle',
    on: {
      ADD: {
        actions: [assign({ seen: ({ context, event }) => [...context.seen, event.n] }), 'print'],
      },
      END: '.over',
    },
    states: {
      idle: { on: { WORK: 'working', WAIT: 'waiting' } },
      working: {
        invoke: {
          src: 'work',
          onDone: {
            target: 'idle',
            actions: assign({ seen: ({ context, event }) => [...context.seen, event.output] }),
          },
        },
      },
      waiting: {
        after: {
          60000: {
            target: 'idle',
            actions: assign({ seen: ({ context }) => [...context.seen, 'waited'] }),
          },
        },
      },
      over: { type: 'final' },
    },
  }),
});

const seqs = (actor: { history: readonly { seq: number }[] }) =>
  actor.history.map(({ seq }) => seq);
const numbered = (n: number) => Array.from({ length: n }, (_, index) => index + 1);

describe('a paused actor', () => {
  const started = async (options = {}) => {
    const cluster = await testCluster({ actors: [clerk], ...options });
    return { cluster, actor: await cluster.start(clerk, { id: 'c' }) };
  };

  test('takes nothing, and everything in order once it is resumed', async () => {
    const { cluster, actor } = await started();
    await actor.send({ type: 'ADD', n: 1 });
    await actor.pause();
    expect(actor.paused).toBe(true);
    for (const n of [2, 3, 4]) await actor.send({ type: 'ADD', n });
    expect(actor.context.seen).toEqual([1]);
    await actor.resume();
    expect(actor.paused).toBe(false);
    await actor.send({ type: 'ADD', n: 5 });
    expect(actor.context.seen).toEqual([1, 2, 3, 4, 5]);
    expect(seqs(actor)).toEqual(numbered(6));
    expect(cluster.deadLetters).toEqual([]);
    await cluster.stop();
  });

  test('cannot be paused once more, nor one that goes on be resumed', async () => {
    const { cluster, actor } = await started();
    await expect(actor.resume()).rejects.toMatchObject({ code: 'not_paused' });
    await actor.pause();
    await expect(actor.pause()).rejects.toMatchObject({ code: 'already_paused' });
    await actor.resume();
    await expect(actor.resume()).rejects.toMatchObject({ code: 'not_paused' });
    await actor.pause();
    expect(actor.paused).toBe(true);
    expect(seqs(actor)).toEqual([1]);
    await cluster.stop();
  });

  test('leaves memory, is taken over, and stays paused', async () => {
    const { cluster, actor } = await started({ passivate: 'every-commit' });
    await actor.pause();
    await actor.send({ type: 'ADD', n: 1 });
    await cluster.crash();
    await actor.send({ type: 'ADD', n: 2 });
    await cluster.advance(60_000);
    expect(actor.context.seen).toEqual([]);
    await cluster.crash();
    await actor.resume();
    expect(actor.context.seen).toEqual([1, 2]);
    await cluster.stop();
  });

  test('hears no timer; one that is overdue fires when it is resumed, one that is not in its time', async () => {
    const { cluster, actor } = await started();
    await actor.send({ type: 'WAIT' });
    await actor.pause();
    await cluster.advance(30_000);
    await actor.resume();
    await cluster.advance(29_000);
    expect(actor.state).toBe('waiting');
    await cluster.advance(1_000);
    expect(actor.context.seen).toEqual(['waited']);
    await actor.send({ type: 'WAIT' });
    await actor.pause();
    await cluster.advance(600_000);
    expect(actor.state).toBe('waiting');
    await actor.resume();
    expect(actor.context.seen).toEqual(['waited', 'waited']);
    await cluster.stop();
  });

  test('can be cancelled: what waits for it is refused as for any that has ended', async () => {
    const { cluster, actor } = await started();
    await actor.send({ type: 'WAIT' });
    await actor.pause();
    for (const n of [1, 2]) await actor.send({ type: 'ADD', n });
    await actor.cancel();
    expect(actor.status).toBe('stopped');
    expect(actor.paused).toBe(false);
    expect(actor.timers).toEqual([]);
    expect(cluster.deadLetters.map(({ reason }) => reason)).toEqual([
      'actor_finished',
      'actor_finished',
    ]);
    await expect(actor.pause()).rejects.toMatchObject({ code: 'actor_finished' });
    await cluster.stop();
  });

  test('that was not started cannot be paused', async () => {
    const { cluster } = await started();
    const nobody = cluster.actor(clerk, 'nobody');
    await expect(nobody.pause()).rejects.toMatchObject({ code: 'unknown_actor' });
    await cluster.stop();
  });

  test('does not hold up its neighbours', async () => {
    const { cluster, actor } = await started();
    const others = await Promise.all(
      numbered(8).map((n) => cluster.start(clerk, { id: `other-${n}` })),
    );
    await actor.pause();
    await actor.send({ type: 'ADD', n: 1 });
    for (const other of others) await other.send({ type: 'ADD', n: 1 });
    expect(others.map(({ context }) => context.seen)).toEqual(others.map(() => [1]));
    await actor.resume();
    for (const other of others) await other.send({ type: 'ADD', n: 2 });
    expect(others.map(({ context }) => context.seen)).toEqual(others.map(() => [1, 2]));
    expect(actor.context.seen).toEqual([1]);
    await cluster.stop();
  });

  test('of a version nobody can open can be paused and resumed all the same', async () => {
    const { machine } = clerk;
    const next = defineActor('clerk', { machine, version: '2' });
    const { cluster, actor } = await started();
    await cluster.deploy([next]);
    await actor.send({ type: 'ADD', n: 1 });
    await actor.pause();
    expect(actor.paused).toBe(true);
    await actor.send({ type: 'ADD', n: 2 });
    await expect(actor.pause()).rejects.toMatchObject({ code: 'already_paused' });
    await cluster.deploy([clerk]);
    expect(actor.context.seen).toEqual([]);
    await cluster.deploy([next]);
    await actor.resume();
    await actor.send({ type: 'ADD', n: 3 });
    expect(actor.context.seen).toEqual([]);
    await cluster.deploy([clerk]);
    expect(actor.context.seen).toEqual([1, 2, 3]);
    expect(cluster.deadLetters.map(({ reason }) => reason)).toEqual(['already_paused']);
    await cluster.stop();
  });
});

describe('what runs for an actor that is paused', () => {
  /** Works until it is told that the work is over, or aborted. */
  function worker() {
    const runs: { aborted: boolean; finish: () => void }[] = [];
    const type = defineActor('worker', {
      retry: { '*': { attempts: 3, delayMs: 1_000 } },
      machine: setup({
        actors: {
          work: fromPromise(
            ({ signal }) =>
              new Promise<string>((resolve, reject) => {
                const run = { aborted: false, finish: () => resolve('worked') };
                runs.push(run);
                signal.addEventListener('abort', () => {
                  run.aborted = true;
                  reject(new Error('aborted'));
                });
              }),
          ),
        },
      }).createMachine({
        initial: 'working',
        states: { working: { invoke: { src: 'work', onDone: 'over' } }, over: { type: 'final' } },
      }),
    });
    return { runs, type };
  }

  test('is aborted, and runs again under the same key when it is resumed', async () => {
    const { runs, type } = worker();
    const cluster = await testCluster({ actors: [type], realWaitMs: 50 });
    const actor = cluster.actor(type, 'w');
    await cluster.start(type, { id: 'w' }).catch(stillRuns);
    await actor.pause().catch(stillRuns);
    expect(runs.map(({ aborted }) => aborted)).toEqual([true]);
    await cluster.advance(60_000);
    await cluster.crash();
    expect(runs).toHaveLength(1);
    expect(actor.state).toBe('working');
    await actor.resume().catch(stillRuns);
    expect(runs.map(({ aborted }) => aborted)).toEqual([true, false]);
    runs[1]?.finish();
    await cluster.settle();
    expect(actor.state).toBe('over');
    const keys = actor.effects.map((effect) => ('key' in effect ? effect.key : ''));
    expect(new Set(keys).size).toBe(1);
    await cluster.stop();
  });

  test('does not even begin when it is asked for in the commit that pauses the actor', async () => {
    const cluster = await testCluster({ actors: [clerk] });
    const actor = await cluster.start(clerk, { id: 'c' });
    await Promise.all([actor.send({ type: 'WORK' }), actor.pause()]);
    expect(actor.state).toBe('working');
    expect(actor.effects).toEqual([]);
    await actor.resume();
    expect(actor.context.seen).toEqual(['worked']);
    expect(actor.effects).toHaveLength(1);
    await cluster.stop();
  });

  test('begins no new attempt before it is resumed', async () => {
    let fails = 0;
    const type = defineActor('failing', {
      retry: { '*': { attempts: 3, delayMs: 1_000 } },
      machine: setup({
        actors: {
          work: fromPromise(async () => {
            if (++fails < 2) throw new Error('not yet');
          }),
        },
      }).createMachine({
        initial: 'working',
        states: { working: { invoke: { src: 'work', onDone: 'over' } }, over: { type: 'final' } },
      }),
    });
    const cluster = await testCluster({ actors: [type] });
    const actor = await cluster.start(type, { id: 'f' });
    await actor.pause();
    await cluster.advance(60_000);
    expect(fails).toBe(1);
    await actor.resume();
    await cluster.advance(1_000);
    expect(fails).toBe(2);
    expect(actor.state).toBe('over');
    expect(actor.effects.map((effect) => ('attempt' in effect ? effect.attempt : 0))).toEqual([
      1, 2,
    ]);
    await cluster.stop();
  });

  /** Has one action under way, which ends as it is told to, and is paused. */
  async function acting() {
    const runs: { resolve: () => void; reject: (error: Error) => void }[] = [];
    const act = () => new Promise<void>((resolve, reject) => runs.push({ resolve, reject }));
    const type = defineActor('slow', {
      machine: setup({
        types: { events: {} as { type: 'GO' } },
        actions: { act },
      }).createMachine({ on: { GO: { actions: 'act' } } }),
    });
    const cluster = await testCluster({ actors: [type], realWaitMs: 20 });
    const actor = await cluster.start(type, { id: 's' });
    await actor.send({ type: 'GO' }).catch(stillRuns);
    await actor.pause().catch(stillRuns);
    return { runs, actor, cluster };
  }

  test('an action that ends meanwhile has been done', async () => {
    const { runs, actor, cluster } = await acting();
    runs[0]?.resolve();
    await cluster.settle();
    await actor.resume();
    await cluster.crash();
    expect(runs).toHaveLength(1);
    await cluster.stop();
  });

  test('an action that fails meanwhile is done once more: nobody could be told', async () => {
    const { runs, actor, cluster } = await acting();
    runs[0]?.reject(new Error('no'));
    await cluster.settle();
    expect(actor.status).toBe('active');
    await actor.resume().catch(stillRuns);
    expect(runs).toHaveLength(2);
    runs[1]?.reject(new Error('no'));
    await cluster.settle();
    expect(actor.error).toMatchObject({ code: 'action_failed' });
    await cluster.stop();
  });

  test('an action that was left undone is done when the actor is cancelled', async () => {
    const { runs, actor, cluster } = await acting();
    await cluster.crash();
    expect(runs).toHaveLength(1);
    await actor.cancel().catch(stillRuns);
    expect(actor.status).toBe('stopped');
    expect(runs).toHaveLength(2);
    runs[1]?.resolve();
    await cluster.settle();
    await cluster.crash();
    expect(runs).toHaveLength(2);
    await cluster.stop();
  });

  test('is let go of when it goes on for ever, and begins again', async () => {
    const listening: number[] = [];
    let sent = 0;
    const type = defineActor('radio', {
      machine: setup({
        types: { context: {} as { heard: number }, events: {} as { type: 'TICK' } },
        actors: {
          ticks: fromCallback(({ sendBack }) => {
            listening.push(++sent);
            sendBack({ type: 'TICK' });
            return () => void listening.pop();
          }),
        },
      }).createMachine({
        context: { heard: 0 },
        invoke: { src: 'ticks' },
        on: { TICK: { actions: assign({ heard: ({ context }) => context.heard + 1 }) } },
      }),
    });
    const cluster = await testCluster({ actors: [type] });
    const actor = await cluster.start(type, { id: 'r' });
    expect(actor.context.heard).toBe(1);
    await actor.pause();
    expect(listening).toEqual([]);
    await actor.resume();
    expect(listening).toEqual([2]);
    expect(actor.context.heard).toBe(2);
    await cluster.stop();
  });
});

const stillRuns = (error: { code?: string }) => {
  if (error.code !== 'timeout') throw error;
};

describe('a family', () => {
  const child = setup({
    types: { context: {} as { n: number }, events: {} as { type: 'UP' } },
  }).createMachine({
    id: 'child',
    context: { n: 0 },
    on: { UP: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
    after: { 60000: { actions: assign({ n: ({ context }) => context.n + 100 }) } },
  });
  const parent = defineActor('parent', {
    machine: setup({
      types: { events: {} as { type: 'UP' } },
      actors: { child },
    }).createMachine({
      invoke: { src: 'child', id: 'one' },
      on: { UP: { actions: sendTo('one', { type: 'UP' }) } },
    }),
  });
  const stranger = defineActor('stranger', {
    machine: setup({
      types: { events: {} as { type: 'PAUSE' } },
    }).createMachine({
      on: {
        PAUSE: {
          actions: sendTo(() => actorAddress('parent', 'p'), { type: 'perdure.pause' } as never),
        },
      },
    }),
  });

  test('is paused and resumed as a whole, by its root', async () => {
    const cluster = await testCluster({ actors: [parent] });
    const actor = await cluster.start(parent, { id: 'p' });
    await actor.pause();
    await actor.send({ type: 'UP' });
    await cluster.advance(120_000);
    await cluster.crash();
    const one = () => actor.child('one').context as { n: number };
    expect(one()).toEqual({ n: 0 });
    await actor.resume();
    expect(one()).toEqual({ n: 101 });
    await cluster.stop();
  });

  test('can be paused by another actor', async () => {
    const cluster = await testCluster({ actors: [parent, stranger] });
    const actor = await cluster.start(parent, { id: 'p' });
    const other = await cluster.start(stranger, { id: 's' });
    await other.send({ type: 'PAUSE' });
    expect(actor.paused).toBe(true);
    await cluster.stop();
  });
});

describe('wherever the node dies', () => {
  async function story(cluster: TestCluster) {
    const actor = await cluster.start(clerk, { id: 'c' });
    await actor.send({ type: 'ADD', n: 1 });
    await actor.send({ type: 'WORK' });
    await actor.pause();
    for (const n of [2, 3]) await actor.send({ type: 'ADD', n });
    expect(actor.context.seen).toEqual([1, 'worked']);
    await actor.resume();
    await actor.send({ type: 'ADD', n: 4 });
    expect(actor.context.seen).toEqual([1, 'worked', 2, 3, 4]);
    await actor.send({ type: 'WAIT' });
    await actor.pause();
    await actor.send({ type: 'ADD', n: 5 });
    await cluster.advance(120_000);
    expect(actor.context.seen).toEqual([1, 'worked', 2, 3, 4]);
    await actor.resume();
    expect(actor.context.seen.toSorted()).toEqual([1, 2, 3, 4, 5, 'waited', 'worked']);
    expect(seqs(actor)).toEqual(numbered(actor.history.length));
    expect(actor.history.filter(({ event }) => event.type === 'ADD')).toHaveLength(5);
    expect(cluster.deadLetters).toEqual([]);
    const printed = new Set(
      actor.effects.filter(({ kind }) => kind === 'action').map(({ seq }) => seq),
    );
    expect(printed.size).toBe(5);
  }

  for (const passivate of ['as-usual', 'every-commit'] as const)
    test(`nothing is lost, nothing is done twice, order is kept (memory: ${passivate})`, async () => {
      const points = await forEachCrash({ actors: [clerk], passivate }, story);
      expect(points.length).toBeGreaterThan(25);
    });

  test('and also when each node dies after its first commit', async () => {
    const cluster = await testCluster({ actors: [clerk], crash: 'every-commit' });
    await story(cluster);
    await cluster.stop();
  });

  test('what runs when the actor is paused is done once more under its key, and counts once', async () => {
    let hangs = true;
    const type = defineActor('hanging', {
      machine: setup({
        types: { context: {} as { seen: unknown[] }, events: {} as { type: 'ADD'; n: number } },
        actors: {
          work: fromPromise(async ({ signal }) => {
            if (!hangs) return 'worked';
            return new Promise<string>((_, reject) => {
              signal.addEventListener('abort', () => reject(new Error('aborted')));
            });
          }),
        },
      }).createMachine({
        context: { seen: [] },
        invoke: {
          src: 'work',
          onDone: {
            actions: assign({ seen: ({ context, event }) => [...context.seen, event.output] }),
          },
          onError: {
            actions: assign({ seen: ({ context, event }) => [...context.seen, event.error] }),
          },
        },
        on: {
          ADD: { actions: assign({ seen: ({ context, event }) => [...context.seen, event.n] }) },
        },
      }),
    });
    const points = await forEachCrash({ actors: [type], realWaitMs: 20 }, async (cluster) => {
      hangs = true;
      await cluster.start(type, { id: 'h' }).catch(stillRuns);
      const actor = cluster.actor(type, 'h');
      await actor.send({ type: 'ADD', n: 1 }).catch(stillRuns);
      await actor.pause().catch(stillRuns);
      hangs = false;
      await actor.send({ type: 'ADD', n: 2 });
      await cluster.advance(60_000);
      // Who died before the pause has begun it again: it was not paused then.
      const { seen } = actor.context as { seen: unknown[] };
      expect(seen).toEqual([1]);
      await actor.resume();
      const after = (actor.context as { seen: unknown[] }).seen;
      expect(after.toSorted()).toEqual([1, 2, 'worked']);
      const keys = actor.effects.map((effect) => ('key' in effect ? effect.key : ''));
      expect(new Set(keys).size).toBe(1);
      expect(cluster.deadLetters).toEqual([]);
    });
    expect(points.length).toBeGreaterThan(8);
  });

  test('a paused actor that is cancelled ends once, and what waited is refused', async () => {
    await forEachCrash({ actors: [clerk] }, async (cluster) => {
      const actor = await cluster.start(clerk, { id: 'c' });
      await actor.pause();
      for (const n of [1, 2]) await actor.send({ type: 'ADD', n });
      await actor.cancel();
      expect(actor.status).toBe('stopped');
      expect(actor.context.seen).toEqual([]);
      expect(cluster.deadLetters.map(({ reason }) => reason)).toEqual([
        'actor_finished',
        'actor_finished',
      ]);
      expect(cluster.outcomes).toHaveLength(1);
    });
  });
});
