import { describe, expect, test } from 'vitest';
import type { SearchableWrite } from '../../src/store/elsewhere.ts';
import type { ActorSearch, SearchPage } from '../../src/store/search.ts';
import type { Address } from '../../src/store/store.ts';
import { actor, part, type StoreCluster, transition } from './storeFixtures.ts';
import { storeStage } from './storeStage.ts';

const marked = (id: string, field: string, value: string, type = 'order'): SearchableWrite => ({
  type,
  id,
  field,
  value,
});

const MANY = 60;
const RARE_EVERY = 9;
const idOf = (n: number) => `n-${String(n).padStart(3, '0')}`;

/** What every store does with searches: bounded ones, and those by a field of the input. */
export function storeSearchContract(name: string, makeCluster: () => Promise<StoreCluster>): void {
  const { setupOwner } = storeStage(makeCluster);

  const setup = async () => {
    const owner = await setupOwner();
    const { reads } = owner.cluster;
    /** Asks until it is told that there is no more. */
    const all = async (search: ActorSearch, page: SearchPage) => {
      const found: string[] = [];
      let searched = 0;
      let asked = 0;
      let after: Address | null | undefined;
      do {
        const answer = await reads.searchActors(search, { ...page, after });
        found.push(...answer.actors.map((row) => `${row.type}/${row.id}`));
        searched += answer.searched;
        after = answer.next;
        asked++;
      } while (after);
      return { found, searched, asked };
    };
    const counted = async (search: ActorSearch, page: SearchPage) => {
      let count = 0;
      let after: Address | null | undefined;
      do {
        const answer = await reads.countActors(search, { ...page, after });
        count += answer.count;
        after = answer.next;
      } while (after);
      return count;
    };
    return { ...owner, reads, all, counted };
  };

  describe(`${name}: searches`, () => {
    const filled = async () => {
      const stage = await setup();
      const { store, nodeId, shard } = stage;
      const actors = Array.from({ length: MANY }, (_, n) =>
        actor(idOf(n), 1, { state: n % RARE_EVERY === 0 ? '"rare"' : '"paying"' }),
      );
      const others = [
        actor('a.child-1', 1, { state: '"rare"', path: '["child"]' }),
        actor('z', 1, { type: 'early', state: '"rare"' }),
        actor('a', 1, { type: 'late', state: '"rare"', status: 'error', error: '{}' }),
      ];
      await store.commit(nodeId, [part(shard(1), { actors: [...actors, ...others] })]);
      return stage;
    };
    const rare = Array.from({ length: MANY }, (_, n) => n)
      .filter((n) => n % RARE_EVERY === 0)
      .map((n) => `order/${idOf(n)}`);

    test('stop when they have looked at so many actors, and go on from there until each was looked at once', async () => {
      const { all, counted } = await filled();
      for (const lookAt of [1, 7, MANY + 3, 1_000]) {
        const page = { limit: 50, lookAt };
        const every = await all({ state: 'rare' }, page);
        expect(every.found, `${lookAt}`).toEqual(['early/z', 'late/a', ...rare]);
        expect(every.searched, `${lookAt}`).toBe(MANY + 3);
        expect(every.asked, `${lookAt}`).toBeGreaterThanOrEqual((MANY + 3) / lookAt);
        expect((await all({ type: 'order', state: 'rare' }, page)).found).toEqual(rare);
        expect((await all({ type: 'order', text: 'n-01' }, page)).found).toHaveLength(10);
        expect((await all({ type: 'order', state: 'nowhere' }, page)).found).toEqual([]);
        expect((await all({ status: 'error' }, page)).found).toEqual(['late/a']);
        expect(await counted({ state: 'rare' }, page)).toBe(rare.length + 2);
        expect(await counted({ type: 'order' }, page)).toBe(MANY);
        expect(await counted({ type: 'order', children: 'all' }, page)).toBe(MANY + 1);
      }
    });

    test('a full page says where the one behind it begins, the last one that there is none', async () => {
      const { reads } = await filled();
      const first = await reads.searchActors({ type: 'order', state: 'rare' }, { limit: 2 });
      expect(first.actors.map(({ id }) => id)).toEqual([idOf(0), idOf(RARE_EVERY)]);
      expect(first.next).toEqual({ type: 'order', id: idOf(RARE_EVERY) });
      const last = await reads.searchActors(
        { type: 'order', state: 'rare' },
        { limit: 50, after: first.next ?? undefined },
      );
      expect(last.actors).toHaveLength(rare.length - 2);
      expect(last.next).toBeNull();
      const counted = await reads.countActors({ type: 'order' }, { limit: 5 });
      expect(counted).toMatchObject({ count: 5, next: { type: 'order', id: idOf(4) } });
    });

    test('whatever time they are given, they look at something', async () => {
      const { reads } = await filled();
      const page = { limit: 50, lookAt: 3, withinMs: 0 };
      const found = await reads.searchActors({ type: 'order', state: 'rare' }, page);
      expect(found.actors.map(({ id }) => id)).toEqual([idOf(0)]);
      expect(found).toMatchObject({ searched: 3, next: { type: 'order', id: idOf(1) } });
    });
  });

  describe(`${name}: fields of the input`, () => {
    test('are written by the commit that creates the actor, which is found by them from then on', async () => {
      const { store, nodeId, shard, all, counted } = await setup();
      const ids = ['a', 'b', 'c'];
      await store.commit(nodeId, [
        part(shard(1), {
          actors: [...ids.map((id) => actor(id, 1)), actor('a', 1, { type: 'invoice' })],
          transitions: ids.map((id) => transition(id, 1)),
          searchable: [
            ...ids.map((id) => marked(id, 'region', 'eu')),
            marked('a', 'customerId', '42'),
            marked('c', 'customerId', '42'),
            marked('b', 'customerId', '420'),
            marked('a', 'customerId', '42', 'invoice'),
          ],
        }),
      ]);
      for (const page of [{ limit: 50 }, { limit: 50, lookAt: 1 }, { limit: 1 }]) {
        const of = async (fields: Record<string, string>, more: ActorSearch = {}) =>
          (await all({ ...more, fields }, page)).found;
        expect(await of({ customerId: '42' })).toEqual(['invoice/a', 'order/a', 'order/c']);
        expect(await of({ customerId: '42' }, { type: 'order' })).toEqual(['order/a', 'order/c']);
        expect(await of({ region: 'eu', customerId: '42' })).toEqual(['order/a', 'order/c']);
        expect(await of({ region: 'us', customerId: '42' })).toEqual([]);
        expect(await of({ customerId: '4' })).toEqual([]);
        expect(await of({ customer: '42' })).toEqual([]);
        expect(await of({ region: 'eu' }, { state: 'paying', text: 'b' })).toEqual(['order/b']);
        expect(await of({ region: 'eu' }, { status: 'done' })).toEqual([]);
        expect(await of({ region: 'eu' }, { status: 'error' })).toEqual([]);
        expect(await of({ region: 'eu' }, { quarantined: true })).toEqual([]);
      }
      expect(await counted({ fields: { region: 'eu' } }, { limit: 50 })).toBe(3);
      expect(await counted({ fields: { customerId: '42' } }, { limit: 2, lookAt: 1 })).toBe(3);
    });

    test('of a shard that somebody else owns are not written', async () => {
      const { store, nodeId, shard, all } = await setup();
      const stale = { ...shard(2), epoch: shard(2).epoch + 1 };
      const content = (id: string) => ({
        actors: [actor(id, 1)],
        searchable: [marked(id, 'region', 'eu')],
      });
      const { committed } = await store.commit(nodeId, [
        part(shard(1), content('mine')),
        part(stale, content('not')),
      ]);
      expect(committed).toEqual(new Set([1]));
      expect((await all({ fields: { region: 'eu' } }, { limit: 50 })).found).toEqual([
        'order/mine',
      ]);
    });

    test('stay as they were when the actor moves on', async () => {
      const { store, nodeId, shard, all } = await setup();
      await store.commit(nodeId, [
        part(shard(1), { actors: [actor('a', 1)], searchable: [marked('a', 'region', 'eu')] }),
      ]);
      await store.commit(nodeId, [
        part({ ...shard(1), commitNo: 1 }, { actors: [actor('a', 2, { state: '"paid"' })] }),
      ]);
      const search = { state: 'paid', fields: { region: 'eu' } };
      expect((await all(search, { limit: 50 })).found).toEqual(['order/a']);
    });
  });
}
