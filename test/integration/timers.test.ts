import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { assign, setup } from 'xstate';
import { defineActor } from '../../src/index.ts';
import { alarm, capture, counter } from '../support/actors.ts';
import { type NodeProcess, randomFrom } from '../support/cluster.ts';
import { printLogOnFailure, useWorld } from '../support/clusterWorld.ts';
import { eventually, seed } from '../support/services.ts';

/** How late a timer may be on a busy machine, ms. Never early at all (G6). */
const LATE_MS = 5_000;

const world = useWorld();
beforeEach(() => printLogOnFailure(world));

interface TimerRow {
  timer_id: string;
  fire_at: Date;
}

const timers = (id: string) =>
  world.sql.query<TimerRow>('SELECT timer_id, fire_at FROM timers WHERE id = $1', [id]);

async function databaseTime(): Promise<number> {
  const [row] = await world.sql.query<{ now: Date }>('SELECT clock_timestamp() AS now');
  return row?.now.getTime() as number;
}

async function rang(id: string): Promise<string[]> {
  return ((await world.actor('alarm', id))?.context as { rang: string[] } | undefined)?.rang ?? [];
}

/** Waits for the n-th ring and says when it was committed. */
async function ring(id: string, count = 1): Promise<number> {
  await eventually(async () => (await rang(id)).length >= count, {
    what: `ring ${count} of ${id}`,
  });
  const rows = await world.transitions('alarm', id);
  const fired = rows.filter(({ event_type }) => event_type === 'RING' || /after/.test(event_type));
  return fired[count - 1]?.at.getTime() as number;
}

describe('armed before kill -9', () => {
  const deadlines = new Map<string, number>();
  let ready = 0;

  function expectOnTime(at: number, fireAt: number): void {
    expect(at).toBeGreaterThanOrEqual(fireAt);
    expect(at).toBeLessThan(Math.max(fireAt, ready) + LATE_MS);
  }

  beforeAll(async () => {
    const { client } = world;
    let node: NodeProcess = await world.spawn({ timerHorizonMs: 1_500 });
    const ids = ['kept', 'overdue', 'unset', 'left', 'again', 'tells', 'far'];
    await Promise.all(ids.map((id) => client.start(alarm, { id, until: 'committed' })));
    await client.start(counter, { id: 'told', until: 'committed' });
    const send = (id: string, event: Parameters<typeof client.send<typeof alarm>>[2]) =>
      client.send(alarm, id, event, { until: 'committed' });
    await send('kept', { type: 'SET', id: 'bell', ms: 3_500 });
    await send('unset', { type: 'SET', id: 'bell', ms: 2_000 });
    await send('unset', { type: 'SET', id: 'gong', ms: 2_500 });
    await send('unset', { type: 'UNSET', id: 'bell' });
    await send('left', { type: 'WAIT', ms: 1_500 });
    await send('left', { type: 'LEAVE' });
    await send('left', { type: 'WAIT', ms: 3_000 });
    await send('again', { type: 'SET', id: 'bell', ms: 2_500 });
    await send('again', { type: 'SET', id: 'bell', ms: 3_500 });
    await send('tells', { type: 'TELL', to: 'told', ms: 2_500, n: 7 });
    // Beyond what a node holds in memory.
    await send('far', { type: 'SET', id: 'bell', ms: 6_000 });
    // Long enough for the node to be killed before, also on a busy machine.
    await send('overdue', { type: 'SET', id: 'bell', ms: 1_000 });
    await node.kill('SIGKILL');
    for (const id of ids)
      for (const { timer_id, fire_at } of await timers(id))
        deadlines.set(`${id}/${timer_id}`, fire_at.getTime());
    await eventually(
      async () => (await databaseTime()) > (deadlines.get('overdue/bell') as number),
      {
        what: 'the deadline passes while no node runs',
      },
    );
    node = await world.spawn({ timerHorizonMs: 1_500 });
    ready = await databaseTime();
  });

  test('a timer fires once, at its original deadline', async () => {
    expectOnTime(await ring('kept'), deadlines.get('kept/bell') as number);
    expect(await rang('kept')).toEqual(['bell']);
    expect(await timers('kept')).toEqual([]);
  });

  test('one that came due while no node ran fires promptly, once', async () => {
    expect(await ring('overdue')).toBeLessThan(ready + LATE_MS);
    expect(await rang('overdue')).toEqual(['bell']);
  });

  test('one that was cancelled stays cancelled', async () => {
    expect(deadlines.has('unset/bell')).toBe(false);
    expectOnTime(await ring('unset'), deadlines.get('unset/gong') as number);
    expect(await rang('unset')).toEqual(['gong']);
  });

  test('leaving a state cancels its `after`, entering it again arms a new one', async () => {
    const [fireAt] = [...deadlines]
      .filter(([name]) => name.startsWith('left/'))
      .map(([, at]) => at);
    expectOnTime(await ring('left'), fireAt as number);
    expect(await rang('left')).toEqual(['after']);
    expect(await world.actor('alarm', 'left')).toMatchObject({ state: 'idle' });
  });

  test('arming a timer again replaces it', async () => {
    expectOnTime(await ring('again'), deadlines.get('again/bell') as number);
    expect(await rang('again')).toEqual(['bell']);
  });

  test('a delayed sendTo reaches another actor once, not before its time', async () => {
    await world.settled('counter', 'told', 2);
    const [, added] = await world.transitions('counter', 'told');
    const [fireAt] = [...deadlines]
      .filter(([name]) => name.startsWith('tells/'))
      .map(([, at]) => at);
    expectOnTime(added?.at.getTime() as number, fireAt as number);
    expect(added?.event).toEqual({ type: 'ADD', n: 7 });
    expect((await world.transitions('counter', 'told')).length).toBe(2);
  });

  test('a timer far beyond the horizon fires at its deadline', async () => {
    expectOnTime(await ring('far'), deadlines.get('far/bell') as number);
  });

  test('the history is sound', async () => {
    const options = { types: [alarm, counter], capture, quiescent: true };
    await eventually(async () => (await world.check(options)).length === 0, { what: 'rest' });
    expect(await world.check(options)).toEqual([]);
  });
});

// One machine with many timers at once, told apart by name.
const many = defineActor('many', {
  machine: setup({
    types: {
      input: {} as { delays: number[] },
      context: {} as { delays: number[]; fired: string[] },
    },
    delays: Object.fromEntries(
      Array.from({ length: 8 }, (_, n) => [
        `d${n}`,
        ({ context }: { context: { delays: number[] } }) => context.delays[n] as number,
      ]),
    ),
  }).createMachine({
    context: ({ input }) => ({ delays: input.delays, fired: [] }),
    after: Object.fromEntries(
      Array.from({ length: 8 }, (_, n) => [
        `d${n}`,
        { actions: assign({ fired: ({ context }) => [...context.fired, `d${n}`] }) },
      ]),
    ),
  }),
});

test('a thousand timers: none early, none twice, none forgotten, equal deadlines in order', async () => {
  const random = randomFrom(seed());
  const fresh = { namespace: `${world.namespace}_m` };
  const { openSql, prepare } = await import('../support/cluster.ts');
  const { createClient } = await import('../../src/client.ts');
  await prepare({ ...world, ...fresh });
  const node = await world.node([many], {}, fresh);
  const client = createClient({ natsUrl: world.natsUrl, ...fresh });
  const sql = await openSql({ ...world, ...fresh });
  try {
    const starts = Array.from({ length: 125 }, (_, n) => {
      const delays = Array.from({ length: 8 }, () => Math.floor(random() * 1_500));
      if (n === 0) delays.fill(700);
      return client.start(many, { id: `m${n}`, input: { delays } });
    });
    await Promise.all(starts);
    await eventually(
      async () => {
        const [row] = await sql.query<{ fired: number }>(
          `SELECT count(*)::int AS fired FROM transition WHERE origin = 'timer'`,
        );
        return row?.fired === 1_000;
      },
      { what: 'a thousand firings' },
    );
    const [late] = await sql.query<{ late: string }>(
      `SELECT max(extract(epoch FROM t.at - s.at) * 1000 -
                  (s.event::json #>> ARRAY['input', 'delays', substring(t.event_type from 'd([0-7])')])::float8) AS late
         FROM transition t JOIN transition s USING (type, id) WHERE t.origin = 'timer' AND s.seq = 1`,
    );
    expect(Number(late?.late)).toBeLessThan(LATE_MS);
    const [first] = await sql.query<{ snapshot: string }>(
      `SELECT snapshot FROM current_actor JOIN transition USING (type, id, seq) WHERE id = 'm0'`,
    );
    expect(JSON.parse(first?.snapshot ?? '').snapshot.context.fired).toEqual(
      Array.from({ length: 8 }, (_, n) => `d${n}`),
    );
    // The checker knows of every arming, and that none fired before its time.
    expect(await world.check({ ...fresh, types: [many], quiescent: true })).toEqual([]);
  } finally {
    await sql.close();
    await client.close();
    await node.stop();
  }
});
