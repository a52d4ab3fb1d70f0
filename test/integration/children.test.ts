import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { createActor } from 'xstate';
import { device, ledger, notesOf, sampler } from '../support/actorsChildren.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import { eventually } from '../support/services.ts';

// Children that are no promises: what they do in a node that lives, and in one that is killed.

const world = useWorld();
beforeEach(() => printLogOnFailure(world));

const FILE = join(import.meta.dirname, '../support/actorsChildren.ts');
const spawn = (env: Record<string, string> = {}) => world.spawn({}, env, FILE);
const TYPES = [device, ledger, sampler];
const COMMITTED = { until: 'committed' } as const;

const contextOf = async (type: 'device' | 'ledger' | 'sampler', id: string) =>
  (await world.actor(type, id))?.context as unknown as Record<string, unknown>;

const heard = (id: string, what: number[]) =>
  eventually(
    async () => {
      const now = (await contextOf('device', id))?.heard;
      return `${now}` === `${what}` ? 'heard' : Promise.reject(new Error(`${now}`));
    },
    { what: `it hears ${what}` },
  );

describe('a callback', () => {
  test('hears its actor, is heard by it, and is disposed of when its state is left', async () => {
    const node = await spawn();
    await world.client.start(device, { id: 'talks', ...COMMITTED });
    await world.client.send(device, 'talks', { type: 'CMD', n: 1 });
    await world.client.send(device, 'talks', { type: 'LATER', n: 2 });
    await heard('talks', [1, 2]);
    expect(await contextOf('device', 'talks')).toMatchObject({ key: 'device/talks/link/1' });
    await world.client.send(device, 'talks', { type: 'HANG_UP' }, COMMITTED);
    await eventually(() => notesOf(world.dir, 'device/talks')[0]?.includes('down'), {
      what: 'it is disposed of',
    });
    expect(notesOf(world.dir, 'device/talks')).toEqual([
      ['up', 'CMD 1', 'LATER 2', 'CMD 99', 'down'],
    ]);
    // What it said on its way out reaches nobody: the state has been left.
    expect(await contextOf('device', 'talks')).toMatchObject({ heard: [1, 2] });
    await node.kill('SIGTERM');
  });

  test('is started again where its node is killed, under the same key, and told again what it may not have heard', async () => {
    const dies = await spawn({ PERDURE_TEST_CRASH: 'told 2' });
    await world.client.start(device, { id: 'dies', ...COMMITTED });
    await world.client.send(device, 'dies', { type: 'CMD', n: 1 }, COMMITTED);
    await heard('dies', [1]);
    await world.client.send(device, 'dies', { type: 'CMD', n: 2 });
    expect(await dies.exited).toMatchObject({ signal: 'SIGKILL' });
    const node = await spawn();
    await heard('dies', [1, 2]);
    expect(notesOf(world.dir, 'device/dies')).toEqual([
      ['up', 'CMD 1', 'CMD 2'],
      ['up', 'CMD 2'],
    ]);
    const events = (await world.transitions('device', 'dies')).map(({ event_type }) => event_type);
    expect(events).toEqual(['xstate.init', 'UP', 'CMD', 'ACK', 'CMD', 'UP', 'ACK']);
    await node.kill('SIGTERM');
  });

  test('does not make a node that is stopped wait for it', async () => {
    const node = await world.spawn({ drainMs: 20_000 }, {}, FILE);
    await world.client.start(device, { id: 'waits', ...COMMITTED });
    const from = performance.now();
    await node.kill('SIGTERM');
    expect(performance.now() - from).toBeLessThan(10_000);
  });

  test('that sends faster than can be committed is ended, and its machine told', async () => {
    const node = await spawn();
    await world.client.start(device, { id: 'floods', ...COMMITTED });
    await world.client.send(device, 'floods', { type: 'FLOOD' });
    await eventually(async () => (await contextOf('device', 'floods')).error, {
      what: 'the error',
    });
    expect(await contextOf('device', 'floods')).toMatchObject({ error: 'too_many_events' });
    await node.kill('SIGTERM');
  });
});

test('observables tell each value, and their end, and are subscribed again where their node is killed', async () => {
  const node = await spawn();
  await world.client.start(sampler, { id: 'whole', input: { count: 3 } });
  expect(await world.client.outcome(sampler, 'whole', { timeoutMs: 10_000 })).toMatchObject({
    output: { values: [0, 1, 2, 3], ticks: [1, 2, 3] },
  });
  await world.client.start(sampler, { id: 'killed', input: { count: 200 } });
  await eventually(
    async () => ((await contextOf('sampler', 'killed'))?.values as number[])?.length > 5,
    {
      what: 'a few values',
    },
  );
  await node.kill('SIGKILL');
  const next = await spawn();
  const { output } = (await world.client.outcome(sampler, 'killed', {
    timeoutMs: 20_000,
  })) as { output: unknown };
  const { values, ticks } = output as { values: number[]; ticks: number[] };
  expect(values.at(-1)).toBe(200);
  // From its first value again, behind what had been taken.
  expect(values.filter((value) => value === 1)).toHaveLength(2);
  expect(ticks).toEqual(Array.from({ length: 200 }, (_, n) => n + 1));
  await next.kill('SIGTERM');
});

test('a child that is a function takes what it is sent exactly once, through a kill, as in XState', async () => {
  const events = [5, 10, 20, 1].map((n) => ({ type: 'ADD' as const, n }));
  let node = await spawn();
  await world.client.start(ledger, { id: 'l', ...COMMITTED });
  for (const [n, event] of events.entries()) {
    await world.client.send(ledger, 'l', event, COMMITTED);
    if (n !== 1) continue;
    await node.kill('SIGKILL');
    node = await spawn();
  }
  await eventually(async () => ((await contextOf('ledger', 'l')).totals as number[]).length === 5, {
    what: 'every total',
  });
  const plain = createActor(ledger.machine).start();
  for (const event of events) plain.send(event);
  expect(await contextOf('ledger', 'l')).toEqual(plain.getSnapshot().context);
  await world.client.send(ledger, 'l', { type: 'ADD', n: -1 }, COMMITTED);
  await eventually(async () => (await contextOf('ledger', 'l')).error, { what: 'the error' });
  expect(await contextOf('ledger', 'l')).toMatchObject({ error: 'below zero' });
  await node.kill('SIGTERM');
});

test('the histories are sound', async () => {
  expect(await world.check({ types: TYPES })).toEqual([]);
});
