import { afterAll, beforeAll, expect, test } from 'vitest';
import type { OpenedShard } from '../../src/store/sharing.ts';
import { addressKey, eventKey, type ShardCommit, type StoredTimer } from '../../src/store/store.ts';
import { eventually, freshDatabase, seed } from '../support/services.ts';
import { memoryCluster, postgresCluster } from './storeClusters.ts';
import {
  actor,
  address,
  deadLetter,
  message,
  parkedMessage,
  part,
  type StoreCluster,
  type StoreNode,
  timer,
  transition,
} from './storeFixtures.ts';
import { CONTRACT_SHARDS } from './storeStage.ts';

const STEPS = 400;
const IDS = ['a', 'b', 'c', 'd', 'e'];
const TIMERS = ['t', 'u', 'v'];

let database: Awaited<ReturnType<typeof freshDatabase>>;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(() => database.drop());

/** mulberry32: small, seeded, good enough to pick operations. */
function random(from: number) {
  let state = from;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    below,
    chance: (share: number) => next() < share,
    pick: <T>(list: readonly T[]): T => list[below(list.length)] as T,
  };
}

/** Both stores side by side: one node is a node on each of them. */
interface Pair {
  nodeId: string;
  sides: [StoreNode, StoreNode];
  held: Map<number, OpenedShard>;
}

test('Postgres and the in-memory twin agree on any sequence of operations', async () => {
  const { below, chance, pick } = random(seed());
  const clusters: [StoreCluster, StoreCluster] = [
    await postgresCluster(database.url),
    await memoryCluster(),
  ];
  const pairs: Pair[] = [];
  const seqs = new Map<string, number>();
  /** Actors that have a row. */
  const written = new Set<string>();
  /** Those of them that are busy. */
  const busy = new Set<string>();

  /** The same call on both sides; errors count as an answer. */
  async function both<T>(
    call: (side: 0 | 1) => Promise<T>,
    project = (value: T): unknown => value,
  ) {
    const answers = await Promise.allSettled([call(0), call(1)]);
    const [a, b] = answers.map((answer) =>
      answer.status === 'fulfilled' ? project(answer.value) : 'refused',
    );
    expect(a).toEqual(b);
    const [first] = answers;
    return first?.status === 'fulfilled' ? first.value : undefined;
  }

  async function join(): Promise<void> {
    const nodeId = crypto.randomUUID();
    const sides = await Promise.all(clusters.map((cluster) => cluster.node(60_000, nodeId)));
    pairs.push({ nodeId, sides: sides as [StoreNode, StoreNode], held: new Map() });
  }

  function randomPart(shard: OpenedShard): ShardCommit {
    const epoch = shard.epoch + (chance(0.1) ? pick([-1, 1]) : 0);
    // An actor belongs to one shard.
    const ids = IDS.map((id) => `${id}${shard.shard}`);
    const write = part({ ...shard, epoch }, { cursor: below(1_000) });
    const id = pick(ids);
    const seq = Math.max(1, (seqs.get(id) ?? 0) + (chance(0.05) ? 0 : 1));
    if (chance(0.8)) {
      const paused = chance(0.2) ? { paused: chance(0.5) } : {};
      const status = pick(['active', 'done'] as const);
      // Seldom wrong: who says so is refused.
      const stored = chance(0.4) ? undefined : chance(0.97) === written.has(id);
      const newest = seq + (chance(0.3) ? 1 : 0);
      const actedSeq = newest - below(2);
      const state = JSON.stringify(pick(['paying', 'paid']));
      // Of one that is busy and stays so the row may be left as it is.
      if (!busy.has(id) || chance(0.5)) {
        const more = { busy: chance(0.5), status, state, actedSeq, stored, ...paused };
        write.actors.push(actor(id, newest, more));
      }
      const eventId = chance(0.6) ? `e-${below(60)}` : null;
      write.transitions.push(transition(id, seq, { eventId, toState: state, actions: below(3) }));
      if (newest > seq) write.transitions.push(transition(id, newest, { toState: state }));
    } else if (chance(0.3)) write.paused.push({ ...address(id), paused: chance(0.5) });
    for (const timerId of TIMERS)
      if (chance(0.25))
        write.timersArmed.push(timer(id, timerId, { delayMs: below(50) * 10_000, armedSeq: seq }));
      else if (chance(0.2)) write.timersDropped.push({ ...address(id), timerId });
    const sent = `m-${below(30)}`;
    if (chance(0.3)) write.outboxAdded.push(message(sent, { body: String(below(9)) }));
    const applied = `m-${below(30)}`;
    if (chance(0.3) && applied !== sent) write.outboxDone.push(applied);
    if (chance(0.1)) write.deadLetters.push(deadLetter(below(20), { detail: String(below(9)) }));
    // A position of the log belongs to one shard, too.
    const position = () => shard.shard * 100 + below(20);
    const kept = position();
    if (chance(0.3)) write.parked.push(parkedMessage(kept, id, { subject: `s${below(9)}` }));
    const taken = position();
    if (chance(0.3) && taken !== kept) write.unparked.push(parkedMessage(taken, id));
    return write;
  }

  async function commit({ nodeId, sides, held }: Pair): Promise<void> {
    const parts = [...held.values()].filter(() => chance(0.6)).map(randomPart);
    const added = new Set(parts.flatMap((row) => row.outboxAdded.map((sent) => sent.messageId)));
    for (const row of parts) row.outboxDone = row.outboxDone.filter((id) => !added.has(id));
    const result = await both(
      (side) => sides[side].store.commit(nodeId, parts),
      ({ committed }) => [...committed].sort(),
    );
    for (const row of parts) {
      if (!result?.committed.has(row.shard)) continue;
      held.set(row.shard, { ...(held.get(row.shard) as OpenedShard), commitNo: row.commitNo });
      for (const one of row.actors) {
        written.add(one.id);
        if (one.busy) busy.add(one.id);
        else busy.delete(one.id);
      }
      for (const { id, seq } of row.transitions) seqs.set(id, Math.max(seqs.get(id) ?? 0, seq));
    }
  }

  async function step(): Promise<void> {
    if (pairs.length === 0 || (pairs.length < 3 && chance(0.1))) return join();
    const pair = pick(pairs);
    const { nodeId, sides, held } = pair;
    const some = [...held.values()].filter(() => chance(0.4));
    const kind = below(20);
    if (kind < 2) {
      const max = below(5);
      const opened = await both((side) => sides[side].store.claim(nodeId, max));
      for (const shard of opened ?? []) held.set(shard.shard, shard);
    } else if (kind === 2) {
      const opened = await both((side) => sides[side].store.reclaim(nodeId, some));
      for (const { shard } of some) held.delete(shard);
      for (const shard of opened ?? []) held.set(shard.shard, shard);
    } else if (kind === 3) {
      await both((side) => sides[side].store.release(nodeId, some));
      if (chance(0.7)) for (const { shard } of some) held.delete(shard);
    } else if (kind === 4 && chance(0.3)) {
      pairs.splice(pairs.indexOf(pair), 1);
      if (chance(0.5)) return void (await both((side) => sides[side].store.unregister(nodeId)));
      await Promise.all(sides.map((side) => side.kill()));
      await eventually(
        async () => !(await clusters[0].reads.nodes()).find((row) => row.node_id === nodeId)?.live,
        { what: 'the session lock of a killed node is gone' },
      );
    } else await commit(pair);
  }

  for (let i = 0; i < STEPS; i++) await step();
  await join();

  // Everything that can be seen of either store, times aside.
  const { sides } = pairs.at(-1) as Pair;
  const shards = Array.from({ length: CONTRACT_SHARDS }, (_, shard) => shard);
  const all = shards.flatMap((shard) => IDS.map((id) => address(`${id}${shard}`)));
  const byKey = <T>(rows: T[], key: (row: T) => string) =>
    rows.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
  const timeless = ({ fireAt: _at, ...row }: StoredTimer) => row;
  const transitionsSeen = { of: 0 };
  for (const one of all)
    await both(
      (side) => sides[side].store.transitions(one, 1, 1_000),
      (rows) => {
        transitionsSeen.of += rows.length;
        return rows.map(({ at: _at, ...row }) => row);
      },
    );
  expect(transitionsSeen.of).toBeGreaterThan(STEPS / 4);
  await both(
    (side) => sides[side].store.load(all, 1_000),
    (rows) => byKey(rows, addressKey),
  );
  const known = all.flatMap((one) =>
    Array.from({ length: 60 }, (_, n) => ({ ...one, eventId: `e-${n}` })),
  );
  await both(
    (side) => sides[side].store.knownEvents(known),
    (keys) => known.map((event) => keys.has(eventKey(event))),
  );
  await both(
    (side) => sides[side].store.recover(shards, 3_600_000),
    ({ actors, timers, outbox, parked }) => ({
      parked: parked.map(({ since: _since, ...row }) => row),
      actors: byKey(actors, addressKey),
      timers: byKey(timers.map(timeless), (row) => `${addressKey(row)}/${row.timerId}`),
      outbox: byKey(outbox, (row) => row.messageId),
    }),
  );
  await both(
    (side) => clusters[side].reads.shards(),
    (rows) => rows.map(({ opened_at: _at, owned_since: _since, ...row }) => row),
  );
  await both(
    (side) => clusters[side].reads.deadLetters({}),
    (rows) =>
      byKey(
        rows.map((row) => row.detail),
        String,
      ),
  );
  for (const shard of shards)
    await both((side) => sides[side].store.parkedMessages(shard, undefined, 100));
  await both((side) => clusters[side].reads.counts());
  for (const { type, id } of all)
    await both(
      (side) => clusters[side].reads.actor(type, id),
      (row) => row && [row.seq, row.epoch, row.state, row.status, row.snapshot],
    );
  await both(
    (side) => clusters[side].reads.searchActors({ state: 'paid' }, { limit: 100 }),
    (found) => found.actors.map(({ id, seq }) => [id, seq]),
  );
  await Promise.all(clusters.map((cluster) => cluster.close()));
}, 60_000);
