import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fromPromise, setup } from 'xstate';
import { assertServerVersion } from '../../src/bus/topology.ts';
import { startNats } from '../../src/dev/natsServer.ts';
import { startPostgres } from '../../src/dev/postgres.ts';
import { freePort } from '../../src/dev/process.ts';
import { createNode, defineActor, type NodeOptions, type PerdureError } from '../../src/index.ts';
import { counter } from '../support/actors.ts';
import {
  type LogLine,
  openSql,
  type Place,
  pause,
  prepare,
  recordingLogger,
} from '../support/cluster.ts';
import { openWorld, printLogOnFailure } from '../support/clusterWorld.ts';
import { eventually, freshDatabase, freshNamespace, natsUrl } from '../support/services.ts';

/** An error that will not go away by waiting is said at once, ms. */
const AT_ONCE_MS = 8_000;

let place: Place;
let dir: string;
const undo: (() => Promise<unknown> | unknown)[] = [];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'perdure-startup-'));
  undo.push(() => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }));
  const database = await freshDatabase();
  undo.push(() => database.drop());
  place = { databaseUrl: database.url, natsUrl: natsUrl(), namespace: freshNamespace() };
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

function nodeAt(given: Partial<NodeOptions> = {}) {
  const { logger, lines } = recordingLogger();
  const node = createNode({ actors: [counter], ...place, logger, ...given });
  undo.push(() => node.stop());
  return { node, lines };
}

async function expectRefusal(given: Partial<NodeOptions>, code: string, words: RegExp) {
  const startedAt = performance.now();
  const { node } = nodeAt(given);
  await expect(node.start()).rejects.toMatchObject({
    code,
    message: expect.stringMatching(words) as string,
  });
  expect(performance.now() - startedAt).toBeLessThan(AT_ONCE_MS);
}

const said = (lines: LogLine[], words: RegExp) =>
  eventually(() => lines.some(({ msg }) => words.test(msg)), { what: `${words} in the log` });

describe('a node refuses to start, and says why,', () => {
  test('without a schema', () => expectRefusal({}, 'schema_missing', /perdure migrate/));

  test('on a schema newer than its code', async () => {
    await prepare(place);
    const sql = await openSql(place);
    await sql.query(`INSERT INTO migration (version, name) VALUES (999, 'from_the_future')`);
    await sql.close();
    await expectRefusal({}, 'schema_newer', /999.*[Uu]pgrade/);
    await expectRefusal({ migrate: true }, 'schema_newer', /999.*[Uu]pgrade/);
  });

  test('on a namespace with another number of shards', async () => {
    await prepare(place);
    const sql = await openSql(place);
    await sql.query('UPDATE namespace SET shards = 32');
    await sql.close();
    await expectRefusal({}, 'shards_differ', /32 shards.*64/);
  });

  test('for a user Postgres does not know', async () => {
    const url = new URL(place.databaseUrl);
    url.username = 'stranger';
    url.password = 'hush';
    await expectRefusal({ databaseUrl: url.href }, 'wrong_credentials', /stranger/);
    const { node, lines } = nodeAt({ databaseUrl: url.href });
    const error: Error = await node.start().then(
      () => new Error('it started'),
      (thrown) => thrown,
    );
    expect(`${error.message}${JSON.stringify(lines)}`).not.toContain('hush');
  });

  test('for a database that does not exist', async () => {
    const url = new URL(place.databaseUrl);
    url.pathname = '/nowhere';
    await expectRefusal({ databaseUrl: url.href }, 'wrong_credentials', /nowhere/);
  });

  test('for credentials NATS does not take, and starts with the right ones', async () => {
    await prepare(place);
    const nats = await startNats({
      dir: join(dir, 'nats'),
      configText: 'authorization { user: "ours", password: "open sesame" }',
    });
    undo.push(() => nats.stop('SIGKILL'));
    const at = (user: string) => nats.url.replace('nats://', `nats://${user}@`);
    await expectRefusal({ natsUrl: nats.url }, 'wrong_credentials', /NATS/);
    await expectRefusal({ natsUrl: at('ours:wrong') }, 'wrong_credentials', /NATS/);
    const { node } = nodeAt({ natsUrl: at('ours:open%20sesame') });
    await node.start();
    expect(node.status().shards).toHaveLength(64);
    await node.stop();
  });

  test('without a URL, a type, or with a limit that makes no sense', () => {
    expect(() => createNode({ actors: [], ...place })).toThrow(/at least one actor type/);
    expect(() => createNode({ actors: [counter, counter], ...place })).toThrow(/given twice/);
    expect(() => nodeAt({ limits: { commitMax: 0 } })).toThrow(/commitMax/);
    expect(() => nodeAt({ limits: { nothing: 1 } as never })).toThrow(/nothing/);
    expect(() => nodeAt({ limits: { leaseMs: 1_000, leaseRenewMs: 900 } })).toThrow(/leaseMs/);
    expect(() => nodeAt({ namespace: 'Not A Name' })).toThrow(/namespace/i);
    expect(() => createNode({ actors: [counter], natsUrl: place.natsUrl })).toThrow(
      /PERDURE_DATABASE_URL/,
    );
  });

  test('on a nats-server that is too old', () => {
    for (const version of ['2.9.25', '1.4.1', '0.0.0', 'unknown'])
      expect(() => assertServerVersion(version)).toThrow(/needs 2\.10/);
    for (const version of ['2.10.0', '2.10.0-beta.1', 'v2.11.3', '2.14.4', '3.0.0'])
      expect(() => assertServerVersion(version)).not.toThrow();
  });
});

describe('a node waits, and says so,', () => {
  test('for a Postgres that is not there yet', async () => {
    const first = await startPostgres({ dir: join(dir, 'postgres') });
    await first.stop('SIGINT');
    const { node, lines } = nodeAt({ databaseUrl: first.url, migrate: true });
    const started = node.start();
    await said(lines, /waiting for Postgres/);
    const { port } = first;
    const again = await startPostgres({ dir: join(dir, 'postgres'), port });
    undo.push(() => again.stop('SIGKILL'));
    await started;
    expect(node.status().shards).toHaveLength(64);
    await node.stop();
  });

  test('for a NATS that is not there yet', async () => {
    await prepare(place);
    const port = await freePort();
    const { node, lines } = nodeAt({ natsUrl: `nats://127.0.0.1:${port}` });
    const started = node.start();
    await said(lines, /waiting for NATS/);
    const nats = await startNats({ dir: join(dir, 'nats'), port });
    undo.push(() => nats.stop('SIGKILL'));
    await started;
    expect(node.status().shards).toHaveLength(64);
    await node.stop();
  });

  test('and can be stopped meanwhile', async () => {
    const port = await freePort();
    for (const given of [
      { databaseUrl: `postgres://perdure@127.0.0.1:${port}/x` },
      { natsUrl: `nats://127.0.0.1:${port}` },
    ]) {
      await prepare(place);
      const { node, lines } = nodeAt(given);
      const started = node.start().then(
        () => 'started',
        (error: { code: string }) => error.code,
      );
      await said(lines, /waiting for/);
      await node.stop();
      expect(await started).toMatch(/_unavailable$/);
    }
  });
});

// ── snapshots that this node cannot open ──────────────────────────────────────────────────────────

const forever = fromPromise(() => new Promise(() => {}));
const machineWith = (state: string) =>
  setup({ actors: { forever }, types: { events: {} as { type: 'GO' } } }).createMachine({
    initial: state,
    states: { [state]: { invoke: { src: 'forever' }, on: { GO: 'end' } }, end: {} },
  });

test('a busy actor that cannot be opened stops neither the node nor its shard', async () => {
  const { world, close } = await openWorld();
  printLogOnFailure(world);
  try {
    const before = defineActor('changed', { machine: machineWith('old'), version: '1' });
    // The same version by name, and another machine: what a careless deploy does.
    const after = defineActor('changed', { machine: machineWith('new'), version: '1' });
    const first = await world.node([before, counter]);
    await world.client.start(before, { id: 'c', until: 'committed' });
    const [neighbour = ''] = world.neighbours('changed', 'c', 1);
    await first.stop();
    const second = await world.node([after, counter]);
    await world.client.start(after, { id: neighbour, until: 'committed' });
    await world.client.send(after, neighbour, { type: 'GO' }, { until: 'committed' });
    await world.publish('events.changed.c', '{"type":"GO"}', { 'Nats-Msg-Id': 'go-1' });
    const [letter] = await eventually(
      async () => {
        const letters = await world.deadLetters('events.changed.c');
        return letters.length > 0 && letters;
      },
      { what: 'the dead letter' },
    );
    expect(letter?.reason).toBe('version_unknown');
    await second.stop();
    // Nothing was lost: with the right machine it goes on from where it was.
    const third = await world.node([before, counter]);
    await world.client.send(before, 'c', { type: 'GO' }, { until: 'committed' });
    expect(await world.actor('changed', 'c')).toMatchObject({ seq: 2, state: 'end' });
    await third.stop();
  } finally {
    await close();
  }
});

test('an actor of a version this node does not know is left alone until one does', async () => {
  const { world, close } = await openWorld();
  printLogOnFailure(world);
  try {
    const v1 = defineActor('thing', { machine: machineWith('one'), version: '1' });
    const v2 = defineActor('thing', { machine: machineWith('two'), version: '2' });
    const first = await world.node([v1]);
    await world.client.start(v1, { id: 't', until: 'committed' });
    await first.stop();
    const second = await world.node([v2]);
    await world.client.send(v2, 't', { type: 'GO' });
    await eventually(async () => (await world.sql.query('SELECT FROM parked_messages')).length, {
      what: 'what is sent to it waits',
    });
    await second.stop();
    // Both at once: each actor with the version that wrote it, new ones with the newest.
    const both = await world.node([v1, v2]);
    await world.settled('thing', 't', 2);
    await world.client.start(v2, { id: 'u', until: 'committed' });
    const versions = await world.sql.query('SELECT id, version FROM actors ORDER BY id');
    expect(versions).toEqual([
      { id: 't', version: '1' },
      { id: 'u', version: '2' },
    ]);
    await both.stop();
    expect(await world.check({ types: [v1, v2] })).toEqual([]);
  } finally {
    await close();
  }
});

test('a start without input gives the machine undefined, and so does its replay', async () => {
  const { world, close } = await openWorld();
  printLogOnFailure(world);
  try {
    const seen = defineActor('seen', {
      machine: setup({ types: { input: {} as { n?: number } | null | undefined } }).createMachine({
        context: ({ input }) => ({ input: String(input) }),
      }),
    });
    await world.node([seen]);
    await world.client.start(seen, { id: 'client', until: 'committed' });
    await world.publish('jobs.seen.empty', '');
    await world.publish('jobs.seen.null', 'null');
    for (const id of ['client', 'empty', 'null']) await world.settled('seen', id, 1);
    expect((await world.actor('seen', 'client'))?.context).toEqual({ input: 'undefined' });
    expect((await world.actor('seen', 'empty'))?.context).toEqual({ input: 'undefined' });
    expect((await world.actor('seen', 'null'))?.context).toEqual({ input: 'null' });
    expect(await world.check({ types: [seen] })).toEqual([]);
  } finally {
    await close();
  }
});

test.each([0, 5, 20, 60, 120, 250])(
  'bug: a node that was stopped %d ms after its start had begun went on to start',
  async (afterMs) => {
    const { node } = nodeAt({ migrate: true, http: { port: 0 } });
    const how = node.start().then(
      () => 'started',
      (error: PerdureError) => error.code,
    );
    await pause(afterMs);
    await node.stop();
    expect(['store_unavailable', 'bus_unavailable', ...(afterMs > 0 ? ['started'] : [])]).toContain(
      await how,
    );
    expect(node.status().shards).toEqual([]);
    const { httpUrl } = node.status();
    if (httpUrl) await expect(fetch(`${httpUrl}/livez`)).rejects.toThrow();
    const sql = await openSql(place);
    undo.push(() => sql.close());
    await eventually(
      async () => {
        const left = await sql.query(
          `SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND application_name LIKE 'perdure %'`,
        );
        return left.length === 0;
      },
      { what: 'it has left Postgres' },
    );
  },
);

test('a node that waits for Postgres to migrate it gives up when it is stopped', async () => {
  const { node, lines } = nodeAt({ migrate: true, databaseUrl: 'postgres://a:b@127.0.0.1:1/x' });
  const starting = expect(node.start()).rejects.toMatchObject({ code: 'store_unavailable' });
  await said(lines, /waiting for Postgres/);
  await node.stop();
  await starting;
});
