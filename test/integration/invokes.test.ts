import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { assign, fromPromise, setup } from 'xstate';
import { defineActor, invocation, LIMITS } from '../../src/index.ts';
import { capture, spawner, type WorkInput, worker } from '../support/actors.ts';
import { hold } from '../support/actorsJournal.ts';
import { Journal, type NodeProcess } from '../support/cluster.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import type { JournalLine } from '../support/history.ts';
import { eventually } from '../support/services.ts';

const world = useWorld();
beforeEach(() => printLogOnFailure(world));

type InvokeLine = Extract<JournalLine, { kind: 'invoke' }>;

describe('in a process that is killed', () => {
  let journal: Journal<InvokeLine>;
  let node: NodeProcess;
  const pids: number[] = [];

  const runs = (key: string, phase: InvokeLine['phase'] = 'start') =>
    journal.read().filter((line) => line.key === key && line.phase === phase);
  const start = (id: string, input: WorkInput) =>
    world.client.start(worker, { id, input, until: 'committed' });
  async function restart() {
    await node.kill('SIGKILL');
    node = await world.spawn();
    pids.push(node.pid);
  }
  async function context(id: string) {
    return (await world.actor('worker', id))?.context as unknown as {
      result?: string;
      error?: string;
    };
  }

  const failedAttempts = async (id: string) =>
    (
      await world.sql.query<{ text: string }>(
        `SELECT attempt || ' ' || (error->>'message') AS text FROM failed_attempts
          WHERE type = 'worker' AND id = '${id}' AND invoke_id = 'work' AND started_seq = 1
            AND ran_ms >= 0 AND at <= now() ORDER BY attempt`,
      )
    ).map(({ text }) => text);

  beforeAll(async () => {
    journal = new Journal(`${world.dir}/journal.jsonl`);
    node = await world.spawn();
    pids.push(node.pid);
  });

  test('an invoke whose result is committed does not run again', async () => {
    const key = 'worker/done/work/1';
    await start('done', {});
    await world.settled('worker', 'done', 2);
    await restart();
    await world.client.send(worker, 'done', { type: 'PING' }, { until: 'committed' });
    expect(runs(key)).toHaveLength(1);
    expect(await context('done')).toMatchObject({ result: key });
  });

  test('one in flight runs again under the same key, and a state entered anew has a new key', async () => {
    const key = 'worker/cut/work/1';
    hold(world.dir, node.pid);
    await start('cut', { note: 'same' });
    await eventually(() => runs(key).length === 1, { what: 'the first run' });
    await restart();
    await world.settled('worker', 'cut', 2);
    const both = runs(key);
    expect(both.map(({ attempt, input }) => ({ attempt, input }))).toEqual([
      { attempt: 1, input: { note: 'same' } },
      { attempt: 1, input: { note: 'same' } },
    ]);
    expect(both.map(({ pid }) => pid)).toEqual(pids.slice(-2));
    expect(await context('cut')).toMatchObject({ result: key });
    await world.client.send(worker, 'cut', { type: 'AGAIN' }, { until: 'committed' });
    await eventually(() => runs('worker/cut/work/3').length === 1, { what: 'the new key' });
  });

  test('leaving the state aborts its signal, also after a crash', async () => {
    const key = 'worker/left/work/1';
    await start('left', { ms: 20_000 });
    await eventually(() => runs(key).length === 1, { what: 'the first run' });
    await restart();
    await eventually(() => runs(key).length === 2, { what: 'the second run' });
    expect(runs(key, 'abort')).toEqual([]);
    await world.client.send(worker, 'left', { type: 'LEAVE' }, { until: 'committed' });
    await eventually(() => runs(key, 'abort').length > 0, { what: 'the abort' });
    expect(runs(key, 'abort').map(({ pid }) => pid)).toEqual([node.pid]);
    expect(await world.actor('worker', 'left')).toMatchObject({ state: 'left', seq: 2 });
    await restart();
    await world.client.send(worker, 'left', { type: 'PING' }, { until: 'committed' });
    expect(runs(key)).toHaveLength(2);
  });

  test('a failed attempt is tried again, numbered, under the same key', async () => {
    const key = 'worker/retried/work/1';
    await start('retried', { failures: 2 });
    await world.settled('worker', 'retried', 2);
    expect(runs(key).map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(await context('retried')).toMatchObject({ result: key });
    // Retries are no transitions.
    expect((await world.transitions('worker', 'retried')).length).toBe(2);
    expect(await failedAttempts('retried')).toEqual(['1 attempt 1 failed', '2 attempt 2 failed']);
  });

  test('the number of the next attempt survives a crash', async () => {
    const key = 'worker/survivor/work/1';
    // The second attempt does not end in this process.
    hold(world.dir, node.pid);
    await start('survivor', { failures: 1 });
    await eventually(
      async () => {
        const [row] = await world.sql.query<{ retries: string | null }>(
          `SELECT retries FROM actor WHERE id = 'survivor'`,
        );
        return row?.retries && JSON.parse(row.retries).work.attempt >= 2;
      },
      { what: 'a committed retry', everyMs: 2 },
    );
    await restart();
    await world.settled('worker', 'survivor', 2);
    const attempts = runs(key).map(({ attempt }) => attempt);
    const after = runs(key)
      .filter(({ pid }) => pid === node.pid)
      .map(({ attempt }) => attempt);
    // Never from the beginning; the one that was cut short may come twice.
    expect(after[0]).toBeGreaterThan(1);
    expect([...new Set(attempts)]).toEqual([1, 2]);
    expect(await context('survivor')).toMatchObject({ result: key });
  });

  test('when attempts are used up the machine gets onError', async () => {
    await start('hopeless', { failures: 99 });
    await world.settled('worker', 'hopeless', 2);
    expect(runs('worker/hopeless/work/1').map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4]);
    // The last one has a transition of its own.
    expect(await failedAttempts('hopeless')).toHaveLength(3);
    expect(await world.actor('worker', 'hopeless')).toMatchObject({
      state: 'failed',
      context: { error: 'attempt 4 failed' },
    });
  });

  test('an error that says retryable: false is final', async () => {
    await start('final', { final: true });
    await world.settled('worker', 'final', 2);
    expect(runs('worker/final/work/1')).toHaveLength(1);
    expect(await context('final')).toMatchObject({ error: 'never again' });
  });

  test('a spawned promise without an id runs again after a crash, and its result is taken', async () => {
    hold(world.dir, node.pid);
    await world.client.start(spawner, { id: 's', until: 'committed' });
    const spawned = () =>
      journal.read().filter(({ key, phase }) => key.startsWith('spawner/s/') && phase === 'start');
    await eventually(() => spawned().length === 1, { what: 'the first run' });
    await restart();
    await world.settled('spawner', 's');
    expect(new Set(spawned().map(({ key }) => key)).size).toBe(1);
    expect(spawned()).toHaveLength(2);
    expect(await world.actor('spawner', 's')).toMatchObject({ status: 'done', seq: 2 });
  });

  test('cancelling the actor aborts what it runs', async () => {
    const key = 'worker/cancelled/work/1';
    await start('cancelled', { ms: 20_000 });
    await eventually(() => runs(key).length === 1, { what: 'the run' });
    await world.client.cancel(worker, 'cancelled', { until: 'committed' });
    await eventually(() => runs(key, 'abort').length === 1, { what: 'the abort' });
  });

  test('a drained node lets end what ends soon, aborts the rest, and the next one runs it again', async () => {
    const key = 'worker/drained/work/1';
    const soon = 'worker/soon/work/1';
    await start('soon', { ms: 600 });
    await eventually(() => runs(soon).length === 1, { what: 'the first run' });
    hold(world.dir, node.pid);
    await start('drained', {});
    await eventually(() => runs(key).length === 1, { what: 'the first run' });
    await node.kill('SIGTERM');
    node = await world.spawn();
    expect(await context('soon')).toMatchObject({ result: soon });
    expect(runs(soon)).toHaveLength(1);
    await world.settled('worker', 'drained', 2);
    expect(runs(key, 'abort')).toHaveLength(1);
    expect(runs(key)).toHaveLength(2);
    expect(await context('drained')).toMatchObject({ result: key });
  });

  test('the history is sound', async () => {
    const found = await world.check({ types: [worker, spawner], capture, journal: journal.read() });
    expect(found).toEqual([]);
    await node.kill();
  });
});

// ── what needs no crash ───────────────────────────────────────────────────────────────────────────

const told: { name: string; [field: string]: unknown }[] = [];
let running = 0;
let runningMost = 0;
let letGo: (() => void)[] = [];

const jobs = {
  hangs: fromPromise<void>(({ signal, self }) => {
    const { attempt } = invocation(self);
    told.push({ name: 'hangs', attempt });
    return new Promise(() => {
      signal.addEventListener('abort', () => told.push({ name: 'aborted', attempt }));
    });
  }),
  looksLate: fromPromise<void>(async (args) => {
    told.push({ name: 'runs' });
    await new Promise<void>((done) => letGo.push(done));
    told.push({ name: 'late', aborted: args.signal.aborted });
  }),
  throwsAtOnce: fromPromise<void>(() => {
    throw new RangeError('at once');
  }),
  rejectsWithNothing: fromPromise<void>(() => Promise.reject(undefined)),
  unwritable: fromPromise<unknown>(async () => ({ f: () => 1 })),
  large: fromPromise<string>(async () => 'x'.repeat(600_000)),
  largeError: fromPromise<string>(() => Promise.reject(new Error('x'.repeat(600_000)))),
  counted: fromPromise<number>(async () => {
    running++;
    runningMost = Math.max(running, runningMost);
    await new Promise((done) => setTimeout(done, 20));
    running--;
    return 1;
  }),
  returnsAtOnce: fromPromise<string>((() => 'no promise at all') as never),
};

const invoker = defineActor('invoker', {
  machine: setup({
    types: {
      input: {} as { src: keyof typeof jobs },
      context: {} as { src: keyof typeof jobs; result?: unknown },
      events: {} as { type: 'LEAVE' },
    },
    actors: jobs,
  }).createMachine({
    context: ({ input }) => input,
    initial: 'on',
    states: {
      on: {
        on: { LEAVE: 'left' },
        initial: 'choose',
        states: {
          choose: {
            always: Object.keys(jobs).map((src) => ({
              guard: ({ context }) => context.src === src,
              target: src,
            })),
          },
          ...Object.fromEntries(
            Object.keys(jobs).map((src) => [
              src,
              {
                invoke: {
                  id: 'job',
                  src: src as keyof typeof jobs,
                  onDone: {
                    target: '#invoker.done',
                    actions: assign(({ event }) => ({ result: event.output as unknown })),
                  },
                  onError: {
                    target: '#invoker.failed',
                    actions: assign(({ event }) => ({ result: event.error })),
                  },
                },
              },
            ]),
          ),
        },
      },
      done: { type: 'final' },
      failed: {},
      left: {},
    },
    id: 'invoker',
  }),
  timeout: { hangs: 80 },
  retry: { hangs: { attempts: 3, delayMs: 10 } },
});

describe('in this process', () => {
  beforeAll(() => world.node([invoker], { invocationsMax: 3 }));

  async function run(src: keyof typeof jobs, id: string = src) {
    await world.client.start(invoker, { id, input: { src }, until: 'committed' });
    await world.settled('invoker', id, 2);
    const actor = await world.actor('invoker', id);
    const [, settled] = await world.transitions('invoker', id);
    return { state: actor?.state, event: settled?.event as Record<string, unknown> };
  }
  const error = (event: Record<string, unknown>) =>
    (event.error as { v: { name: string; message: string; code?: string } }).v;

  test('a timeout aborts the attempt, is tried again, and ends in onError', async () => {
    const { state, event } = await run('hangs');
    expect(state).toBe('failed');
    expect(error(event)).toMatchObject({ code: 'invoke_timeout' });
    expect(told.filter(({ name }) => name === 'hangs' || name === 'aborted')).toEqual([
      { name: 'hangs', attempt: 1 },
      { name: 'aborted', attempt: 1 },
      { name: 'hangs', attempt: 2 },
      { name: 'aborted', attempt: 2 },
      { name: 'hangs', attempt: 3 },
      { name: 'aborted', attempt: 3 },
    ]);
  });

  test('a signal that is looked at only after the state was left is aborted', async () => {
    await world.client.start(invoker, {
      id: 'late',
      input: { src: 'looksLate' },
      until: 'committed',
    });
    await eventually(() => told.some(({ name }) => name === 'runs'), { what: 'the run' });
    await world.client.send(invoker, 'late', { type: 'LEAVE' }, { until: 'committed' });
    for (const done of letGo) done();
    letGo = [];
    await eventually(() => told.some(({ name }) => name === 'late'), { what: 'the look' });
    expect(told.find(({ name }) => name === 'late')).toEqual({ name: 'late', aborted: true });
    // And its result belongs to nobody.
    expect(await world.actor('invoker', 'late')).toMatchObject({ state: 'left', seq: 2 });
  });

  test('a function that throws at once is a failed invoke', async () => {
    const { state, event } = await run('throwsAtOnce');
    expect(state).toBe('failed');
    expect(error(event)).toMatchObject({ name: 'RangeError', message: 'at once' });
  });

  test('a rejection with nothing is a failed invoke', async () => {
    expect(await run('rejectsWithNothing')).toMatchObject({ state: 'failed' });
  });

  test('a function that returns no promise is a finished invoke', async () => {
    const { event } = await run('returnsAtOnce');
    expect(event).toMatchObject({ output: 'no promise at all' });
  });

  test('a result that no row can hold is a failed invoke', async () => {
    const { state, event } = await run('unwritable');
    expect(state).toBe('failed');
    expect(error(event)).toMatchObject({ code: 'not_serialisable' });
    expect(error(event).message).toMatch(/output of job.*\.f is a function/);
  });

  test('a result that is too large is a failed invoke', async () => {
    const { state, event } = await run('large');
    expect(state).toBe('failed');
    expect(error(event).message).toContain('600');
  });

  test('an error that is too large is a failed invoke all the same', async () => {
    const { state, event } = await run('largeError');
    expect(state).toBe('failed');
    // Everything has a limit (G10), what went wrong included.
    expect(JSON.stringify(event).length).toBeLessThanOrEqual(LIMITS.bodyMaxBytes);
  });

  test('no more promises run at once than allowed, and all of them run', async () => {
    await Promise.all(Array.from({ length: 20 }, (_, n) => run('counted', `counted-${n}`)));
    expect(runningMost).toBeLessThanOrEqual(3);
    // On a busy machine the third may begin when the first has ended.
    expect(runningMost).toBeGreaterThan(1);
    expect(running).toBe(0);
  });

  test('a slot is given back by an invoke that never ends, once its state is left', async () => {
    const ids = ['h1', 'h2', 'h3', 'h4'];
    for (const id of ids)
      await world.client.start(invoker, { id, input: { src: 'looksLate' }, until: 'committed' });
    // All three slots are taken; this one waits.
    await world.client.start(invoker, {
      id: 'wait',
      input: { src: 'counted' },
      until: 'committed',
    });
    for (const id of ids)
      await world.client.send(invoker, id, { type: 'LEAVE' }, { until: 'committed' });
    await world.settled('invoker', 'wait');
  });

  test('the history is sound', async () => {
    expect(await world.check({ types: [invoker, worker, spawner], capture })).toEqual([]);
  });
});
