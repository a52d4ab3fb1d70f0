import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { redactingReadStore, redactionsOf } from '../../src/inspect/redaction.ts';
import { testCaseOf } from '../../src/inspect/testCase.ts';
import type { ReadStore } from '../../src/store/read.ts';
import type { StoredTransition } from '../../src/store/store.ts';
import { replayEvents } from '../../src/testing/index.ts';
import { ActorDriver } from '../support/actorsDriver.ts';
import { trip } from '../support/actorsTestCase.ts';

// A history that the inspector writes down as a test is run as such by vitest.

const ROOT = resolve(import.meta.dirname, '../..');
let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'perdure-test-case-'));
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  writeFileSync(join(dir, 'package.json'), '{"type":"module"}');
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Runs what was written down, against the sources and the machine of `actors`. */
async function runs(text: string, actors = 'test/support/actorsTestCase.ts'): Promise<string> {
  const file = join(dir, 'copied.test.ts');
  writeFileSync(
    file,
    text
      .replace(`'perdure/testing'`, `'${join(ROOT, 'src/testing/index.ts')}'`)
      .replace(`'./trip.ts'`, `'${join(ROOT, actors)}'`),
  );
  const args = [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', '--root', dir];
  const env = { ...process.env, VITEST: undefined, VITEST_POOL_ID: undefined, NO_COLOR: '1' };
  return promisify(execFile)(process.execPath, args, { cwd: dir, env }).then(
    ({ stdout }) => stdout,
    ({ stdout, stderr }) => `${stdout}${stderr}`,
  );
}

/** Through a promise that fails once, a timer, an event to itself, a Date and a Map. */
function travelled(): ActorDriver {
  const driver = new ActorDriver(trip, {
    input: { from: 'Oslo', leaves: new Date(0), card: { number: '4111' } },
    id: 't-1',
  });
  driver.send({ type: 'BOOK', seats: new Map([['ada', 1]]), ['__proto__']: 'odd' } as never);
  driver.settle('book', { error: new Error('sold out to "Bob"') });
  driver.advance(60_000);
  driver.settle('book', { output: 'B-1' });
  driver.send({ type: 'LEAVE' });
  driver.advance(10_000);
  return driver;
}

/** Of the reading side what a test case needs. */
function storeOf(driver: ActorDriver, rows = driver.history): ReadStore {
  const { step, address } = driver;
  const row = (one: StoredTransition) => ({
    ...{ seq: one.seq, event_type: one.eventType, event: JSON.parse(one.event) },
    ...{ event_id: one.eventId, origin: one.origin, to_state: JSON.parse(one.toState) },
    snapshot: one.snapshot,
    failed_attempts: [],
  });
  const parts = {
    actor: async () => ({
      ...address,
      seq: driver.live.seq,
      status: step.status,
      output: JSON.parse(step.output ?? 'null'),
      error: JSON.parse(step.error ?? 'null'),
      retries: null,
      timers: [],
      snapshot: step.envelope,
    }),
    history: async (_type: string, _id: string, { fromSeq = 1, limit = 50 }) =>
      rows
        .filter(({ seq }) => seq >= fromSeq)
        .slice(0, limit)
        .map(row),
    pathOf: async () => [],
  };
  return new Proxy(parts, {
    get: (known, name) => known[name as keyof typeof known] ?? (() => undefined),
  }) as unknown as ReadStore;
}

test('the test passes for the machine that was recorded, and fails for one that does otherwise', async () => {
  const driver = travelled();
  expect(driver.status).toBe('done');
  const { file, text } = await testCaseOf(storeOf(driver), 'trip', 't-1');
  expect(file).toBe(`trip.t-1.${driver.live.seq}.test.ts`);
  expect(text).toContain('"timer":"xstate.after.60000.trip.soldOut"');
  expect(await runs(text)).toMatch(/Tests {2}1 passed/);
  const changed = await runs(text, 'test/support/actorsTestCaseChanged.ts');
  expect(changed).toMatch(/Tests {2}1 failed/);
  expect(changed).toContain('cancelled');
});

test('up to a moment of the past it is that moment which is expected', async () => {
  const { text } = await testCaseOf(storeOf(travelled()), 'trip', 't-1', 3);
  expect(text).toContain('expect(actor.state).toEqual("soldOut")');
  expect(text).toContain('expect(actor.status).toEqual("active")');
  expect(text).not.toContain('actor.output');
  expect(await runs(text)).toMatch(/Tests {2}1 passed/);
});

test('what is hidden stays hidden, is said to be, and is not expected', async () => {
  const store = redactingReadStore(storeOf(travelled()), redactionsOf(['trip:card.number']));
  const { text } = await testCaseOf(store, 'trip', 't-1');
  expect(text).not.toContain('4111');
  expect(text).not.toContain('Bob');
  expect(text).toContain('is not shown by the inspector');
  expect(await runs(text)).toMatch(/Tests {2}1 passed/);
});

test('a history that is not whole, or too long, is refused', async () => {
  const driver = travelled();
  const without = storeOf(driver, driver.history.slice(1));
  await expect(testCaseOf(without, 'trip', 't-1')).rejects.toMatchObject({
    code: 'history_incomplete',
  });
  await expect(testCaseOf(storeOf(driver), 'trip', 't-1', 99)).rejects.toMatchObject({
    code: 'not_found',
  });
  driver.live.seq = 1_001;
  await expect(testCaseOf(storeOf(driver), 'trip', 't-1')).rejects.toMatchObject({
    code: 'history_too_long',
  });
});

test('events that come after an end are refused, and none at all', () => {
  const events = [{ event: { type: 'xstate.init', input: {} } }, { event: { type: 'CANCEL' } }];
  expect(replayEvents(trip, { events }).status).toBe('done');
  expect(() => replayEvents(trip, { events: [...events, { event: { type: 'BOOK' } }] })).toThrow(
    'After #2 the actor has ended',
  );
  expect(() => replayEvents(trip, { events: [] })).toThrow('There are no events');
  expect(() => replayEvents(trip, { events, path: ['none'] })).toThrow('has no machine at none');
});
