import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { createActor, toPromise } from 'xstate';
import { companion, notesOf, type TripInput, trip } from '../support/actorsChildren.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import { eventually } from '../support/services.ts';

// fromSteps: what has been done is not done again, whatever happens to the node in between. fromOutcome: waits through it.

const world = useWorld();
beforeEach(() => printLogOnFailure(world));

const FILE = join(import.meta.dirname, '../support/actorsChildren.ts');
/** More than any test waits for. */
const DRAIN_MS = 20_000;
const spawn = (env: Record<string, string> = {}) => world.spawn({ drainMs: DRAIN_MS }, env, FILE);
const start = (id: string, input: TripInput) =>
  world.client.start(trip, { id, input, until: 'committed' });
const outcome = (id: string) => world.client.outcome(trip, id, { timeoutMs: 10_000 });
const OUTPUT = ['12 0', 'booked'];

test('after a kill the work goes on behind the last step that was recorded', async () => {
  const dies = await spawn({ PERDURE_TEST_CRASH: 'booking' });
  await start('killed', {});
  expect(await dies.exited).toMatchObject({ signal: 'SIGKILL' });
  const node = await spawn();
  expect(await outcome('killed')).toEqual({ status: 'done', output: OUTPUT });
  expect(notesOf(world.dir, 'trip/killed')).toEqual([['reserve', 'nothing', 'book'], ['book']]);
  expect((await world.transitions('trip', 'killed')).length).toBe(2);
  await node.kill('SIGTERM');
});

test('the next attempt begins behind it as well', async () => {
  const node = await spawn();
  await start('fails', { failures: 2 });
  expect(await outcome('fails')).toEqual({ status: 'done', output: OUTPUT });
  expect(notesOf(world.dir, 'trip/fails')).toEqual([
    ['reserve', 'nothing', 'book', 'book', 'book'],
  ]);
  await node.kill('SIGTERM');
});

test('a sign of life makes its time begin anew; without one it is over', async () => {
  const node = await spawn();
  await start('alive', { slow: 'alive' });
  expect(await outcome('alive')).toEqual({ status: 'done', output: OUTPUT });
  await start('silent', { slow: 'silent' });
  await eventually(async () => (await world.actor('trip', 'silent'))?.state === 'failed', {
    what: 'time is up',
  });
  expect((await world.actor('trip', 'silent'))?.context).toMatchObject({ error: 'invoke_timeout' });
  await node.kill('SIGTERM');
});

test('a name that is used twice is refused', async () => {
  const node = await spawn();
  await start('twice', { twice: true });
  await eventually(async () => (await world.actor('trip', 'twice'))?.state === 'failed', {
    what: 'it is refused',
  });
  expect((await world.actor('trip', 'twice'))?.context).toMatchObject({ error: 'bad_definition' });
  await node.kill('SIGTERM');
});

test('under a plain createActor every step runs', async () => {
  const plain = createActor(trip.machine, { input: {} }).start();
  expect(await toPromise(plain)).toEqual(OUTPUT);
});

test('an actor waits for another one, also for one that is not there yet, through a kill', async () => {
  let node = await spawn();
  const wait = (id: string) =>
    world.client.start(companion, { id, input: { of: id }, until: 'committed' });
  await Promise.all(['goes', 'gone', 'never'].map(wait));
  await node.kill('SIGKILL');
  node = await spawn();
  await start('goes', {});
  expect(await world.client.outcome(companion, 'goes', { timeoutMs: 10_000 })).toEqual({
    status: 'done',
    output: OUTPUT,
  });
  await start('gone', { twice: true });
  await world.client.cancel('trip', 'gone');
  await eventually(async () => (await world.actor('companion', 'gone'))?.state === 'failed', {
    what: 'it is told of the end',
  });
  const { context } = (await world.actor('companion', 'gone')) as { context: { error: string } };
  expect(context.error).toMatch('trip/gone has ended (stopped): it was cancelled');
  // Who waits holds nobody up.
  const from = performance.now();
  await node.kill('SIGTERM');
  expect(performance.now() - from).toBeLessThan(DRAIN_MS / 2);
});

test('the histories are sound', async () => {
  expect(await world.check({ types: [trip, companion] })).toEqual([]);
});
