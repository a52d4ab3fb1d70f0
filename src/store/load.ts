import { int4Array, int8Array, textArray } from './arrays.ts';
import type { Lane } from './lane.ts';
import { parkedActors } from './parked.ts';
import { NOT_PAUSED } from './paused.ts';
import {
  type ActorStatus,
  type Address,
  type EventKey,
  eventKey,
  type Origin,
  type OutboxRow,
  type Recovered,
  type StoredActor,
  type StoredTimer,
  type StoredTransition,
} from './store.ts';
import { eventFromStore } from './timerEvents.ts';

/** Shards recovered by one query: keeps its answer, and its time, bounded when thousands of actors are busy. */
const RECOVER_SHARDS = 8;

const MS = (column: string) => `(extract(epoch FROM ${column}) * 1000)::int8`;

/** A millisecond timestamp read back exactly: see AT in commit.ts. */
const NOW = MS(`date_trunc('milliseconds', now())`);

/**
 * One event id more than asked for tells whether there are more. Ordered, so that the index on event ids is walked
 * and no row is fetched; which ones come first does not matter, since an incomplete set makes the owner ask.
 */
const ACTOR = (max: string) => `
  a.type, a.id, a.version, a.path, a.status, CASE WHEN n.seq > a.seq THEN n.to_state ELSE a.state END AS state, a.tags, coalesce(n.seq, a.seq) AS seq, a.output, a.error, a.busy,
  CASE WHEN a.acted_seq = a.seq THEN coalesce(n.seq, a.seq) ELSE a.acted_seq END AS acted_seq,
  a.retries, a.shard, greatest(a.epoch, n.epoch) AS epoch, a.crashes, a.quarantined_at IS NOT NULL AS quarantined,
  a.paused_at IS NOT NULL AS paused, n.snapshot,
  ARRAY(SELECT t.event_id FROM transition t
         WHERE t.type = a.type AND t.id = a.id AND t.event_id IS NOT NULL
         ORDER BY t.event_id LIMIT ${max} + 1) AS event_ids`;

/** Where the actor stands: its row may lag behind (`ShardCommit.actors`). */
const NEWEST = `
  LEFT JOIN LATERAL (
    SELECT t.seq, t.epoch, t.to_state, t.snapshot FROM transition t
     WHERE t.type = a.type AND t.id = a.id AND t.seq >= a.seq ORDER BY t.seq DESC LIMIT 1) AS n ON true`;

interface ActorRow {
  type: string;
  id: string;
  version: string;
  path: string | null;
  status: ActorStatus;
  state: string;
  tags: string;
  seq: number;
  snapshot: string;
  output: string | null;
  error: string | null;
  busy: boolean;
  acted_seq: number;
  retries: string | null;
  shard: number;
  epoch: number;
  crashes: number;
  quarantined: boolean;
  paused: boolean;
  event_ids: string[];
}

function storedActor(row: ActorRow, eventIdsMax: number): StoredActor {
  const { acted_seq, event_ids, ...rest } = row;
  return {
    ...rest,
    actedSeq: acted_seq,
    eventIds: event_ids.slice(0, eventIdsMax),
    eventIdsComplete: event_ids.length <= eventIdsMax,
  };
}

export async function load(
  lane: Lane,
  addresses: readonly Address[],
  eventIdsMax: number,
): Promise<StoredActor[]> {
  const rows = await lane.ask<ActorRow>({
    name: 'load',
    text: `SELECT ${ACTOR('$3::int4')}
             FROM unnest($1::text[], $2::text[]) AS w (type, id)
             JOIN actor a ON a.type = w.type AND a.id = w.id ${NEWEST}`,
    values: [
      textArray(addresses, (address) => address.type),
      textArray(addresses, (address) => address.id),
      eventIdsMax,
    ],
  });
  return rows.map((row) => storedActor(row, eventIdsMax));
}

export async function recover(
  lane: Lane,
  shards: readonly number[],
  timerHorizonMs: number,
  eventIdsMax: number,
): Promise<Recovered> {
  const groups: number[][] = [];
  for (let i = 0; i < shards.length; i += RECOVER_SHARDS)
    groups.push(shards.slice(i, i + RECOVER_SHARDS));
  const [{ at, timers }, outbox, parked, ...actors] = await Promise.all([
    nearTimers(lane, shards, timerHorizonMs),
    outboxOf(lane, shards),
    parkedActors(lane, shards),
    ...groups.map((group) => busyActors(lane, group, eventIdsMax)),
  ]);
  return { at, actors: actors.flat(), timers, outbox, parked };
}

async function busyActors(
  lane: Lane,
  shards: readonly number[],
  eventIdsMax: number,
): Promise<StoredActor[]> {
  const rows = await lane.ask<ActorRow>({
    name: 'busy_actors',
    text: `SELECT ${ACTOR('$2::int4')} FROM actor a ${NEWEST}
            WHERE a.busy AND a.quarantined_at IS NULL AND a.shard = ANY ($1::int4[])
              AND ${NOT_PAUSED('a')}`,
    values: [int4Array(shards, (shard) => shard), eventIdsMax],
  });
  return rows.map((row) => storedActor(row, eventIdsMax));
}

interface TimerRow {
  now: number;
  shard: number | null;
  type: string;
  id: string;
  timer_id: string;
  armed_seq: number;
  position: number;
  fire_at: number;
  event: string;
}

/** The time comes back even when there is no timer. */
export async function nearTimers(
  lane: Lane,
  shards: readonly number[],
  horizonMs: number,
): Promise<{ at: number; timers: StoredTimer[] }> {
  const rows = await lane.ask<TimerRow>({
    name: 'near_timers',
    text: `SELECT ${NOW} AS now, t.shard, t.type, t.id, t.timer_id, t.armed_seq, t.position, t.event,
                  ${MS('t.fire_at')} AS fire_at
             FROM (SELECT) AS one
             LEFT JOIN timer t ON t.shard = ANY ($1::int4[])
                              AND t.fire_at <= now() + $2::int8 * interval '1 ms'
                              AND ${NOT_PAUSED('t')}
            ORDER BY t.fire_at, t.type, t.id, t.armed_seq, t.position`,
    values: [int4Array(shards, (shard) => shard), Math.max(0, Math.floor(horizonMs))],
  });
  return {
    at: rows[0]?.now as number,
    timers: rows.flatMap(({ now: _now, shard, timer_id, armed_seq, fire_at, event, ...rest }) =>
      shard === null
        ? []
        : [
            {
              ...rest,
              shard,
              timerId: timer_id,
              armedSeq: armed_seq,
              fireAt: fire_at,
              event: eventFromStore(timer_id, event),
            },
          ],
    ),
  };
}

interface OutboxDbRow {
  message_id: string;
  kind: OutboxRow['kind'];
  type: string;
  id: string;
  body: string;
  shard: number;
}

/** Rows in the order they were committed: all, or those that are stale. */
export async function outboxOf(
  lane: Lane,
  shards: readonly number[],
  stale?: { olderThanMs: number; limit: number },
): Promise<OutboxRow[]> {
  const rows = await lane.ask<OutboxDbRow>({
    name: stale ? 'stale_outbox' : 'outbox',
    text: `SELECT message_id, kind, type, id, body, shard FROM outbox
            WHERE shard = ANY ($1::int4[])
              ${stale ? `AND created_at < now() - $2::int8 * interval '1 ms'` : ''}
            ORDER BY created_at, message_id ${stale ? 'LIMIT $3::int4' : ''}`,
    values: [
      int4Array(shards, (shard) => shard),
      ...(stale ? [Math.floor(stale.olderThanMs), stale.limit] : []),
    ],
  });
  return rows.map(({ message_id, ...rest }) => ({ ...rest, messageId: message_id }));
}

export async function knownEvents(lane: Lane, events: readonly EventKey[]): Promise<Set<string>> {
  const rows = await lane.ask<{ type: string; id: string; event_id: string }>({
    name: 'known_events',
    text: `SELECT t.type, t.id, t.event_id
             FROM unnest($1::text[], $2::text[], $3::text[]) AS w (type, id, event_id)
             JOIN transition t ON t.type = w.type AND t.id = w.id AND t.event_id = w.event_id`,
    values: [
      textArray(events, (event) => event.type),
      textArray(events, (event) => event.id),
      textArray(events, (event) => event.eventId),
    ],
  });
  return new Set(rows.map(({ type, id, event_id }) => eventKey({ type, id, eventId: event_id })));
}

interface TransitionRow {
  type: string;
  id: string;
  seq: number;
  event_type: string;
  event: string;
  event_id: string | null;
  origin: Origin;
  from_state: string | null;
  to_state: string;
  edges: string;
  actions: number;
  snapshot: string;
  epoch: number;
  node_id: string;
  at: number;
}

export async function transitions(
  lane: Lane,
  address: Address,
  fromSeq: number,
  limit: number,
): Promise<StoredTransition[]> {
  const rows = await lane.ask<TransitionRow>({
    name: 'transitions',
    text: `SELECT type, id, seq, event_type, event, event_id, origin, from_state, to_state, edges, actions,
                  snapshot, epoch, node_id, ${MS('at')} AS at
             FROM transition WHERE type = $1 AND id = $2 AND seq >= $3 ORDER BY seq LIMIT $4`,
    values: [address.type, address.id, fromSeq, limit],
  });
  return rows.map(({ event_type, event_id, from_state, to_state, node_id, ...rest }) => ({
    ...rest,
    eventType: event_type,
    eventId: event_id,
    fromState: from_state,
    toState: to_state,
    nodeId: node_id,
  }));
}

/** Marks are this far apart at least. */
const MARK_EVERY = `interval '30 s'`;

/** See `Store.markLog`. */
export async function markLog(
  lane: Lane,
  passed: readonly { shard: number; seq: number }[],
  replayWindowMs: number,
): Promise<number> {
  // Remembered apart from the cursor: it is only about what the log may drop, so that a wrong one cannot make a
  // reader skip anything, and does no harm at all before a whole replay window has gone by.
  await lane.ask({
    name: 'passed',
    text: `
      WITH moved AS MATERIALIZED (
        SELECT s.shard, w.seq FROM unnest($1::int4[], $2::int8[]) AS w (shard, seq)
          JOIN shard s ON s.shard = w.shard
         WHERE w.seq > greatest(s.cursor, s.passed)
         ORDER BY s.shard FOR NO KEY UPDATE OF s)
      UPDATE shard s SET passed = moved.seq FROM moved WHERE s.shard = moved.shard`,
    values: [int4Array(passed, (row) => row.shard), int8Array(passed, (row) => row.seq)],
  });
  const [row] = await lane.ask<{ seq: number }>({
    name: 'mark_log',
    text: `
      WITH mark AS (
        INSERT INTO log_mark (at, seq)
        SELECT now(), min(greatest(cursor, passed)) FROM shard
        HAVING NOT EXISTS (SELECT FROM log_mark WHERE at > now() - ${MARK_EVERY})
        ON CONFLICT DO NOTHING),
      newest AS MATERIALIZED (
        SELECT at, seq FROM log_mark WHERE at < now() - $1::int8 * interval '1 ms'
         ORDER BY at DESC LIMIT 1),
      superseded AS (
        DELETE FROM log_mark WHERE at < (SELECT at FROM newest))
      SELECT coalesce((SELECT seq FROM newest), 0)::int8 AS seq`,
    values: [Math.floor(replayWindowMs)],
  });
  return row?.seq ?? 0;
}
