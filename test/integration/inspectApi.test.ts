import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { REDACTED, redactingReadStore, redactionsOf } from '../../src/inspect/redaction.ts';
import type { ActorSearch, SearchPage } from '../../src/store/search.ts';
import { memoryCluster, postgresCluster } from '../contract/storeClusters.ts';
import type { StoreCluster } from '../contract/storeFixtures.ts';
import { actor, deadLetter, nodeInfo, part, timer, transition } from '../contract/storeFixtures.ts';
import { ask, machines, recordingEngine, startSite } from '../support/inspectSite.ts';
import { freshDatabase } from '../support/services.ts';

// The HTTP API over both stores: what one finds, the other finds.

let database: Awaited<ReturnType<typeof freshDatabase>>;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(() => database.drop());

const MANY = 120;

describe.each<[string, () => Promise<StoreCluster>]>([
  ['memory', memoryCluster],
  ['postgres', () => postgresCluster(database.url)],
])('on %s', (_name, open) => {
  let cluster: StoreCluster;
  let site: Awaited<ReturnType<typeof startSite>>;
  let nodeId: string;
  const { engine, told, emit, pulse, listeners } = recordingEngine();
  const get = (path: string) => ask(site.url + path);
  const post = (path: string, json: unknown) => ask(site.url + path, { json });
  const ids = async (query: string) =>
    (await get(`/api/actors?${query}`)).body.actors.map((one: { id: string }) => one.id);

  beforeAll(async () => {
    cluster = await open();
    const node = await cluster.node();
    nodeId = node.nodeId;
    await node.store.register({ ...nodeInfo(nodeId), machines }, 60_000);
    const shards = await node.store.claim(nodeId, 100);
    const snapshot = (context: unknown, started = {}) =>
      JSON.stringify({
        machine: 'order',
        version: '1',
        started,
        timers: {},
        snapshot: { context },
      });
    const waiting = '{"open":"waiting"}';
    const content = {
      actors: [
        actor('a-1', 3, {
          state: waiting,
          tags: '["fresh"]',
          retries: `{"charge":{"attempt":2,"nextAt":1767225600000,"error":{"name":"Error","message":"declined"}}}`,
        }),
        actor('a-1.ship-2', 1, { state: '"packing"', path: '["ship"]' }),
        actor('a-2', 1, { state: '"paying"' }),
        actor('a-3', 1, { state: '"paid"', status: 'done', output: '{"ok":true}' }),
        actor('b_1', 1, { state: waiting, version: '0', paused: true }),
        ...Array.from({ length: MANY }, (_, n) =>
          actor(`many-${String(n).padStart(3, '0')}`, 1, { state: waiting }),
        ),
        actor('x', 1, { type: 'other', status: 'error', error: '{"name":"Error","message":"no"}' }),
      ],
      transitions: [
        transition('a-1', 1, {
          toState: waiting,
          snapshot: snapshot({ total: 10, items: [1] }, { charge: 2 }),
        }),
        transition('a-1', 2, {
          toState: waiting,
          snapshot: snapshot({ total: 10, items: [1, 2] }, { charge: 2 }),
        }),
        transition('a-1.ship-2', 1),
        ...['a-2', 'a-3', 'b_1'].map((id) => transition(id, 1)),
        transition('x', 1, { type: 'other' }),
        transition('a-1', 3, {
          eventId: 'e-3',
          toState: waiting,
          snapshot: snapshot({ total: 30, items: [1, 2] }, { charge: 2 }),
        }),
      ],
      searchable: [
        { type: 'order', id: 'a-1', field: 'customerId', value: '42' },
        { type: 'order', id: 'a-2', field: 'customerId', value: '42' },
        { type: 'order', id: 'a-2', field: 'region', value: 'e u' },
      ],
      failedAttempts: [
        {
          ...{ type: 'order', id: 'a-1', startedSeq: 2, invokeId: 'charge', attempt: 1, ranMs: 70 },
          error: '{"name":"Error","message":"declined"}',
        },
      ],
      timersArmed: [timer('a-1', 'xstate.after.1000.order.open.waiting')],
      outboxAdded: [
        { messageId: 'm-1', kind: 'send' as const, type: 'order', id: 'a-1', body: '{}', shard: 1 },
      ],
      deadLetters: [
        deadLetter(5),
        deadLetter(6, { reason: 'unknown_actor', body: Buffer.from('{}') }),
      ],
    };
    await node.store.commit(nodeId, [part(shards[1] as (typeof shards)[0], content)]);
    site = await startSite(cluster.reads, engine);
  });
  afterAll(async () => {
    await site?.close();
    await cluster?.close();
  });

  test('actors are listed in pages, each once', async () => {
    const seen: string[] = [];
    let after = '';
    for (let pages = 0; pages < 10; pages++) {
      const { body } = await get(`/api/actors?limit=50${after}`);
      seen.push(...body.actors.map((one: { type: string; id: string }) => `${one.type}/${one.id}`));
      if (body.next === null) break;
      after = `&after=${encodeURIComponent(body.next)}`;
    }
    expect(seen).toHaveLength(MANY + 5);
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.toSorted()).toEqual(seen);
  });

  test('actors are found by everything there is to find them by', async () => {
    expect(await ids('type=other')).toEqual(['x']);
    expect(await ids('status=done')).toEqual(['a-3']);
    expect(await ids('state=paying&type=order')).toEqual(['a-2']);
    expect(await ids('state=open.waiting&limit=2')).toEqual(['a-1', 'b_1']);
    expect(await ids('state=open.waiting&version=0')).toEqual(['b_1']);
    expect(await ids('tag=fresh')).toEqual(['a-1']);
    expect(await ids('text=many-11')).toHaveLength(10);
    expect(await ids('text=_1')).toEqual(['b_1']);
    expect(await ids('text=%25')).toEqual([]);
    expect(await ids(`text=${encodeURIComponent("' OR 1=1 --")}`)).toEqual([]);
    expect(await ids(`node=${nodeId}&type=other`)).toEqual(['x']);
    expect(await ids('type=order&text=a-1&children=true')).toEqual(['a-1', 'a-1.ship-2']);
    expect(await ids('quarantined=true')).toEqual([]);
    expect(await ids('idle=1000')).toEqual([]);
    expect(await ids('field.customerId=42')).toEqual(['a-1', 'a-2']);
    expect(await ids('type=order&field.customerId=42&field.region=e%20u')).toEqual(['a-2']);
    expect(await ids('field.customerId=42&state=open')).toEqual(['a-1']);
    expect(await ids('field.customerId=4')).toEqual([]);
    expect((await get('/api/actors?field=42')).body.error.code).toBe('bad_options');
    expect((await get('/api/actors?field.=42')).body.error.code).toBe('bad_options');
    expect((await get('/api/count?type=order&text=many')).body).toEqual({
      count: MANY,
      more: false,
      searched: MANY + 5,
      complete: true,
      next: null,
    });
  });

  test('what stops before the end says where to go on, and so each is found and counted once', async () => {
    const slow: typeof cluster.reads = Object.assign(Object.create(cluster.reads), {
      searchActors: (search: ActorSearch, page: SearchPage) =>
        cluster.reads.searchActors(search, { ...page, lookAt: 40 }),
      countActors: (search: ActorSearch, page: SearchPage) =>
        cluster.reads.countActors(search, { ...page, lookAt: 40 }),
    });
    const bounded = await startSite(slow, engine);
    try {
      const walk = async (path: string, json?: { filter: object }) => {
        // biome-ignore lint/suspicious/noExplicitAny: tests look at whatever came
        const answers: any[] = [];
        for (let next: string | null = ''; next !== null; next = answers.at(-1).next) {
          const after = next === '' ? '' : `&after=${encodeURIComponent(next)}`;
          const { body } = json
            ? await ask(bounded.url + path, {
                json: { ...json, ...(next !== '' && { after: next }) },
              })
            : await ask(`${bounded.url}${path}${after}`);
          answers.push(body);
          expect(body.complete).toBe(body.next === null);
        }
        return answers;
      };
      const listed = await walk('/api/actors?type=order&state=paid');
      expect(listed.length).toBeGreaterThan(3);
      expect(listed.flatMap(({ actors }) => actors).map(({ id }) => id)).toEqual(['a-3']);
      expect(listed.reduce((sum, { searched }) => sum + searched, 0)).toBe(MANY + 5);
      const counts = await walk('/api/count?type=order&state=open');
      expect(counts.reduce((sum, { count }) => sum + count, 0)).toBe(MANY + 2);
      const filter = { type: 'order', text: 'many' };
      const previews = await walk('/api/bulk/preview', { filter });
      expect(previews.reduce((sum, { count }) => sum + count, 0)).toBe(MANY);
      told.length = 0;
      // What acts goes on to the end by itself.
      const { body } = await ask(`${bounded.url}/api/bulk`, {
        json: { filter, do: 'send', event: { type: 'PAY' }, count: MANY },
      });
      expect(body.result).toMatchObject({ matched: MANY, accepted: MANY });
      expect(told).toHaveLength(MANY);
      told.length = 0;
    } finally {
      await bounded.close();
    }
  });

  test('one actor is shown with what runs, what waits, its family and what it handles', async () => {
    const { body } = await get('/api/actors/order/a-1');
    expect(body.actor).toMatchObject({
      type: 'order',
      id: 'a-1',
      state: { open: 'waiting' },
      context: { total: 30 },
      path: [],
      parent: null,
      deaf: null,
      invokes: [
        {
          id: 'charge',
          started_seq: 2,
          attempt: 2,
          next_at: '2026-01-01T00:00:00.000Z',
          error: { name: 'Error', message: 'declined' },
          failed_attempts: [{ attempt: 1, ran_ms: 70, error: { message: 'declined' } }],
        },
      ],
      children: [{ id: 'a-1.ship-2', status: 'active', state: 'packing' }],
      timers: [{ timer_id: 'xstate.after.1000.order.open.waiting' }],
      mailbox: { depth: 3, memory: 2, parked: 0, outbox: 1 },
      events: [
        { type: 'HURRY', states: ['order.open.waiting'], guards: [] },
        { type: 'NOTE', states: ['order'], guards: [] },
        { type: 'PAY', states: ['order.open'], guards: ['big'] },
      ],
    });
    expect(body.actor).not.toHaveProperty('snapshot');
    const { body: child } = await get('/api/actors/order/a-1.ship-2');
    expect(child.actor).toMatchObject({ parent: { id: 'a-1', child_id: 'ship' }, path: ['ship'] });
    expect(child.actor.deaf).toContain('a-1');
    const { body: old } = await get('/api/actors/order/b_1');
    expect(old.actor.events).toBeNull();
    // Its node does not say what waits in its memory.
    expect(old.actor.mailbox).toEqual({ depth: null, memory: null, parked: 0, outbox: 0 });
    expect((await get('/api/actors/order/nobody')).status).toBe(404);
  });

  test('its history comes in pages, with any snapshot and what changed', async () => {
    const { body: first } = await get('/api/actors/order/a-1/history?limit=2');
    expect(first.transitions.map((row: { seq: number }) => row.seq)).toEqual([1, 2]);
    expect(first.next).toBe(3);
    expect(first.transitions[0]).not.toHaveProperty('snapshot');
    const { body: rest } = await get('/api/actors/order/a-1/history?from=3');
    expect(rest).toMatchObject({ transitions: [{ seq: 3, event_id: 'e-3' }], next: null });
    const { body: step } = await get('/api/actors/order/a-1/history/2');
    expect(step.transition).toMatchObject({ seq: 2, context: { total: 10, items: [1, 2] } });
    expect(step.transition.effects).toMatchObject([
      {
        id: 'charge',
        started_seq: 2,
        how: 'running',
        attempt: 2,
        failed_attempts: [{ attempt: 1 }],
      },
    ]);
    const { body: diff } = await get('/api/actors/order/a-1/diff?from=1&to=3');
    expect(diff.changes).toEqual([
      { path: 'context.total', kind: 'changed', before: 10, after: 30 },
      { path: 'context.items[1]', kind: 'added', after: 2 },
    ]);
    expect((await get('/api/actors/order/a-1/diff?to=1')).body.changes[0]).toMatchObject({
      path: '',
      kind: 'added',
    });
    for (const path of ['history/4', 'history/0', 'diff?to=9'])
      expect((await get(`/api/actors/order/a-1/${path}`)).status, path).toBe(404);
    expect((await get('/api/actors/order/nobody/history')).status).toBe(404);
  });

  test('the machine of a version is what its node has recorded, and is drawn', async () => {
    const { body } = await get('/api/types/order/versions/1/chart');
    expect(body.chart.machines[0]).toMatchObject({
      id: 'order',
      actors: { charge: { kind: 'promise' } },
    });
    const { body: drawing } = await get('/api/types/order/versions/1/layout');
    const names = drawing.layout.down.states.map((state: { id: string }) => state.id);
    expect(names).toEqual(expect.arrayContaining(['order', 'order.open.waiting', 'initial:order']));
    for (const edge of drawing.layout.right.edges) expect(edge.points.length).toBeGreaterThan(1);
    expect((await get('/api/types/order/versions/9/chart')).status).toBe(404);
    expect((await get('/api/types/order/versions/1/layout?path=none')).status).toBe(404);
  });

  test('types, population and the overview count what there is', async () => {
    const { body } = await get('/api/types');
    expect(body.types).toMatchObject([
      { type: 'order', versions: [{ version: '1' }], counts: { active: MANY + 3, done: 1 } },
      { type: 'other', versions: [], counts: { error: 1 } },
    ]);
    const { body: population } = await get('/api/types/order/population');
    expect(population.rows).toContainEqual(
      expect.objectContaining({
        version: '1',
        status: 'active',
        state: { open: 'waiting' },
        count: MANY + 1,
      }),
    );
    for (const { oldest_at, median_at } of population.rows)
      expect(Date.parse(median_at)).toBeGreaterThanOrEqual(Date.parse(oldest_at));
    const { body: overview } = await get('/api/overview');
    expect(overview).toMatchObject({
      nodes: { live: 1 },
      waiting: 3,
      dead_letters: { waiting: 2, reasons: { bad_body: 1, unknown_actor: 1 } },
      quarantined: 0,
    });
  });

  test('what is known without counting every actor can be asked for by itself', async () => {
    const { body: overview } = await get('/api/overview?counts=false');
    expect(overview).toMatchObject({
      nodes: { live: 1 },
      dead_letters: { waiting: 2 },
      ...{ counted_at: null, population: null, parked: null, still: null },
    });
    const { body } = await get('/api/types?counts=false');
    expect(body).toMatchObject({
      counted_at: null,
      types: [{ type: 'order', versions: [{ version: '1' }], machine: 'order', counts: null }],
    });
    expect((await get('/api/overview?counts=maybe')).status).toBe(400);
  });

  test('nodes, shards and dead letters are shown', async () => {
    expect((await get('/api/nodes')).body.nodes).toMatchObject([{ node_id: nodeId, state: 'ok' }]);
    expect((await get('/api/shards')).body.shards[1]).toMatchObject({
      owner: nodeId,
      health: 'ok',
      lag: 3,
    });
    const { body } = await get('/api/dead-letters?pending=true&reason=bad_body');
    expect(body.dead_letters).toHaveLength(1);
    const [{ dead_letter_id: id }] = body.dead_letters;
    const { body: one } = await get(`/api/dead-letters/${id}`);
    expect(one.dead_letter).toMatchObject({
      reason: 'bad_body',
      body: 'AAF7/w==',
      body_encoding: 'base64',
    });
    const misspelt = await get('/api/dead-letters?reason=bad_boby');
    expect(misspelt.status).toBe(400);
    expect(misspelt.body.error.message).toContain('No dead letter has the reason bad_boby');
    expect((await get('/api/dead-letters?reason=log_full')).body.dead_letters).toEqual([]);
    expect((await get('/api/dead-letters/999999')).status).toBe(404);
    for (const path of ['/api/quarantined', '/api/parked', '/api/me', '/readyz', '/livez'])
      expect((await get(path)).status, path).toBe(200);
  });

  test('an event goes through when the state handles it, and is refused with what it handles', async () => {
    told.length = 0;
    const sent = await post('/api/actors/order/a-1/events', {
      event: { type: 'PAY', by: 'card' },
      message_id: 'k',
    });
    expect(sent.status).toBe(200);
    expect(told).toEqual([
      {
        type: 'order',
        id: 'a-1',
        event: { type: 'PAY', by: 'card' },
        until: 'committed',
        messageId: 'k',
      },
    ]);
    expect(await post('/api/actors/order/a-1/events', { event: { type: 'SHIP' } })).toMatchObject({
      status: 409,
      body: { error: { code: 'event_not_handled', allowed: ['HURRY', 'NOTE', 'PAY'] } },
    });
    for (const [path, status, code] of [
      ['a-3/events', 409, 'actor_finished'],
      ['a-1.ship-2/events', 409, 'actor_deaf'],
      ['nobody/events', 404, 'not_found'],
    ] as const)
      expect(
        await post(`/api/actors/order/${path}`, { event: { type: 'PAY' } }),
        path,
      ).toMatchObject({
        status,
        body: { error: { code } },
      });
    for (const event of [{}, { type: 'xstate.init' }, { type: 'perdure.cancel' }, { type: '' }])
      expect((await post('/api/actors/order/a-1/events', { event })).body.error.code).toBe(
        'bad_event',
      );
    expect(told).toHaveLength(1);
  });

  test('cancel, release and redrive', async () => {
    told.length = 0;
    expect((await post('/api/actors/order/a-2/cancel', {})).status).toBe(200);
    expect((await post('/api/actors/order/a-3/cancel', {})).body.error.code).toBe('actor_finished');
    expect((await post('/api/actors/order/a-2/release', {})).body.error.code).toBe(
      'not_quarantined',
    );
    expect((await post('/api/dead-letters/1/redrive', {})).status).toBe(200);
    expect((await post('/api/dead-letters/redrive', { count: 7 })).body.error.code).toBe(
      'count_changed',
    );
    const { body } = await post('/api/dead-letters/redrive', { count: 1, reason: 'unknown_actor' });
    expect(body.result).toMatchObject({ matched: 1, redriven: 1 });
    expect(told).toMatchObject([
      { event: { type: 'perdure.cancel' } },
      { redrive: '1' },
      { redrive: '2' },
    ]);
  });

  test('pause and resume, one and many', async () => {
    told.length = 0;
    const code = async (path: string) => (await post(path, {})).body.error?.code;
    expect(await ids('paused=true')).toEqual(['b_1']);
    expect((await get('/api/actors/order/b_1')).body.actor).toMatchObject({
      paused_at: expect.any(String),
    });
    expect(await code('/api/actors/order/a-1/pause')).toBeUndefined();
    expect(await code('/api/actors/order/a-1/resume')).toBe('not_paused');
    expect(await code('/api/actors/order/b_1/resume')).toBeUndefined();
    expect(await code('/api/actors/order/b_1/pause')).toBe('already_paused');
    expect(await code('/api/actors/order/a-3/pause')).toBe('actor_finished');
    expect(await code('/api/actors/order/a-1.ship-2/pause')).toBe('not_a_root');
    expect(await code('/api/actors/order/nobody/pause')).toBe('not_found');
    await post('/api/actors/order/b_1/events', { event: { type: 'PAY' } });
    expect(told).toMatchObject([
      { event: { type: 'perdure.pause' }, until: 'committed' },
      { event: { type: 'perdure.resume' }, until: 'committed' },
      { event: { type: 'PAY' }, until: 'accepted' },
    ]);
    told.length = 0;
    const filter = { type: 'order', text: 'b_' };
    const bulk = async (what: string) =>
      (await post('/api/bulk', { filter, do: what, count: 1 })).body.result;
    expect(await bulk('pause')).toMatchObject({ accepted: 0, refused: 1 });
    expect((await bulk('pause')).problems).toMatchObject([{ id: 'b_1', code: 'already_paused' }]);
    expect(await bulk('resume')).toMatchObject({ accepted: 1, refused: 0 });
    expect(told).toMatchObject([{ event: { type: 'perdure.resume' } }]);
  });

  test('a bulk operation acts on what was previewed, and on nothing else', async () => {
    told.length = 0;
    const filter = { type: 'order', text: 'many-', state: 'open.waiting' };
    const { body: preview } = await post('/api/bulk/preview', { filter });
    expect(preview).toMatchObject({ count: MANY, more: false });
    expect(preview.sample).toHaveLength(10);
    const bulk = (more: object) =>
      post('/api/bulk', { filter, do: 'cancel', count: MANY, ...more });
    expect((await bulk({ count: MANY - 1 })).body.error).toMatchObject({
      code: 'count_changed',
      allowed: [MANY],
    });
    expect((await bulk({ filter: { text: 'many-' } })).body.error.code).toBe('bad_options');
    expect((await bulk({ filter: { ...filter, colour: 'red' } })).body.error.code).toBe(
      'bad_options',
    );
    expect((await bulk({ do: 'delete' })).body.error.code).toBe('bad_options');
    expect(told).toEqual([]);
    expect((await bulk({})).body.result).toMatchObject({
      matched: MANY,
      accepted: MANY,
      refused: 0,
    });
    expect(told).toHaveLength(MANY);
    told.length = 0;
    const mixed = { filter: { type: 'order' }, do: 'send', event: { type: 'HURRY' } };
    const { body: all } = await post('/api/bulk', { ...mixed, count: MANY + 4 });
    // One is paying, one is done; of the one whose machine is not recorded nothing is known.
    expect(all.result).toMatchObject({ matched: MANY + 4, accepted: MANY + 2, refused: 2 });
  });

  test('what is to be hidden is shown nowhere, and what is not, is', async () => {
    const rules = redactionsOf([
      'order:total',
      'order:ok',
      '*:items.*',
      'order:type',
      'order:region',
    ]);
    const hidden = await startSite(redactingReadStore(cluster.reads, rules), engine);
    try {
      const see = async (path: string) => (await ask(hidden.url + path)).body;
      const { actor: shown } = await see('/api/actors/order/a-1');
      expect(shown.context).toEqual({ total: REDACTED, items: [1, 2] });
      expect(shown.invokes).toHaveLength(1);
      const { transition: step } = await see('/api/actors/order/a-1/history/2');
      expect(step).toMatchObject({ context: { total: REDACTED }, event: { type: REDACTED } });
      expect((await see('/api/actors/order/a-1/diff?from=1&to=3')).changes).toHaveLength(1);
      expect((await see('/api/actors?status=done')).actors[0].output).toEqual({ ok: REDACTED });
      const { dead_letters: letters } = await see('/api/dead-letters?reason=bad_body');
      const { dead_letter: letter } = await see(`/api/dead-letters/${letters[0].dead_letter_id}`);
      expect(letter.body).toBe(REDACTED);
      for (const path of ['actors', 'count'])
        for (const type of ['', 'type=order&']) {
          const asked = await ask(`${hidden.url}/api/${path}?${type}field.region=e%20u`);
          expect(asked.body.error).toMatchObject({ code: 'bad_options' });
          expect(asked.body.error.message).toContain('region');
        }
      expect((await see('/api/actors?field.customerId=42')).actors).toHaveLength(2);
      for (const path of ['/api/overview', '/api/types', '/api/count', '/api/shards'])
        expect((await ask(hidden.url + path)).status, path).toBe(200);
    } finally {
      await hidden.close();
    }
    for (const rule of ['order', ':x', 'order:', 'a b:c'])
      expect(() => redactionsOf([rule]), rule).toThrow(/TYPE:PATH/);
  });

  test('what happens is told as it happens, and to whom comes back, what was missed', async () => {
    const stop = new AbortController();
    const open = (lastId?: string) =>
      fetch(`${site.url}/api/live?type=order`, {
        signal: stop.signal,
        headers: lastId === undefined ? {} : { 'last-event-id': lastId },
      });
    const first = reading(await open());
    expect(await first.next('hello')).toBeDefined();
    emit({ type: 'order', id: 'a-1', seq: 4, event: 'PAY', status: 'active' });
    emit({ type: 'other', id: 'x', seq: 2, event: 'PAY', status: 'active' });
    const told = await first.next('transitions');
    expect(told.data).toMatchObject({ entries: [{ id: 'a-1', seq: 4 }], skipped: 0 });
    emit({ type: 'order', id: 'a-2', seq: 2, event: 'PAY', status: 'error' });
    expect((await first.next('transitions')).data).toMatchObject({ entries: [{ id: 'a-2' }] });
    const again = reading(await open(told.id));
    expect((await again.next('transitions')).data).toMatchObject({
      entries: expect.arrayContaining([expect.objectContaining({ id: 'a-2', seq: 2 })]),
    });
    const stranger = reading(await open('other-1'));
    expect(await stranger.next('reset')).toBeDefined();
    stop.abort();
  });

  test('bug: whoever came back was told the last 200 it had missed, and of no more than that', async () => {
    const stop = new AbortController();
    const open = (lastId?: string) =>
      fetch(`${site.url}/api/live?type=order&id=a-1`, {
        signal: stop.signal,
        headers: lastId === undefined ? {} : { 'last-event-id': lastId },
      });
    const first = reading(await open());
    await first.next('hello');
    let seq = 0;
    const move = () =>
      emit({ type: 'order', id: 'a-1', seq: ++seq, event: 'PAY', status: 'active' });
    move();
    const { id } = await first.next('transitions');
    for (let n = 0; n < 450; n++) move();
    const back = reading(await open(id));
    const missed: { seq: number }[] = [];
    let last = id;
    while (missed.length < 450) {
      const told = await back.next('transitions');
      const { entries, skipped } = told.data as { entries: { seq: number }[]; skipped: number };
      expect([skipped, entries.length <= 200]).toEqual([0, true]);
      missed.push(...entries);
      // Each message says how far it goes: whoever is cut off in between goes on from there.
      if (missed.length === 200) last = told.id;
    }
    expect(missed.map((one) => one.seq)).toEqual(Array.from({ length: 450 }, (_, n) => n + 2));
    const { data } = await reading(await open(last)).next('transitions');
    expect((data as { entries: { seq: number }[] }).entries[0]).toMatchObject({ seq: 202 });
    for (let n = 0; n < 5_000; n++) move();
    expect(await reading(await open(id)).next('reset')).toBeDefined();
    stop.abort();
  });

  test('how much goes on is told once a second, and nobody hears of every transition for that', async () => {
    const stop = new AbortController();
    const before = listeners.size;
    const open = (query: string) => fetch(`${site.url}/api/live${query}`, { signal: stop.signal });
    const rates = reading(await open('?only=rates'));
    expect(await rates.next('hello')).toBeDefined();
    expect(listeners.size).toBe(before);
    const type = { transitions: 5, started: 2, done: 1, error: 1 };
    const word = (node: string, waited: number[], ...ids: string[]) =>
      pulse({
        ...{ node, word: 'pulse', waited, types: { order: type } },
        recent: ids.map((id, at) => ({ type: 'order', id, seq: 1, at })),
      });
    word('one', [10, 20, 30, 40], 'a', 'c');
    word('two', [], 'b');
    let told: {
      types: Record<string, unknown>;
      latency: unknown;
      recent: { id: string }[];
      silent: unknown;
    };
    const recent: string[] = [];
    do {
      told = (await rates.next('rates')).data as typeof told;
      recent.push(...told.recent.map(({ id }) => id));
    } while (!told.types.order);
    expect(told.types).toEqual({
      order: { transitions: 10, started: 4, done: 2, failed: 2 },
    });
    expect(told.latency).toEqual({ p50: 20, p95: 40 });
    expect(recent).toEqual(['a', 'b', 'c']);
    // Each pulse once, whenever the next one comes.
    const silences: unknown[] = [];
    for (let second = 0; second < 3 || silences.at(-1) === false; second++) {
      const { data } = await rates.next('rates');
      expect(data).toMatchObject({ types: {}, recent: [] });
      silences.push((data as { silent: unknown }).silent);
    }
    // Bug: while NATS hung, pages said "live" until the connection was given up.
    expect([told.silent, silences.at(-1)]).toEqual([false, true]);
    word('one', []);
    expect((await rates.next('rates')).data).toMatchObject({ silent: false });
    const later = reading(await open('?type=order'));
    const { seconds } = (await later.next('hello')).data as { seconds: { types: object }[] };
    expect(seconds.filter(({ types }) => 'order' in types).length).toBeGreaterThan(0);
    expect(seconds.every((second) => !('recent' in second))).toBe(true);
    // Who comes back is told of the seconds it has missed.
    const back = reading(
      await fetch(`${site.url}/api/live?only=rates`, {
        signal: stop.signal,
        headers: { 'last-event-id': (await rates.next('rates')).id },
      }),
    );
    expect((await back.next('hello')).data).toHaveProperty('seconds');
    stop.abort();
    for (const query of ['only=rates&type=order', 'type=oder'])
      expect((await get(`/api/live?${query}`)).status, query).toBe(400);
    const refused = await get('/api/live?only=all');
    expect(refused.status).toBe(400);
    expect(refused.body.error.message).toContain('only must be one of rates');
  });
});

/** Reads server-sent events one by one. */
function reading(response: Response) {
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  let text = '';
  return {
    async next(event: string): Promise<{ id: string; data: unknown }> {
      for (;;) {
        const at = text.indexOf('\n\n');
        if (at < 0) {
          const { value, done } = await reader.read();
          if (done) throw new Error('the stream has ended');
          text += Buffer.from(value).toString();
          continue;
        }
        const lines = Object.fromEntries(
          text
            .slice(0, at)
            .split('\n')
            .map((line) => line.split(/: (.*)/s) as [string, string]),
        );
        text = text.slice(at + 2);
        if (lines.event === event)
          return { id: lines.id as string, data: JSON.parse(lines.data as string) };
      }
    },
  };
}
