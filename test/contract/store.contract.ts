import { describe, expect, test } from 'vitest';
import type { OpenedShard } from '../../src/store/sharing.ts';
import {
  actor,
  address,
  deadLetter,
  envelope,
  message,
  nodeInfo,
  parkedIn,
  part,
  type StoreCluster,
  type StoreNode,
  timer,
  transition,
} from './storeFixtures.ts';
import { CONTRACT_SHARDS, storeStage } from './storeStage.ts';

/** What every `Store` does, whatever it is made of. */
export function storeContract(name: string, makeCluster: () => Promise<StoreCluster>): void {
  const { setup, setupOwner } = storeStage(makeCluster);

  describe(`${name}: versions`, () => {
    test('what live nodes cannot open, or have not, is shown by type and version', async () => {
      const { store, nodeId, shard, shards, cluster } = await setupOwner();
      await store.commit(nodeId, [
        part(shard(1), {
          actors: [
            actor('busy', 1, { busy: true }),
            actor('rests', 1),
            actor('newer', 1, { version: '2', busy: true }),
            actor('over', 1, { version: '0', status: 'done' }),
          ],
        }),
      ]);
      // A node of an earlier release does not say, and nobody knows better.
      expect(await parkedIn(cluster.reads)).toEqual([]);
      await store.register({ ...nodeInfo('none'), opens: [] }, 60_000);
      const newer = {
        type: 'order',
        version: '2',
        actors: 1,
        waiting: 0,
        nodes: 2,
        opened_by: 1,
        messages: 0,
        since: null,
      };
      const older = { ...newer, version: '1', actors: 2 };
      expect(await parkedIn(cluster.reads)).toEqual([older, newer]);
      const opens = [
        { type: 'order', version: '2', as: '2' },
        { type: 'order', version: '1', as: '2' },
      ];
      await store.register({ ...nodeInfo('moves'), opens }, 60_000);
      await store.release(nodeId, shards);
      await store.claim('moves', CONTRACT_SHARDS);
      // It could migrate it, and the actor still is what it was.
      expect(await parkedIn(cluster.reads)).toEqual([
        { ...older, waiting: 1, nodes: 3, opened_by: 2 },
        { ...newer, nodes: 3, opened_by: 2 },
      ]);
      expect(await cluster.reads.parked({ type: 'mail' })).toEqual([]);
    });
  });

  describe(`${name}: machines`, () => {
    test('who registers is told which versions had another machine until now', async () => {
      const { store, nodeId } = await setupOwner();
      const machine = (version: string, definition: string) => ({
        ...{ type: 'order', version, definition },
      });
      const told = (...machines: ReturnType<typeof machine>[]) =>
        store.register({ ...nodeInfo(nodeId), machines }, 60_000);
      expect(await told(machine('1', '{"a":1}'), machine('2', '{}'))).toEqual([]);
      expect(await told(machine('1', '{"a":1}'), machine('2', '{}'))).toEqual([]);
      expect(await told(machine('1', '{"a":2}'), machine('2', '{}'), machine('3', '{}'))).toEqual([
        { type: 'order', version: '1' },
      ]);
      expect(await told()).toEqual([]);
    });
  });

  describe(`${name}: transactions`, () => {
    const { signal } = new AbortController();

    test('what it has done lands with its commit, and not before (S5)', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      const { notes } = cluster;
      const transaction = await store.begin(signal);
      await notes.add(transaction.tx, 'a');
      await notes.add(transaction.tx, 'b');
      await transaction.close();
      expect(await notes.read()).toEqual([]);
      const before = await store.commit(nodeId, [part(shard(3))]);
      await cluster.wait(20);
      const { committed, at } = await transaction.commit(nodeId, {
        ...part({ ...shard(3), commitNo: 1 }),
        cursor: 41,
        actors: [actor('a', 1)],
        transitions: [transition('a', 1)],
        timersArmed: [timer('a', 't', { delayMs: 1_500 })],
      });
      expect(committed).toEqual(new Set([3]));
      expect(await notes.read()).toEqual(['a', 'b']);
      // Deadlines count from the commit, however long ago it began.
      expect(at).toBeGreaterThanOrEqual(before.at + 20);
      const { timers } = await store.recover([3], 60_000);
      expect(timers).toMatchObject([{ fireAt: at + 1_500 }]);
      expect(await store.transitions(address('a'), 1, 10)).toMatchObject([{ seq: 1, at }]);
      const rows = await cluster.reads.shards();
      expect(rows[3]).toMatchObject({ cursor: 41, commit_no: 2 });
    });

    test('of one that is abandoned nothing is left, and it takes nothing more', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      const transaction = await store.begin(signal);
      await cluster.notes.add(transaction.tx, 'a');
      transaction.abandon();
      await expect(cluster.notes.add(transaction.tx, 'b')).rejects.toMatchObject({
        code: 'bad_transaction',
      });
      await expect(transaction.close()).rejects.toMatchObject({ code: 'bad_transaction' });
      await expect(transaction.commit(nodeId, part(shard(0)))).rejects.toThrow();
      transaction.abandon();
      expect(await cluster.notes.read()).toEqual([]);
      expect((await cluster.reads.shards())[0]).toMatchObject({ commit_no: 0 });
    });

    test.each(['epoch', 'commitNo'] as const)(
      'one of another %s is undone (S1, S5)',
      async (which) => {
        const { store, nodeId, shard, cluster } = await setupOwner();
        const transaction = await store.begin(signal);
        await cluster.notes.add(transaction.tx, 'a');
        await transaction.close();
        const commit = part(shard(0), {
          actors: [actor('a', 1)],
          transitions: [transition('a', 1)],
        });
        const { committed } = await transaction.commit(nodeId, {
          ...commit,
          [which]: commit[which] + 1,
        });
        expect(committed).toEqual(new Set());
        expect(await cluster.notes.read()).toEqual([]);
        expect(await store.transitions(address('a'), 1, 10)).toEqual([]);
      },
    );

    test('when its commit is refused both are undone', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      await store.commit(nodeId, [part(shard(0), { transitions: [transition('a', 1)] })]);
      const transaction = await store.begin(signal);
      await cluster.notes.add(transaction.tx, 'a');
      await transaction.close();
      const again = part({ ...shard(0), commitNo: 1 }, { transitions: [transition('a', 1)] });
      await expect(transaction.commit(nodeId, again)).rejects.toThrow(/duplicate/);
      expect(await cluster.notes.read()).toEqual([]);
      expect((await cluster.reads.shards())[0]).toMatchObject({ commit_no: 1 });
    });

    test('once its commit is under way it is not abandoned', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      const transaction = await store.begin(signal);
      await cluster.notes.add(transaction.tx, 'a');
      await expect(transaction.commit(nodeId, part(shard(0)))).rejects.toThrow();
      await transaction.close();
      await expect(cluster.notes.add(transaction.tx, 'b')).rejects.toThrow();
      const landed = transaction.commit(nodeId, part(shard(0)));
      transaction.abandon();
      expect((await landed).committed).toEqual(new Set([0]));
      expect(await cluster.notes.read()).toEqual(['a']);
    });

    test('nobody who has given up gets one', async () => {
      const { store } = await setupOwner();
      const stop = new AbortController();
      stop.abort(new Error('given up'));
      await expect(store.begin(stop.signal)).rejects.toThrow('given up');
    });
  });

  describe(`${name}: commits`, () => {
    test('a commit writes the actor, its transition, timers and outbox, and advances the cursor', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      const { committed, at } = await store.commit(nodeId, [
        part(shard(3), {
          cursor: 41,
          actors: [actor('a', 1, { busy: true, tags: '["busy"]', retries: '{"i":{"attempt":2}}' })],
          transitions: [transition('a', 1, { eventId: 'e-1', origin: 'start', actions: 2 })],
          timersArmed: [timer('a', 't', { delayMs: 1_500.2, position: 4 })],
          outboxAdded: [message('order/a/1/0')],
        }),
      ]);
      expect(committed).toEqual(new Set([3]));
      expect(Number.isInteger(at)).toBe(true);
      expect(await store.load([address('a'), address('missing')], 10)).toEqual([
        {
          ...actor('a', 1, { busy: true, tags: '["busy"]', retries: '{"i":{"attempt":2}}' }),
          snapshot: transition('a', 1).snapshot,
          shard: 3,
          epoch: 1,
          eventIds: ['e-1'],
          eventIdsComplete: true,
          crashes: 0,
          quarantined: false,
          paused: false,
        },
      ]);
      expect(await store.transitions(address('a'), 1, 10)).toEqual([
        {
          ...transition('a', 1, { eventId: 'e-1', origin: 'start', actions: 2 }),
          epoch: 1,
          nodeId,
          at,
        },
      ]);
      const recovered = await store.recover([3], 60_000);
      const { delayMs: _delay, ...armed } = timer('a', 't', { position: 4 });
      expect(recovered.timers).toEqual([{ ...armed, shard: 3, fireAt: at + 1_501 }]);
      expect(recovered.outbox).toEqual([{ ...message('order/a/1/0'), shard: 3 }]);
      const rows = await cluster.reads.shards();
      expect(rows[3]).toMatchObject({ owner: nodeId, epoch: 1, cursor: 41, commit_no: 1 });
      expect(rows[4]).toMatchObject({ owner: nodeId, epoch: 1, cursor: 0, commit_no: 0 });
    });

    test('a commit with nothing but a cursor is a commit', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      const { committed } = await store.commit(nodeId, [part(shard(0), { cursor: 9 })]);
      expect(committed).toEqual(new Set([0]));
      expect((await cluster.reads.shards())[0]).toMatchObject({ cursor: 9, commit_no: 1 });
    });

    test('an actor is replaced whole by the next commit, and keeps when it was created', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      await store.commit(nodeId, [
        part(shard(1), {
          actors: [actor('a', 1, { busy: true, retries: '{}' })],
          transitions: [transition('a', 1)],
        }),
      ]);
      const created = (await cluster.reads.actor('order', 'a'))?.created_at;
      await cluster.wait(5);
      const last = actor('a', 3, {
        status: 'done',
        state: '{"a":"b"}',
        tags: '["x"]',
        output: '42',
        version: '2',
      });
      await store.commit(nodeId, [
        part(
          { ...shard(1), commitNo: 1 },
          { actors: [last], transitions: [transition('a', 2), transition('a', 3)] },
        ),
      ]);
      expect(await store.load([address('a')], 1)).toMatchObject([last]);
      const detail = await cluster.reads.actor('order', 'a');
      expect(detail).toMatchObject({ status: 'done', state: { a: 'b' }, output: 42, tags: ['x'] });
      expect(detail?.created_at).toBe(created);
      expect(detail?.updated_at).not.toBe(created);
    });

    test('whoever is busy and goes on without a row of its own is seen where its newest transition is', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      const busy = { busy: true, state: '"paying"' };
      const first = {
        actors: [actor('a', 1, busy), actor('owing', 1, { ...busy, actedSeq: 0 })],
        transitions: [transition('a', 1), transition('owing', 1, { actions: 1 })],
      };
      await store.commit(nodeId, [part(shard(1), first)]);
      await cluster.wait(5);
      const [before] = await cluster.reads.history('order', 'a');
      const at = (seq: number) => transition('a', seq, { toState: '{"shipping":"packed"}' });
      await store.commit(nodeId, [
        part({ ...shard(1), commitNo: 1 }, { transitions: [at(2), at(3), transition('owing', 2)] }),
      ]);

      const now = { seq: 3, actedSeq: 3, busy: true, state: '{"shipping":"packed"}' };
      const a = { id: 'a', ...now, snapshot: envelope({ seq: 3 }) };
      // What its first actions have done is not known, so they are done again, and those of the next.
      const owing = { id: 'owing', seq: 2, actedSeq: 0 };
      expect(await store.load([address('a'), address('owing')], 1)).toMatchObject([a, owing]);
      expect((await store.recover([1], 0)).actors).toMatchObject([a, owing]);

      const { reads } = cluster;
      const state = { shipping: 'packed' };
      const detail = await reads.actor('order', 'a');
      expect(detail).toMatchObject({ seq: 3, state, context: { seq: 3 } });
      expect(detail?.updated_at).toBe((await reads.history('order', 'a')).at(-1)?.at);
      expect(detail?.updated_at).not.toBe(before?.at);
      expect(await reads.listActors({ state: 'shipping.packed' })).toMatchObject([{ id: 'a' }]);
      const found = await reads.searchActors({ state: 'shipping.packed' }, { limit: 9 });
      expect(found.actors).toMatchObject([{ id: 'a', seq: 3, state }]);
      expect(await reads.countActors({ state: 'paying' }, { limit: 9 })).toMatchObject({
        count: 1,
      });
      expect(await reads.population('order')).toMatchObject([
        { state: 'paying', count: 1 },
        { state, count: 1 },
      ]);

      await store.commit(nodeId, [
        part(
          { ...shard(1), commitNo: 2 },
          { actors: [actor('a', 4, { status: 'done' })], transitions: [transition('a', 4)] },
        ),
      ]);
      expect(await store.load([address('a')], 1)).toMatchObject([{ seq: 4, status: 'done' }]);
    });

    test('a stale epoch writes nothing while the other shards of the batch land (S1)', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      await store.commit(nodeId, [part(shard(2), { outboxAdded: [message('kept')] })]);
      const stale = { ...shard(2), commitNo: 1, epoch: shard(2).epoch + 5 };
      const { committed } = await store.commit(nodeId, [
        part(shard(1), { actors: [actor('a', 1)], transitions: [transition('a', 1)] }),
        part(stale, {
          cursor: 99,
          actors: [actor('b', 1)],
          transitions: [transition('b', 1, { eventId: 'e' })],
          timersArmed: [timer('b', 't')],
          outboxAdded: [message('order/b/1/0')],
          outboxDone: ['kept'],
          deadLetters: [deadLetter(7)],
        }),
      ]);
      expect(committed).toEqual(new Set([1]));
      expect(await store.load([address('a'), address('b')], 10)).toHaveLength(1);
      expect(await store.transitions(address('b'), 1, 10)).toEqual([]);
      const recovered = await store.recover([2], 60_000);
      expect(recovered).toMatchObject({ actors: [], timers: [] });
      expect(recovered.outbox.map(({ messageId }) => messageId)).toEqual(['kept']);
      expect(await cluster.reads.deadLetters({})).toEqual([]);
      expect((await cluster.reads.shards())[2]).toMatchObject({ cursor: 0, commit_no: 1 });
    });

    test('a commit of a node that is not the owner writes nothing, whatever its epoch', async () => {
      const { store, shard } = await setupOwner();
      const { committed } = await store.commit('somebody else', [
        part(shard(1), { transitions: [transition('a', 1)] }),
      ]);
      expect(committed).toEqual(new Set());
      expect(await store.transitions(address('a'), 1, 10)).toEqual([]);
    });

    test('a transition that is there already refuses the whole statement (S2, S4)', async () => {
      const { store, nodeId, shard } = await setupOwner();
      await store.commit(nodeId, [
        part(shard(1), { actors: [actor('a', 1)], transitions: [transition('a', 1)] }),
      ]);
      const refused = store.commit(nodeId, [
        part(shard(2), { actors: [actor('b', 1)], transitions: [transition('b', 1)] }),
        part({ ...shard(1), commitNo: 1 }, { transitions: [transition('a', 1)] }),
      ]);
      await expect(refused).rejects.toThrow(/duplicate/);
      expect(await store.load([address('b')], 10)).toEqual([]);
      // The numbers of both shards are still free.
      const { committed } = await store.commit(nodeId, [
        part(shard(2), { actors: [actor('b', 1)], transitions: [transition('b', 1)] }),
        part({ ...shard(1), commitNo: 1 }, { transitions: [transition('a', 2)] }),
      ]);
      expect(committed).toEqual(new Set([1, 2]));
    });

    test('who is said to be there and is gone refuses the statement; who is taken for new and is there keeps its shard out of it', async () => {
      const { store, nodeId, shard } = await setupOwner();
      const written = (commitNo: number, stored: boolean | undefined, seq: number) =>
        part(
          { ...shard(1), commitNo },
          { actors: [actor('a', seq, { stored })], transitions: [transition('a', seq)] },
        );
      const other = part(shard(2), { actors: [actor('b', 1, { stored: false })] });
      const gone = [written(0, true, 1), other];
      await expect(store.commit(nodeId, gone)).rejects.toThrow(/the row of an actor is gone/);
      // Bug: with another shard fenced in the same statement its transition landed without a row.
      const fenced = part({ ...shard(2), epoch: shard(2).epoch + 1 });
      await expect(store.commit(nodeId, [written(0, true, 1), fenced])).rejects.toThrow(
        /the row of an actor is gone/,
      );
      await store.commit(nodeId, [written(0, false, 1), other]);
      // Of the shard nothing lands, of others all does; a shard that was fenced has somebody else to ask.
      const mistaken = [
        part(
          { ...shard(1), commitNo: 1 },
          {
            actors: [actor('d', 1, { stored: false }), actor('a', 2, { stored: false })],
            transitions: [transition('d', 1), transition('a', 2)],
            outboxAdded: [message('m-d')],
          },
        ),
        part({ ...shard(2), commitNo: 1 }, { actors: [actor('e', 1, { stored: false })] }),
        part({ ...shard(3), epoch: 7 }, { actors: [actor('b', 1, { stored: false })] }),
      ];
      expect(await store.commit(nodeId, mistaken)).toMatchObject({
        committed: new Set([2]),
        mistaken: new Set([1]),
      });
      expect(await store.load([address('d'), address('e')], 10)).toMatchObject([{ id: 'e' }]);
      // Bug: one that is paused by the same commit made it a refused one, which counts as a death of the owner.
      const paused = part(
        { ...shard(1), commitNo: 1 },
        {
          actors: [actor('a', 1, { stored: false, paused: true })],
          transitions: [transition('a', 1)],
        },
      );
      expect(await store.commit(nodeId, [paused])).toMatchObject({ mistaken: new Set([1]) });
      expect((await store.recover([1, 2], 1_000)).outbox).toEqual([]);
      // What a shard that was fenced has to say of its actors changes nothing.
      const stale = part({ ...shard(3), epoch: 7 }, { actors: [actor('c', 1, { stored: true })] });
      const { committed } = await store.commit(nodeId, [written(1, true, 2), stale]);
      expect(committed).toEqual(new Set([1]));
      expect(await store.load([address('a'), address('b')], 10)).toMatchObject([
        { id: 'a', seq: 2 },
        { id: 'b', seq: 1 },
      ]);
    });

    test('an event id that the actor has recorded refuses the statement; another actor may use it', async () => {
      const { store, nodeId, shard } = await setupOwner();
      await store.commit(nodeId, [
        part(shard(1), { transitions: [transition('a', 1, { eventId: 'e' })] }),
      ]);
      const again = part(
        { ...shard(1), commitNo: 1 },
        { transitions: [transition('a', 2, { eventId: 'e' })] },
      );
      await expect(store.commit(nodeId, [again])).rejects.toThrow(/duplicate/);
      const other = part(
        { ...shard(1), commitNo: 1 },
        {
          transitions: [
            transition('b', 1, { eventId: 'e' }),
            transition('a', 2),
            transition('a', 3),
          ],
        },
      );
      expect((await store.commit(nodeId, [other])).committed).toEqual(new Set([1]));
    });

    test('the cursor never moves back', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      await store.commit(nodeId, [part(shard(0), { cursor: 50 })]);
      await store.commit(nodeId, [part({ ...shard(0), commitNo: 1 }, { cursor: 40 })]);
      expect((await cluster.reads.shards())[0]).toMatchObject({ cursor: 50, commit_no: 2 });
    });

    test('text comes back as it went in: quotes, backslashes, unicode, escaped NUL', async () => {
      const { store, nodeId, shard } = await setupOwner();
      const nasty = JSON.stringify({ text: 'a"b\\c\'d{,}\n\u0000 é 漢字 🚀 NULL', empty: '' });
      await store.commit(nodeId, [
        part(shard(1), {
          actors: [actor('a', 1, { output: nasty, state: '""' })],
          transitions: [
            transition('a', 1, { snapshot: nasty, event: nasty, eventId: 'é"\\{},🚀' }),
          ],
        }),
      ]);
      const [stored] = await store.load([address('a')], 10);
      expect(stored).toMatchObject({ snapshot: nasty, output: nasty, eventIds: ['é"\\{},🚀'] });
      expect((await store.transitions(address('a'), 1, 1))[0]?.event).toBe(nasty);
    });

    test('numbers beyond 32 bits come back exactly', async () => {
      const { store, nodeId, shard } = await setupOwner();
      const cursor = 2 ** 52 + 12_345;
      await store.commit(nodeId, [part(shard(1), { cursor })]);
      const [again] = await store.reclaim(nodeId, [shard(1)]);
      expect(again).toMatchObject({ cursor });
    });

    test('a commit that does not follow from the last recorded one writes nothing', async () => {
      const { store, nodeId, shard } = await setupOwner();
      const gap = part(shard(1), { commitNo: shard(1).commitNo + 2, cursor: 7 });
      expect((await store.commit(nodeId, [gap])).committed).toEqual(new Set());
      const again = part(shard(1), { commitNo: shard(1).commitNo, cursor: 7 });
      expect((await store.commit(nodeId, [again])).committed).toEqual(new Set());
      const next = part(shard(1), { cursor: 7 });
      expect((await store.commit(nodeId, [next])).committed).toEqual(new Set([1]));
    });
  });

  describe(`${name}: timers`, () => {
    const fireAt = async ({ store }: Pick<StoreNode, 'store'>, horizonMs = 3_600_000) =>
      (await store.nearTimers([0, 1, 2], horizonMs)).timers.map(
        (row) => [row.timerId, row.fireAt, row.armedSeq] as const,
      );

    test('a deadline is the commit’s time plus the delay, and arming again replaces it', async () => {
      const node = await setupOwner();
      const { store, nodeId, shard } = node;
      const first = await store.commit(nodeId, [
        part(shard(1), { timersArmed: [timer('a', 't'), timer('a', 'u', { delayMs: 500 })] }),
      ]);
      expect(await fireAt(node)).toEqual([
        ['u', first.at + 500, 1],
        ['t', first.at + 1_000, 1],
      ]);
      const again = await store.commit(nodeId, [
        part(
          { ...shard(1), commitNo: 1 },
          { timersArmed: [timer('a', 't', { delayMs: 9_000, armedSeq: 2 })] },
        ),
      ]);
      expect(await fireAt(node)).toEqual([
        ['u', first.at + 500, 1],
        ['t', again.at + 9_000, 2],
      ]);
    });

    test('an event that says no more than the timer’s name comes back, whatever is in it', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      const names = ['xstate.after.10.order.paying', 'a"b\\', 'é 🚀', 'a\ud800'];
      const events = names.map((name) => JSON.stringify({ type: name }));
      const timersArmed = names.map((_, n) =>
        timer('a', names[n] as string, { event: events[n] as string, position: n }),
      );
      const more = timer('a', 'b', { event: '{"type":"b","n":1}', position: 4 });
      await store.commit(nodeId, [
        part(shard(1), {
          actors: [actor('a', 1)],
          transitions: [transition('a', 1)],
          timersArmed: [...timersArmed, more],
        }),
      ]);
      const all = [...events, more.event];
      const { timers } = await store.nearTimers([1], 60_000);
      expect(timers.map(({ event }) => event).toSorted()).toEqual(all.toSorted());
      const shown = (await cluster.reads.actor('order', 'a'))?.timers;
      expect(shown?.map(({ event }) => JSON.stringify(event)).toSorted()).toEqual(all.toSorted());
    });

    test('a dropped timer is gone; dropping one that is not there is nothing', async () => {
      const node = await setupOwner();
      const { store, nodeId, shard } = node;
      await store.commit(nodeId, [part(shard(1), { timersArmed: [timer('a', 't')] })]);
      const { at } = await store.commit(nodeId, [
        part(
          { ...shard(1), commitNo: 1 },
          {
            timersDropped: [
              { ...address('a'), timerId: 't' },
              { ...address('a'), timerId: 'never' },
            ],
            timersArmed: [timer('a', 'u')],
          },
        ),
      ]);
      expect(await fireAt(node)).toEqual([['u', at + 1_000, 1]]);
    });

    test('only timers of the shards within the horizon are near, earliest first', async () => {
      const node = await setupOwner();
      const { store, nodeId, shard } = node;
      await store.commit(nodeId, [
        part(shard(1), { timersArmed: [timer('a', 'far', { delayMs: 600_000 }), timer('a', 't')] }),
        part(shard(2), { timersArmed: [timer('b', 'soon', { delayMs: 1 })] }),
        part(shard(7), { timersArmed: [timer('c', 'elsewhere')] }),
      ]);
      expect((await fireAt(node, 60_000)).map(([id]) => id)).toEqual(['soon', 't']);
      expect((await store.nearTimers([5], 60_000)).timers).toEqual([]);
      expect((await store.nearTimers([5], 60_000)).at).toBeGreaterThan(0);
    });

    test('a delay of centuries is kept', async () => {
      const { store, nodeId, shard } = await setupOwner();
      const delayMs = 500 * 365 * 86_400_000;
      const { at } = await store.commit(nodeId, [
        part(shard(1), {
          timersArmed: [timer('a', 't', { delayMs }), timer('a', 'u', { delayMs: 1e300 })],
        }),
      ]);
      const { timers } = await store.nearTimers([1], delayMs + 60_000);
      expect(timers.map((row) => row.fireAt)).toEqual([at + delayMs]);
    });
  });

  describe(`${name}: outbox and dead letters`, () => {
    test('a message stays until the shard it was sent to has applied it', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      await store.commit(nodeId, [
        part(shard(1), { outboxAdded: [message('m-1'), message('m-2', { kind: 'outcome' })] }),
      ]);
      await cluster.wait(5);
      expect(await store.staleOutbox([1, 2], 60_000, 9)).toEqual([]);
      expect((await store.staleOutbox([1, 2], 1, 9)).map((row) => row.messageId)).toEqual([
        'm-1',
        'm-2',
      ]);
      expect(await store.staleOutbox([1, 2], 1, 1)).toMatchObject([{ messageId: 'm-1' }]);
      expect(await store.staleOutbox([2], 1, 9)).toEqual([]);
      await store.commit(nodeId, [part(shard(2), { outboxDone: ['m-1', 'never'] })]);
      expect((await store.recover([1], 0)).outbox).toEqual([
        { ...message('m-2', { kind: 'outcome' }), shard: 1 },
      ]);
    });

    test('what stays in the outbox can be looked at, the oldest first', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      const rows = (olderThanMs: number, limit?: number) =>
        cluster.reads.lateOutbox({ olderThanMs, ...(limit !== undefined && { limit }) });
      await store.commit(nodeId, [part(shard(2), { outboxAdded: [message('m-2')] })]);
      await cluster.wait(5);
      await store.commit(nodeId, [
        part(shard(1), { outboxAdded: [message('m-1', { kind: 'outcome' })] }),
      ]);
      await cluster.wait(5);
      expect(await rows(60_000)).toEqual([]);
      const { type, id } = message('m-2');
      expect(await rows(1)).toEqual([
        { message_id: 'm-2', kind: 'send', type, id, shard: 2, created_at: expect.any(String) },
        { message_id: 'm-1', kind: 'outcome', type, id, shard: 1, created_at: expect.any(String) },
      ]);
      expect(await rows(1, 1)).toMatchObject([{ message_id: 'm-2' }]);
      await store.commit(nodeId, [
        part({ ...shard(2), commitNo: 1 }, { outboxDone: ['m-1', 'm-2'] }),
      ]);
      expect(await rows(1)).toEqual([]);
    });

    test('a message that is there already is left as it is', async () => {
      const { store, nodeId, shard } = await setupOwner();
      await store.commit(nodeId, [part(shard(1), { outboxAdded: [message('m')] })]);
      await store.commit(nodeId, [
        part({ ...shard(1), commitNo: 1 }, { outboxAdded: [message('m', { body: 'other' })] }),
      ]);
      expect((await store.recover([1], 0)).outbox).toEqual([{ ...message('m'), shard: 1 }]);
    });

    test('the same log message is one dead letter, however often it is written', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      await store.commit(nodeId, [part(shard(1), { deadLetters: [deadLetter(5), deadLetter(6)] })]);
      await store.commit(nodeId, [
        part({ ...shard(1), commitNo: 1 }, { deadLetters: [deadLetter(5, { detail: 'again' })] }),
        part(shard(2), { deadLetters: [deadLetter(5, { logId: 'another log' })] }),
      ]);
      const rows = await cluster.reads.deadLetters({});
      expect(rows.map(({ detail }) => detail)).toEqual(['not JSON', 'not JSON', 'not JSON']);
      const detail = await cluster.reads.deadLetter(rows.at(-1)?.dead_letter_id as string);
      expect(detail).toMatchObject({
        reason: 'bad_body',
        bytes: 4,
        headers: { 'Nats-Msg-Id': 'm-1' },
        message_id: 'm-1',
        redriven_at: null,
      });
      expect([...(detail?.body ?? [])]).toEqual([0, 1, 0x7b, 0xff]);
    });

    test('a redriven dead letter is no longer pending; an unknown one is not found', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      await store.commit(nodeId, [part(shard(1), { deadLetters: [deadLetter(5), deadLetter(6)] })]);
      const [newest] = await cluster.reads.deadLetters({ reason: 'bad_body', limit: 1 });
      const all = await cluster.reads.deadLetters({});
      const oldestFirst = await cluster.reads.deadLetters({ oldestFirst: true, limit: 1 });
      expect(all[0]).toEqual(newest);
      expect(oldestFirst).toEqual(all.slice(-1));
      await cluster.reads.markRedriven(newest?.dead_letter_id as string);
      expect(await cluster.reads.deadLetters({ pending: true })).toHaveLength(1);
      expect(await cluster.reads.deadLetters({ pending: false })).toHaveLength(1);
      expect(await cluster.reads.deadLetters({ reason: 'bad_subject' })).toEqual([]);
      expect(await cluster.reads.deadLetter('no such')).toBeUndefined();
      await expect(cluster.reads.markRedriven('123456')).rejects.toMatchObject({
        code: 'not_found',
      });
    });

    test('dead letters are listed page by page in either order, and counted by reason', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      const letters = [1, 2, 3, 4, 5].map((seq) =>
        deadLetter(seq, { reason: seq === 2 ? 'unknown_type' : 'bad_body' }),
      );
      await store.commit(nodeId, [part(shard(1), { deadLetters: letters })]);
      const all = (await cluster.reads.deadLetters({})).map((row) => row.dead_letter_id);
      for (const oldestFirst of [false, true]) {
        const seen: string[] = [];
        for (;;) {
          const after = seen.at(-1);
          const which = { oldestFirst, limit: 2, ...(after !== undefined && { after }) };
          const page = await cluster.reads.deadLetters(which);
          if (page.length === 0) break;
          seen.push(...page.map((row) => row.dead_letter_id));
        }
        expect(seen).toEqual(oldestFirst ? all.toReversed() : all);
      }
      await cluster.reads.markRedriven(all[0] as string);
      expect(await cluster.reads.deadLetterReasons({ pending: true })).toEqual([
        { reason: 'bad_body', count: 3 },
        { reason: 'unknown_type', count: 1 },
      ]);
      expect(await cluster.reads.deadLetterReasons({ pending: false })).toEqual([
        { reason: 'bad_body', count: 1 },
      ]);
      await expect(cluster.reads.deadLetters({ after: 'nought' })).rejects.toMatchObject({
        code: 'bad_options',
      });
    });
  });

  describe(`${name}: loading`, () => {
    test('event ids are complete up to the limit and said to be incomplete beyond it', async () => {
      const { store, nodeId, shard } = await setupOwner();
      const rows = [1, 2, 3].map((seq) => transition('a', seq, { eventId: `e-${seq}` }));
      await store.commit(nodeId, [
        part(shard(1), { actors: [actor('a', 4)], transitions: [...rows, transition('a', 4)] }),
      ]);
      const [whole] = await store.load([address('a')], 3);
      expect(whole).toMatchObject({ eventIds: ['e-1', 'e-2', 'e-3'], eventIdsComplete: true });
      const [some] = await store.load([address('a')], 2);
      expect(some?.eventIds).toHaveLength(2);
      expect(some?.eventIdsComplete).toBe(false);
    });

    test('known events are those their own actor has recorded', async () => {
      const { store, nodeId, shard } = await setupOwner();
      await store.commit(nodeId, [
        part(shard(1), {
          transitions: [
            transition('a', 1, { eventId: 'e-1' }),
            transition('b', 1, { eventId: 'e-2' }),
          ],
        }),
      ]);
      const asked = ['e-1', 'e-2', 'e-3'].map((eventId) => ({ ...address('a'), eventId }));
      expect(await store.knownEvents(asked)).toEqual(new Set(['order/a/e-1']));
      expect(await store.knownEvents([])).toEqual(new Set());
    });

    test('transitions come in order, from a number, up to a limit', async () => {
      const { store, nodeId, shard } = await setupOwner();
      const rows = [1, 2, 3, 4].map((seq) => transition('a', seq));
      await store.commit(nodeId, [part(shard(1), { transitions: rows })]);
      const seqs = async (fromSeq: number, limit: number) =>
        (await store.transitions(address('a'), fromSeq, limit)).map(({ seq }) => seq);
      expect(await seqs(2, 2)).toEqual([2, 3]);
      expect(await seqs(1, 10)).toEqual([1, 2, 3, 4]);
      expect(await seqs(5, 10)).toEqual([]);
    });

    test('recovering returns busy actors, near timers and the outbox of those shards only', async () => {
      const { store, nodeId, shard } = await setupOwner();
      const content = (id: string) => ({
        actors: [actor(id, 1, { busy: true }), actor(`${id}-idle`, 1)],
        transitions: [transition(id, 1, { eventId: `e-${id}` }), transition(`${id}-idle`, 1)],
        timersArmed: [timer(id, 'near'), timer(id, 'far', { delayMs: 1e9 })],
        outboxAdded: [message(`m-${id}`)],
      });
      await store.commit(nodeId, [part(shard(1), content('a')), part(shard(2), content('b'))]);
      const recovered = await store.recover([1, 5], 60_000);
      expect(recovered.actors).toMatchObject([
        { id: 'a', shard: 1, epoch: 1, eventIds: ['e-a'], eventIdsComplete: true },
      ]);
      expect(recovered.timers.map(({ timerId }) => timerId)).toEqual(['near']);
      expect(recovered.outbox.map(({ messageId }) => messageId)).toEqual(['m-a']);
      expect((await store.recover([1, 2], 60_000)).actors).toHaveLength(2);
      // An actor that is no longer busy has nothing to resume.
      await store.commit(nodeId, [
        part({ ...shard(1), commitNo: 1 }, { actors: [actor('a', 1, { busy: false })] }),
      ]);
      expect((await store.recover([1], 60_000)).actors).toEqual([]);
    });

    test('nothing asked for is nothing returned', async () => {
      const { store, nodeId } = await setupOwner();
      expect(await store.load([], 10)).toEqual([]);
      expect(await store.recover([], 10)).toMatchObject({ actors: [], timers: [], outbox: [] });
      expect(await store.reclaim(nodeId, [])).toEqual([]);
      expect((await store.commit(nodeId, [])).committed).toEqual(new Set());
    });
  });

  describe(`${name}: ownership`, () => {
    test('free shards are claimed up to the number asked for, with the next epoch', async () => {
      const cluster = await setup();
      const a = await cluster.node();
      const first = await a.store.claim(a.nodeId, 3);
      expect(first).toEqual(
        [0, 1, 2].map((shard) => ({
          shard,
          epoch: 1,
          cursor: 0,
          commitNo: 0,
          previousOwner: null,
          crashes: 0,
          suspectSeq: null,
        })),
      );
      const b = await cluster.node();
      const rest = await b.store.claim(b.nodeId, 100);
      expect(rest.map(({ shard }) => shard)).toEqual([3, 4, 5, 6, 7]);
      expect(await a.store.claim(a.nodeId, 100)).toEqual([]);
      expect((await a.store.standing(a.nodeId)).sharing).toBe(2);
    });

    test('a node that drains, or does not reach NATS while others do, is owed nothing', async () => {
      const cluster = await setup();
      const [a, b, c] = [await cluster.node(), await cluster.node(), await cluster.node()];
      await a.store.claim(a.nodeId, 5);
      const standing = ({ store, nodeId }: StoreNode) => store.standing(nodeId);
      expect(await standing(a)).toMatchObject({ sharing: 3, shares: true, free: 3, dead: [] });
      expect((await standing(a)).owned.map(({ shard }) => shard).sort()).toEqual([0, 1, 2, 3, 4]);
      await a.store.renew(a.nodeId, 60_000, false);
      expect(await standing(a)).toMatchObject({ sharing: 2, shares: false });
      expect(await standing(b)).toMatchObject({ sharing: 2, shares: true, cutOff: 1 });
      expect(await standing(a), 'of the others, it is said').toMatchObject({ cutOff: 0 });
      await b.store.drain(b.nodeId);
      expect(await standing(b)).toMatchObject({ sharing: 1, shares: false });
      await c.store.renew(c.nodeId, 60_000, false);
      expect(await standing(a), 'nobody left reaches NATS').toMatchObject({
        sharing: 2,
        shares: true,
      });
      await a.store.renew(a.nodeId, 60_000, true);
      expect(await standing(c)).toMatchObject({ sharing: 1, shares: false });
    });

    test('an owner that died is told, with what it owns', async () => {
      const cluster = await setup();
      const [a, b] = [await cluster.node(), await cluster.node()];
      await a.store.claim(a.nodeId, 5);
      await a.kill();
      const seen = await until(async () => {
        const { dead } = await b.store.standing(b.nodeId);
        return dead.length > 0 ? [dead] : [];
      });
      expect(seen).toEqual([[a.nodeId]]);
    });

    test('claims at the same time never take the same shard', async () => {
      const cluster = await setup();
      const nodes = await Promise.all([cluster.node(), cluster.node(), cluster.node()]);
      const claimed = await Promise.all(nodes.map(({ store, nodeId }) => store.claim(nodeId, 3)));
      const shards = claimed.flat().map(({ shard }) => shard);
      expect(shards.sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    });

    describe('deaths in a row', () => {
      /** One node after the other claims everything, does `work` and dies. Returns what the last one was given. */
      async function die(
        cluster: StoreCluster,
        times: number,
        work: (node: StoreNode, opened: OpenedShard[]) => Promise<unknown> = async () => {},
      ): Promise<{ node: StoreNode; opened: OpenedShard[] }> {
        for (let n = 0; ; n++) {
          const node = await cluster.node();
          const opened = await until(() => node.store.claim(node.nodeId, 8));
          if (n === times) return { node, opened };
          await work(node, opened);
          await node.kill();
        }
      }
      const busyOne = (opened: OpenedShard[], seq = 1) =>
        part(opened[1] as OpenedShard, {
          actors: [actor('a', seq, { busy: true })],
          transitions: [transition('a', seq)],
        });
      const crashesOf = async ({ store }: StoreNode) => {
        const [row] = await store.load([address('a')], 0);
        return row && { crashes: row.crashes, quarantined: row.quarantined };
      };

      test('are counted for busy actors, and from the third on for the one that is tried alone', async () => {
        const cluster = await setup();
        let first = true;
        const { node } = await die(cluster, 3, async ({ store, nodeId }, opened) => {
          if (first) await store.commit(nodeId, [busyOne(opened)]);
          first = false;
        });
        expect(await crashesOf(node)).toEqual({ crashes: 2, quarantined: false });
      });

      test('five of them quarantine the actor: it is not recovered any more, until its row is written again', async () => {
        const cluster = await setup();
        let n = 0;
        const { node, opened } = await die(cluster, 5, async ({ store, nodeId }, shards) => {
          if (++n === 1) await store.commit(nodeId, [busyOne(shards)]);
          if (n > 2)
            await store.tryActors(nodeId, [
              { ...(shards[1] as OpenedShard), ...address('a'), onTrial: true },
            ]);
        });
        expect(await crashesOf(node)).toEqual({ crashes: 5, quarantined: true });
        expect((await node.store.recover([1], 60_000)).actors).toEqual([]);
        expect(await cluster.reads.quarantined()).toMatchObject([{ id: 'a', crashes: 5 }]);
        expect(await cluster.reads.actor(address('a').type, 'a')).toMatchObject({
          crashes: 5,
          quarantined_at: expect.any(String),
        });
        await node.store.commit(node.nodeId, [busyOne(opened, 2)]);
        expect(await crashesOf(node)).toEqual({ crashes: 0, quarantined: false });
        expect((await node.store.recover([1], 60_000)).actors).toHaveLength(1);
      });

      test('are forgotten when the actor gets on', async () => {
        const cluster = await setup();
        let seq = 0;
        const { node } = await die(cluster, 4, ({ store, nodeId }, opened) =>
          store.commit(nodeId, [busyOne(opened, ++seq)]),
        );
        expect(await crashesOf(node)).toEqual({ crashes: 1, quarantined: false });
      });

      test('are counted for a shard until its cursor gets on, and for one message once it is tried alone', async () => {
        const cluster = await setup();
        let n = 0;
        const seen: unknown[] = [];
        const { opened } = await die(cluster, 6, async ({ store, nodeId }, [, shard]) => {
          const { crashes, suspectSeq } = shard as OpenedShard;
          seen.push([crashes, suspectSeq]);
          if (++n === 3) await store.tryMessages(nodeId, [{ ...(shard as OpenedShard), seq: 7 }]);
          if (n === 4) await store.tryMessages(nodeId, [{ ...(shard as OpenedShard), seq: 8 }]);
          if (n === 5) await store.tryMessages(nodeId, [{ ...(shard as OpenedShard), seq: 8 }]);
          if (n === 6) {
            await store.tryMessages(nodeId, [{ ...(shard as OpenedShard), seq: null }]);
            await store.commit(nodeId, [part(shard as OpenedShard, { cursor: 8 })]);
          }
        });
        expect(seen).toEqual([
          [0, null],
          [1, null],
          [2, null],
          [3, 7],
          [3, 8],
          [4, 8],
        ]);
        expect(opened[1]).toMatchObject({ crashes: 1, suspectSeq: null });
      });

      test('mean nothing when a node gave its shards back', async () => {
        const cluster = await setup();
        const a = await cluster.node();
        const opened = await a.store.claim(a.nodeId, 8);
        await a.store.commit(a.nodeId, [busyOne(opened)]);
        await a.store.unregister(a.nodeId);
        const { node, opened: given } = await die(cluster, 0);
        expect(given[1]).toMatchObject({ crashes: 0 });
        expect(await crashesOf(node)).toEqual({ crashes: 0, quarantined: false });
      });
    });

    test('a node that is not registered claims nothing', async () => {
      const cluster = await setup();
      const { store } = await cluster.node();
      expect(await store.claim('nobody', 8)).toEqual([]);
    });

    test('the shards of a dead node are claimed at once, those of a live one never', async () => {
      const cluster = await setup();
      const [dead, alive, heir] = [
        await cluster.node(),
        await cluster.node(),
        await cluster.node(),
      ];
      const lost = await dead.store.claim(dead.nodeId, 3);
      await alive.store.claim(alive.nodeId, 3);
      await dead.store.commit(dead.nodeId, [part(lost[1] as OpenedShard, { cursor: 12 })]);
      await heir.store.claim(heir.nodeId, 2);
      expect(await heir.store.claim(heir.nodeId, 8)).toEqual([]);
      await dead.kill();
      const taken = await until(() => heir.store.claim(heir.nodeId, 8));
      expect(taken).toEqual(
        [0, 1, 2].map((shard) => ({
          shard,
          epoch: 2,
          cursor: shard === 1 ? 12 : 0,
          commitNo: shard === 1 ? 1 : 0,
          previousOwner: dead.nodeId,
          crashes: 1,
          suspectSeq: null,
        })),
      );
      expect((await heir.store.standing(heir.nodeId)).sharing).toBe(2);
    });

    test('a lease that is not renewed runs out, and a renewed one does not', async () => {
      const cluster = await setup();
      const [silent, renewing] = [await cluster.node(), await cluster.node()];
      const other = await cluster.node();
      await silent.store.claim(silent.nodeId, 1);
      await renewing.store.claim(renewing.nodeId, 1);
      await silent.store.renew(silent.nodeId, 20, true);
      await renewing.store.renew(renewing.nodeId, 20, true);
      expect(await renewing.store.renew(renewing.nodeId, 60_000, true, 3)).toBe(true);
      expect(
        new Map((await cluster.reads.nodes()).map((row) => [row.node_id, row.refused_commits])),
      ).toEqual(
        new Map([
          [silent.nodeId, 0],
          [renewing.nodeId, 3],
          [other.nodeId, 0],
        ]),
      );
      await cluster.wait(40);
      const taken = await other.store.claim(other.nodeId, 8);
      expect(taken.map(({ shard }) => shard)).toEqual([0, 2, 3, 4, 5, 6, 7]);
      expect(taken[0]?.previousOwner).toBe(silent.nodeId);
    });

    test('the owner that lost a shard is fenced and cannot reclaim it', async () => {
      const cluster = await setup();
      const [old, heir] = [await cluster.node(1), await cluster.node()];
      const mine = await old.store.claim(old.nodeId, 2);
      await cluster.wait(20);
      await heir.store.claim(heir.nodeId, 1);
      const { committed } = await old.store.commit(
        old.nodeId,
        mine.map((shard) => part(shard)),
      );
      expect(committed).toEqual(new Set([1]));
      expect((await old.store.reclaim(old.nodeId, mine)).map(({ shard }) => shard)).toEqual([1]);
    });

    test('reclaiming bumps the epoch and says by the commit number whether a commit landed (S3)', async () => {
      const { store, nodeId, shard } = await setupOwner();
      const landed = part(shard(1), { cursor: 5, transitions: [transition('a', 1)] });
      await store.commit(nodeId, [landed]);
      const [one, two] = await store.reclaim(nodeId, [shard(2), shard(1)]);
      expect(one).toMatchObject({
        shard: 1,
        epoch: 2,
        cursor: 5,
        commitNo: 1,
        previousOwner: null,
      });
      expect(two).toMatchObject({
        shard: 2,
        epoch: 2,
        cursor: 0,
        commitNo: 0,
        previousOwner: null,
      });
      // What was sent under the old epoch can never land now.
      const late = part(shard(2), { transitions: [transition('b', 1)] });
      expect((await store.commit(nodeId, [late])).committed).toEqual(new Set());
      const next = part(one as OpenedShard, { transitions: [transition('a', 2)] });
      expect((await store.commit(nodeId, [next])).committed).toEqual(new Set([1]));
    });

    test('one whose commit was refused has one more death when it is opened again', async () => {
      const { store, nodeId, shard } = await setupOwner();
      const [first] = await store.reclaim(nodeId, [{ ...shard(1), refused: true }]);
      expect(first).toMatchObject({ shard: 1, crashes: 1 });
      const again = await store.reclaim(nodeId, [
        { ...shard(1), refused: true },
        { ...shard(2), refused: false },
      ]);
      expect(again.map(({ crashes }) => crashes)).toEqual([2, 0]);
    });

    test('reclaiming from an epoch that was bumped since finds the shard, since only its owner can have', async () => {
      const { store, nodeId, shard } = await setupOwner();
      await store.reclaim(nodeId, [shard(1)]);
      expect(await store.reclaim(nodeId, [shard(1)])).toMatchObject([{ shard: 1, epoch: 3 }]);
    });

    test('a shard that was lost and won back is not taken for the one that was lost', async () => {
      const cluster = await setup();
      const [a, b] = [await cluster.node(1), await cluster.node()];
      const [first] = await a.store.claim(a.nodeId, 1);
      await cluster.wait(20);
      const [stolen] = await b.store.claim(b.nodeId, 1);
      await b.store.commit(b.nodeId, [part(stolen as OpenedShard)]);
      await b.store.release(b.nodeId, [stolen as OpenedShard]);
      const [again] = await a.store.claim(a.nodeId, 1);
      expect(again).toMatchObject({ shard: 0, epoch: 3, commitNo: 1 });
      // The commit number is the other node's: it must not pass for the answer to a commit of epoch 1.
      expect(await a.store.reclaim(a.nodeId, [first as OpenedShard])).toEqual([]);
    });

    test('unregistering gives the shards back without a previous owner', async () => {
      const cluster = await setup();
      const [a, b] = [await cluster.node(), await cluster.node()];
      await a.store.claim(a.nodeId, 8);
      await a.store.unregister(a.nodeId);
      await a.store.unregister(a.nodeId);
      expect(await a.store.renew(a.nodeId, 1_000, true)).toBe(false);
      expect((await b.store.standing(b.nodeId)).sharing).toBe(1);
      const taken = await b.store.claim(b.nodeId, 8);
      expect(taken).toHaveLength(8);
      expect(taken[0]).toMatchObject({ epoch: 2, previousOwner: null });
    });

    test('a released shard is free, and what its owner still sends is fenced', async () => {
      const cluster = await setup();
      const [a, b] = [await cluster.node(), await cluster.node()];
      const [first, second] = await a.store.claim(a.nodeId, 2);
      const wrongEpoch = { shard: 1, epoch: 9 };
      await a.store.release(a.nodeId, [first as OpenedShard, wrongEpoch]);
      const { committed } = await a.store.commit(a.nodeId, [
        part(first as OpenedShard),
        part(second as OpenedShard),
      ]);
      expect(committed).toEqual(new Set([1]));
      expect(await b.store.claim(b.nodeId, 1)).toMatchObject([{ shard: 0, previousOwner: null }]);
    });

    test('registering twice is registering once', async () => {
      const cluster = await setup();
      const a = await cluster.node();
      await a.store.register(nodeInfo(a.nodeId), 60_000);
      expect(await cluster.reads.nodes()).toMatchObject([
        { node_id: a.nodeId, live: true, shards: 0, pid: 7, host: 'host' },
      ]);
    });
  });

  describe(`${name}: log marks`, () => {
    test('the mark is where every shard is done, as it was before the window', async () => {
      const { store, nodeId, shard, shards, cluster } = await setupOwner();
      await store.commit(
        nodeId,
        shards.slice(0, 6).map((row) => part(row, { cursor: 100 })),
      );
      // Shards 6 and 7 have nothing to do up to 80 and 90.
      const passed = [
        { shard: 6, seq: 80 },
        { shard: 7, seq: 90 },
        { shard: 5, seq: 1 },
      ];
      expect(await store.markLog(passed, 10)).toBe(0);
      await store.commit(nodeId, [
        part(shard(6), { cursor: 200 }),
        part(shard(7), { cursor: 200 }),
      ]);
      await cluster.wait(30);
      expect(await store.markLog([], 60_000)).toBe(0);
      // What shards 6 and 7 have done since then is too young.
      expect(await store.markLog([], 10)).toBe(80);
      expect((await cluster.reads.shards())[6]?.cursor).toBe(200);
    });

    test('a shard nobody has heard of holds the log back', async () => {
      const { store, nodeId, shards, cluster } = await setupOwner();
      await store.commit(
        nodeId,
        shards.slice(1).map((row) => part(row, { cursor: 100 })),
      );
      await store.markLog([], 1);
      await cluster.wait(10);
      expect(await store.markLog([], 1)).toBe(0);
    });
  });

  describe(`${name}: the log's identity`, () => {
    test('a log that was recreated is read from its start, by owners that open again', async () => {
      const { store, nodeId, shard, shards, cluster } = await setupOwner();
      expect(await store.adoptLog('JOBS@1')).toBe(false);
      await store.commit(nodeId, [part(shard(1), { cursor: 100 })]);
      expect(await store.adoptLog('JOBS@1')).toBe(false);
      expect((await cluster.reads.shards())[1]?.cursor).toBe(100);

      expect(await store.adoptLog('JOBS@2')).toBe(true);
      expect(await store.adoptLog('JOBS@2')).toBe(false);
      const stale = part({ ...shard(1), commitNo: 1 }, { cursor: 101 });
      expect((await store.commit(nodeId, [stale])).committed).toEqual(new Set());
      const opened = await store.reclaim(nodeId, shards);
      expect(opened).toHaveLength(shards.length);
      expect(opened.every(({ cursor }) => cursor === 0)).toBe(true);
    });
  });

  describe(`${name}: reading`, () => {
    test('actors are listed by type, status and state, newest first', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      const states: [string, string][] = [
        ['flat', '"paying"'],
        ['nested', '{"open":"waiting"}'],
        ['deep', '{"open":{"waiting":"long"}}'],
        ['parallel', '{"open":"waiting","door":"shut"}'],
      ];
      let commitNo = 0;
      for (const [id, state] of states) {
        const content = { actors: [actor(id, 1, { state, tags: '["t"]' })] };
        await store.commit(nodeId, [part({ ...shard(1), commitNo: commitNo++ }, content)]);
        await cluster.wait(3);
      }
      await store.commit(nodeId, [
        part(shard(2), {
          actors: [actor('x', 1, { type: 'other', status: 'error', error: '{}' })],
        }),
      ]);
      const ids = async (filter: Parameters<typeof cluster.reads.listActors>[0]) =>
        (await cluster.reads.listActors(filter)).map(({ id }) => id);
      expect(await ids({})).toEqual(['x', 'parallel', 'deep', 'nested', 'flat']);
      expect(await ids({ type: 'order', limit: 2 })).toEqual(['parallel', 'deep']);
      expect(await ids({ status: 'error' })).toEqual(['x']);
      expect(await ids({ state: 'open' })).toEqual(['parallel', 'deep', 'nested']);
      expect(await ids({ state: 'open.waiting' })).toEqual(['parallel', 'deep', 'nested']);
      expect(await ids({ state: 'open.waiting.long' })).toEqual(['deep']);
      expect(await ids({ state: 'paying', type: 'order' })).toEqual(['flat']);
      expect(await ids({ state: 'waiting' })).toEqual([]);
      expect(await cluster.reads.counts()).toEqual([
        { type: 'order', status: 'active', count: 4 },
        { type: 'other', status: 'error', count: 1 },
      ]);
    });

    test('an actor is shown with its context, timers and retries, and its history', async () => {
      const { store, nodeId, shard, cluster } = await setupOwner();
      const { at } = await store.commit(nodeId, [
        part(shard(1), {
          actors: [actor('a', 2, { retries: '{"i":1}' })],
          transitions: [
            transition('a', 1),
            transition('a', 2, { eventId: 'e', snapshot: envelope({ total: 3 }) }),
          ],
          timersArmed: [timer('a', 't', { event: '{"type":"T"}' })],
        }),
      ]);
      expect(await cluster.reads.actor('order', 'a')).toEqual({
        type: 'order',
        id: 'a',
        status: 'active',
        state: 'paying',
        version: '1',
        seq: 2,
        shard: 1,
        epoch: 1,
        tags: [],
        output: null,
        error: null,
        created_at: new Date(at).toISOString(),
        updated_at: new Date(at).toISOString(),
        context: { total: 3 },
        snapshot: envelope({ total: 3 }),
        retries: { i: 1 },
        crashes: 0,
        quarantined_at: null,
        paused_at: null,
        parked: null,
        outbox: 0,
        timers: [
          { timer_id: 't', fire_at: new Date(at + 1_000).toISOString(), event: { type: 'T' } },
        ],
      });
      expect(await cluster.reads.actor('order', 'missing')).toBeUndefined();
      const history = await cluster.reads.history('order', 'a');
      expect(history).toHaveLength(2);
      expect(history[1]).toEqual({
        seq: 2,
        epoch: 1,
        node_id: nodeId,
        event_type: 'PAY',
        event: { type: 'PAY' },
        event_id: 'e',
        origin: 'event',
        from_state: 'paying',
        to_state: 'paying',
        edges: ['#order.paying|PAY|#order.paying'],
        actions: expect.any(Number),
        at: new Date(at).toISOString(),
        snapshot: envelope({ total: 3 }),
        failed_attempts: [],
      });
      expect(await cluster.reads.history('order', 'a', { fromSeq: 2, limit: 5 })).toHaveLength(1);
    });
  });
}

/** Asks until the answer is not empty: a server notices a closed socket within moments, not at once. */
async function until<T>(ask: () => Promise<T[]>): Promise<T[]> {
  for (let i = 0; ; i++) {
    const answer = await ask();
    if (answer.length > 0 || i === 100) return answer;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
