import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ledger, TABLES, type TransferInput, transfer } from '../support/actorsTransaction.ts';
import type { NodeProcess } from '../support/cluster.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import { type Cut, startCutProxy } from '../support/cutProxy.ts';
import { eventually } from '../support/services.ts';

// G4: statements in the commit's own transaction, with a node that dies at every point of it. Nothing in the tables keeps a
// transfer from being made twice, or half.

const world = useWorld();
beforeAll(async () => {
  await world.sql.query(`SET search_path = public`);
  for (const statement of TABLES.split(';')) await world.sql.query(statement);
  await world.sql.query(`SET search_path = perdure_${world.namespace}, pg_temp`);
});
beforeEach(() => printLogOnFailure(world));

const FILE = join(import.meta.dirname, '../support/actorsTransaction.ts');
const spawn = (env: Record<string, string> = {}, databaseUrl?: string) =>
  world.spawn({}, { ...env, ...(databaseUrl && { PERDURE_DATABASE_URL: databaseUrl }) }, FILE);
const start = (id: string, input: Partial<TransferInput> = {}) =>
  world.client.start(transfer, { id, input: { from: 1, to: 2, amount: 1, ...input } });
const outcome = (id: string) => world.client.outcome(transfer, id, { timeoutMs: 20_000 });

async function expectMade(id: string, times: 0 | 1): Promise<void> {
  const { made, total } = await ledger(world.sql);
  expect([made[id] ?? 0, total]).toEqual([times, 40_000]);
  const events = (await world.transitions('transfer', id)).map(({ event_type }) => event_type);
  // In the history if and only if in the tables.
  expect(events.filter((type) => type === 'xstate.done.actor.move')).toHaveLength(times);
}

describe('a node that dies', () => {
  test.each(['inside', 'ended', 'told'])('%s: the transfer is made once', async (place) => {
    const dies = await spawn({ PERDURE_TEST_CRASH: place });
    await start(place);
    expect(await dies.exited).toMatchObject({ signal: 'SIGKILL' });
    const node = await spawn();
    expect(await outcome(place)).toMatchObject({ status: 'done', output: { error: null } });
    await expectMade(place, 1);
    await node.kill('SIGTERM');
  });

  test.each([
    ['last', 'before'],
    ['last', 'during'],
    ['COMMIT', 'before'],
    ['COMMIT', 'during'],
    ['COMMIT', 'after'],
  ] as [string, Cut][])('when %s is cut %s: once', async (what, when) => {
    const id = `${what}-${when}`;
    const proxy = await startCutProxy(world.databaseUrl);
    let dies: NodeProcess | undefined;
    try {
      dies = await spawn({}, proxy.url);
      const { pid } = dies;
      proxy.cut(
        when,
        (name) => name === what,
        1,
        () => process.kill(pid, 'SIGKILL'),
      );
      await start(id);
      expect(await dies.exited).toMatchObject({ signal: 'SIGKILL' });
    } finally {
      await proxy.close();
    }
    const node = await spawn();
    expect(await outcome(id)).toMatchObject({ status: 'done', output: { error: null } });
    await expectMade(id, 1);
    await node.kill('SIGTERM');
  });

  test('that freezes inside keeps nobody, and adds nothing when it goes on', async () => {
    const frozen = await spawn({ PERDURE_TEST_FREEZE: '1' });
    await start('frozen');
    const node = await spawn();
    expect(await outcome('frozen')).toMatchObject({ status: 'done', output: { error: null } });
    await expectMade('frozen', 1);
    frozen.process.kill('SIGCONT');
    // By the shard's epoch, or by its lease: whichever it looks at first.
    await eventually(() => /shard: lost, another node owns it|lease: over/.test(frozen.stderr()), {
      what: 'it has noticed',
    });
    await expectMade('frozen', 1);
    await frozen.kill();
    await node.kill('SIGTERM');
  });
});

test('the histories are sound', async () => {
  expect(await world.check({ types: [transfer] })).toEqual([]);
});
