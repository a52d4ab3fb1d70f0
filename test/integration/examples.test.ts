import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { approval } from '../../examples/approval.ts';
import { device } from '../../examples/device.ts';
import { fulfilment } from '../../examples/fulfilment.ts';
import { poller } from '../../examples/poller.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import { eventually } from '../support/services.ts';

// What examples/ promises, in a real node.

const world = useWorld();
beforeEach(() => printLogOnFailure(world));
beforeAll(() => world.node([approval, device, fulfilment, poller]));

const FAST = { timeoutMs: 10_000 };

test('fulfilment ships, or undoes in reverse what it had done', async () => {
  await world.client.start(fulfilment, { id: 'f-1', input: { item: 'book', total: 30 } });
  await world.client.start(fulfilment, {
    id: 'f-2',
    input: { item: 'anvil', total: 9, refuse: true },
  });
  expect(await world.client.outcome(fulfilment, 'f-1', FAST)).toEqual({
    status: 'done',
    output: { shipped: true, undone: [] },
  });
  expect(await world.client.outcome(fulfilment, 'f-2', FAST)).toEqual({
    status: 'done',
    output: { shipped: false, undone: ['reserved', 'charged'] },
  });
});

test('approval reminds three times and expires, unless somebody decides', async () => {
  await world.client.start(approval, { id: 'a-1', input: { what: 'a', remindMs: 50 } });
  await world.client.start(approval, { id: 'a-2', input: { what: 'b' } });
  await world.client.send(approval, 'a-2', { type: 'APPROVE', by: 'ada' });
  expect(await world.client.outcome(approval, 'a-1', FAST)).toMatchObject({
    output: { approved: false, reminders: 3 },
  });
  expect(await world.client.outcome(approval, 'a-2', FAST)).toMatchObject({
    output: { approved: true, by: 'ada', reminders: 0 },
  });
});

test('poller counts changes, and goes on after failures', async () => {
  let page = 'one';
  let fails = false;
  const server = createServer((_, answer) => {
    answer.statusCode = fails ? 500 : 200;
    answer.end(page);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const context = async () => (await world.client.snapshot(poller, 'p')).context;
  const sees = (changes: number) =>
    eventually(async () => (await context()).changes === changes, { what: `${changes} changes` });
  try {
    const input = { url: `http://127.0.0.1:${port}/`, everyMs: 20 };
    await world.client.start(poller, { id: 'p', input, until: 'committed' });
    await sees(1);
    fails = true;
    await eventually(async () => (await context()).failures > 1, { what: 'failures' });
    [page, fails] = ['two', false];
    await sees(2);
    await world.client.send(poller, 'p', { type: 'STOP' });
    expect(await world.client.outcome(poller, 'p', FAST)).toMatchObject({ status: 'done' });
  } finally {
    server.close();
  }
});

test('device tells, and is told', async () => {
  await world.client.start(device, { id: 'd', input: { device: 'attic' } });
  await world.client.send(device, 'd', { type: 'COMMAND', command: 'heat' });
  await eventually(
    async () => {
      const { readings, done } = (await world.client.snapshot(device, 'd')).context;
      return readings > 1 && done.includes('heat');
    },
    { what: 'readings, and the command is done' },
  );
  await world.client.send(device, 'd', { type: 'CLOSE' });
  expect(await world.client.outcome(device, 'd', FAST)).toMatchObject({
    output: { done: ['heat'] },
  });
});
