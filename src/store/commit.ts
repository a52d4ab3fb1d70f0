import { invariant } from '../errors.ts';
import { boolArray, byteaArray, int4Array, int8Array, textArray } from './arrays.ts';
import type { Lane, Statement } from './lane.ts';
import { ConnectionLost, isTransient } from './pgErrors.ts';
import {
  type CommitResult,
  type SearchableWrite,
  type ShardCommit,
  StoreUnknown,
} from './store.ts';

/** The statement's time, rounded up to whole milliseconds so that a number holds it exactly and no timer is early. */
const AT = `(date_trunc('milliseconds', now()) + interval '1 ms')`;

/** Shards that passed the fence, evaluated once; every part of the statement is filtered by it (S1). */
const PASSED = 'ANY (ARRAY(SELECT shard FROM fence))';

/**
 * The one statement (S2), READ COMMITTED. Parts with nothing to write are left out; each combination is prepared
 * once under a name of its own.
 *
 * `locked` takes the row locks in shard order, so that no two statements wait for each other in a circle, and
 * checks the epoch on the newest version of the row: a claim that came first is waited for and then seen. The commit
 * number must be the next one: in a database that was put back to an earlier state, what the owner has in memory does
 * not follow from what is recorded. Getting on clears the shard of earlier deaths, unless it was a parked message that
 * another node has died of and this one never tries.
 */
const HEAD = `
WITH locked AS MATERIALIZED (
  SELECT s.shard, w.commit_no, w.cursor
    FROM unnest($2::int4[], $3::int8[], $4::int8[], $5::int8[]) AS w (shard, epoch, commit_no, cursor)
    JOIN shard s ON s.shard = w.shard
   WHERE s.epoch = w.epoch AND s.owner = $1 AND s.commit_no = w.commit_no - 1
   ORDER BY s.shard
     FOR NO KEY UPDATE OF s),
fence AS (
  UPDATE shard s
     SET cursor = greatest(s.cursor, locked.cursor), commit_no = locked.commit_no,
         crashes = CASE WHEN s.crashes > 0 AND locked.cursor > s.cursor AND s.suspect_seq IS NULL
                         AND NOT EXISTS (SELECT FROM parked_message p WHERE p.shard = s.shard)
                        THEN 0 ELSE s.crashes END
    FROM locked WHERE s.shard = locked.shard
  RETURNING s.shard)`;

const TAIL = `
SELECT ARRAY(SELECT shard FROM fence) AS shards, (extract(epoch FROM ${AT}) * 1000)::int8 AS at`;

/** At the end of a transaction that must not be committed without it: an error when the shard did not pass. */
const OR_FAIL = ', 1 / (SELECT count(*) FROM fence) AS passed';
/** Division by zero: what `OR_FAIL` says, and nothing else in the statement. */
export const NOT_PASSED = '22012';

/** One part of a commit: its SQL, with `?` for each parameter, and what fills them. */
interface Part {
  sql: string;
  /** Undefined when there is nothing to write. */
  values(commits: readonly ShardCommit[]): Buffer[] | undefined;
}

/** Rows of all shards in one list, with the shard each one belongs to. */
interface Rows<Row> {
  rows: Row[];
  of: ShardCommit[];
}

function gather<Row>(
  commits: readonly ShardCommit[],
  pick: (commit: ShardCommit) => readonly Row[],
): Rows<Row> | undefined {
  const rows: Row[] = [];
  const of: ShardCommit[] = [];
  for (const commit of commits)
    for (const row of pick(commit)) {
      rows.push(row);
      of.push(commit);
    }
  return rows.length > 0 ? { rows, of } : undefined;
}

const shardOf = (commit: ShardCommit) => commit.shard;
const epochOf = (commit: ShardCommit) => commit.epoch;
const NONE: readonly SearchableWrite[] = [];

const PARTS: Part[] = [
  {
    sql: `actors AS (
  INSERT INTO actor (seq, acted_seq, epoch, created_at, updated_at, shard, busy, status, type, id, version, path,
                     state, tags, output, error, retries, snapshot)
  SELECT r.seq, r.acted_seq, r.epoch, ${AT}, ${AT}, r.shard, r.busy, r.status, r.type, r.id, r.version, r.path,
         r.state, r.tags, r.output, r.error, r.retries, r.snapshot
    FROM unnest(?::int4[], ?::int8[], ?::int8[], ?::int8[], ?::bool[], ?::text[], ?::text[], ?::text[], ?::text[],
                ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[])
      AS r (shard, epoch, seq, acted_seq, busy, status, type, id, version, path,
            state, tags, output, error, retries, snapshot)
   WHERE r.shard = ${PASSED}
  ON CONFLICT (type, id) DO UPDATE SET
    seq = excluded.seq, acted_seq = excluded.acted_seq, epoch = excluded.epoch, updated_at = excluded.updated_at,
    busy = excluded.busy, status = excluded.status, version = excluded.version, state = excluded.state,
    tags = excluded.tags, output = excluded.output, error = excluded.error, retries = excluded.retries,
    snapshot = excluded.snapshot, crashes = 0, on_trial = false, quarantined_at = NULL)`,
    values(commits) {
      const all = gather(commits, (commit) => commit.actors);
      if (!all) return undefined;
      const { rows, of } = all;
      return [
        int4Array(of, shardOf),
        int8Array(of, epochOf),
        int8Array(rows, (row) => row.seq),
        int8Array(rows, (row) => row.actedSeq),
        boolArray(rows, (row) => row.busy),
        textArray(rows, (row) => row.status),
        textArray(rows, (row) => row.type),
        textArray(rows, (row) => row.id),
        textArray(rows, (row) => row.version),
        textArray(rows, (row) => row.path),
        textArray(rows, (row) => row.state),
        textArray(rows, (row) => row.tags),
        textArray(rows, (row) => row.output),
        textArray(rows, (row) => row.error),
        textArray(rows, (row) => row.retries),
        textArray(rows, (row) => row.snapshot),
      ];
    },
  },
  {
    sql: `transitions AS (
  INSERT INTO transition (seq, epoch, at, actions, type, id, node_id, event_type, event_id, origin,
                          from_state, to_state, edges, event, snapshot)
  SELECT r.seq, r.epoch, ${AT}, r.actions, r.type, r.id, $1, r.event_type, r.event_id, r.origin,
         r.from_state, r.to_state, r.edges, r.event, r.snapshot
    FROM unnest(?::int4[], ?::int8[], ?::int8[], ?::int4[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[],
                ?::text[], ?::text[], ?::text[], ?::text[], ?::text[])
      AS r (shard, epoch, seq, actions, type, id, event_type, event_id, origin,
            from_state, to_state, edges, event, snapshot)
   WHERE r.shard = ${PASSED})`,
    values(commits) {
      const all = gather(commits, (commit) => commit.transitions);
      if (!all) return undefined;
      const { rows, of } = all;
      return [
        int4Array(of, shardOf),
        int8Array(of, epochOf),
        int8Array(rows, (row) => row.seq),
        int4Array(rows, (row) => row.actions),
        textArray(rows, (row) => row.type),
        textArray(rows, (row) => row.id),
        textArray(rows, (row) => row.eventType),
        textArray(rows, (row) => row.eventId),
        textArray(rows, (row) => row.origin),
        textArray(rows, (row) => row.fromState),
        textArray(rows, (row) => row.toState),
        textArray(rows, (row) => row.edges),
        textArray(rows, (row) => row.event),
        textArray(rows, (row) => row.snapshot),
      ];
    },
  },
  {
    sql: `armed AS (
  INSERT INTO timer (fire_at, armed_seq, shard, position, type, id, timer_id, event)
  SELECT ${AT} + r.delay_ms * interval '1 ms', r.armed_seq, r.shard, r.position, r.type, r.id, r.timer_id, r.event
    FROM unnest(?::int4[], ?::int8[], ?::int8[], ?::int4[], ?::text[], ?::text[], ?::text[], ?::text[])
      AS r (shard, delay_ms, armed_seq, position, type, id, timer_id, event)
   WHERE r.shard = ${PASSED}
  ON CONFLICT (type, id, timer_id) DO UPDATE SET
    fire_at = excluded.fire_at, armed_seq = excluded.armed_seq, position = excluded.position,
    event = excluded.event)`,
    values(commits) {
      const all = gather(commits, (commit) => commit.timersArmed);
      if (!all) return undefined;
      const { rows, of } = all;
      return [
        int4Array(of, shardOf),
        int8Array(rows, (row) => wholeDelay(row.delayMs)),
        int8Array(rows, (row) => row.armedSeq),
        int4Array(rows, (row) => row.position),
        textArray(rows, (row) => row.type),
        textArray(rows, (row) => row.id),
        textArray(rows, (row) => row.timerId),
        textArray(rows, (row) => row.event),
      ];
    },
  },
  {
    sql: `dropped AS (
  DELETE FROM timer t
   USING unnest(?::int4[], ?::text[], ?::text[], ?::text[]) AS r (shard, type, id, timer_id)
   WHERE t.type = r.type AND t.id = r.id AND t.timer_id = r.timer_id AND r.shard = ${PASSED})`,
    values(commits) {
      const all = gather(commits, (commit) => commit.timersDropped);
      if (!all) return undefined;
      const { rows, of } = all;
      return [
        int4Array(of, shardOf),
        textArray(rows, (row) => row.type),
        textArray(rows, (row) => row.id),
        textArray(rows, (row) => row.timerId),
      ];
    },
  },
  {
    sql: `sent AS (
  INSERT INTO outbox (created_at, shard, message_id, kind, type, id, body)
  SELECT ${AT}, r.shard, r.message_id, r.kind, r.type, r.id, r.body
    FROM unnest(?::int4[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[])
      AS r (shard, message_id, kind, type, id, body)
   WHERE r.shard = ${PASSED}
  ON CONFLICT DO NOTHING)`,
    values(commits) {
      const all = gather(commits, (commit) => commit.outboxAdded);
      if (!all) return undefined;
      const { rows, of } = all;
      return [
        int4Array(of, shardOf),
        textArray(rows, (row) => row.messageId),
        textArray(rows, (row) => row.kind),
        textArray(rows, (row) => row.type),
        textArray(rows, (row) => row.id),
        textArray(rows, (row) => row.body),
      ];
    },
  },
  {
    // The shard is the one that applied the message, not the one that sent it: that one's fence counts.
    sql: `applied AS (
  DELETE FROM outbox o USING unnest(?::int4[], ?::text[]) AS r (shard, message_id)
   WHERE o.message_id = r.message_id AND r.shard = ${PASSED})`,
    values(commits) {
      const all = gather(commits, (commit) => commit.outboxDone);
      if (!all) return undefined;
      return [int4Array(all.of, shardOf), textArray(all.rows, (messageId) => messageId)];
    },
  },
  {
    sql: `dead AS (
  INSERT INTO dead_letter (at, log_seq, shard, log_id, reason, detail, subject, headers, message_id, body)
  SELECT ${AT}, r.log_seq, r.shard, r.log_id, r.reason, r.detail, r.subject, r.headers, r.message_id, r.body
    FROM unnest(?::int4[], ?::int8[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::bytea[])
      AS r (shard, log_seq, log_id, reason, detail, subject, headers, message_id, body)
   WHERE r.shard = ${PASSED}
  ON CONFLICT (log_id, log_seq) DO NOTHING)`,
    values(commits) {
      const all = gather(commits, (commit) => commit.deadLetters);
      if (!all) return undefined;
      const { rows, of } = all;
      return [
        int4Array(of, shardOf),
        int8Array(rows, (row) => row.logSeq),
        textArray(rows, (row) => row.logId),
        textArray(rows, (row) => row.reason),
        textArray(rows, (row) => row.detail),
        textArray(rows, (row) => row.subject),
        textArray(rows, (row) => row.headers),
        textArray(rows, (row) => row.messageId),
        byteaArray(rows, (row) => row.body),
      ];
    },
  },
  {
    sql: `parked AS (
  INSERT INTO parked_message (parked_at, log_seq, shard, epoch, log_id, type, id, subject, headers, message_id, body)
  SELECT ${AT}, r.log_seq, r.shard, r.epoch, r.log_id, r.type, r.id, r.subject, r.headers, r.message_id, r.body
    FROM unnest(?::int4[], ?::int8[], ?::int8[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::bytea[])
      AS r (shard, epoch, log_seq, log_id, type, id, subject, headers, message_id, body)
   WHERE r.shard = ${PASSED}
  ON CONFLICT (log_id, log_seq) DO NOTHING)`,
    values(commits) {
      const all = gather(commits, (commit) => commit.parked);
      if (!all) return undefined;
      const { rows, of } = all;
      return [
        int4Array(of, shardOf),
        int8Array(of, epochOf),
        int8Array(rows, (row) => row.logSeq),
        textArray(rows, (row) => row.logId),
        textArray(rows, (row) => row.type),
        textArray(rows, (row) => row.id),
        textArray(rows, (row) => row.subject),
        textArray(rows, (row) => row.headers),
        textArray(rows, (row) => row.messageId),
        byteaArray(rows, (row) => row.body),
      ];
    },
  },
  {
    sql: `unparked AS (
  DELETE FROM parked_message p USING unnest(?::int4[], ?::int8[], ?::text[]) AS r (shard, log_seq, log_id)
   WHERE p.log_id = r.log_id AND p.log_seq = r.log_seq AND r.shard = ${PASSED})`,
    values(commits) {
      const all = gather(commits, (commit) => commit.unparked);
      if (!all) return undefined;
      const { rows, of } = all;
      return [
        int4Array(of, shardOf),
        int8Array(rows, (row) => row.logSeq),
        textArray(rows, (row) => row.logId),
      ];
    },
  },
  {
    // Only an actor whose first transition is in this commit has any, so that none of these is there already.
    sql: `marked AS (
  INSERT INTO searchable (field, value, type, id)
  SELECT r.field, r.value, r.type, r.id
    FROM unnest(?::int4[], ?::text[], ?::text[], ?::text[], ?::text[]) AS r (shard, field, value, type, id)
   WHERE r.shard = ${PASSED}
  ON CONFLICT DO NOTHING)`,
    values(commits) {
      const all = gather(commits, ({ searchable = NONE }) => searchable);
      if (!all) return undefined;
      const { rows, of } = all;
      return [
        int4Array(of, shardOf),
        textArray(rows, (row) => row.field),
        textArray(rows, (row) => row.value),
        textArray(rows, (row) => row.type),
        textArray(rows, (row) => row.id),
      ];
    },
  },
];

/** Delays end where timestamptz does (year 294276): 285,000 years from now is as good as never. */
const DELAY_MAX_MS = 2 ** 53 - 1;

/** A delay as it is stored: whole milliseconds, rounded up so that no timer is early. */
export const wholeDelay = (delayMs: number): number =>
  Math.min(Math.max(Math.ceil(delayMs), 0), DELAY_MAX_MS);

const texts = new Map<number, string>();

/** The statement with only the parts named by the bits of `present`. */
function textFor(present: number): string {
  let text = texts.get(present);
  if (text !== undefined) return text;
  let parameter = 5;
  const parts = PARTS.filter((_, index) => present & (1 << index)).map((part) =>
    part.sql.replaceAll('?', () => `$${++parameter}`),
  );
  text = [HEAD, ...parts].join(',\n') + TAIL;
  texts.set(present, text);
  return text;
}

/**
 * The commit as the last statement of a transaction that began some time ago: its time is its own all the same, and it
 * fails (`NOT_PASSED`) where it would otherwise write nothing.
 */
export function lastStatement(nodeId: string, commit: ShardCommit): Statement {
  const { text, values } = commitStatement(nodeId, [commit]);
  return {
    text: text.replaceAll('now()', 'statement_timestamp()') + OR_FAIL,
    ...(values && { values }),
  };
}

/** The commit as one prepared statement. */
function commitStatement(nodeId: string, commits: readonly ShardCommit[]): Statement {
  const values: unknown[] = [
    nodeId,
    int4Array(commits, shardOf),
    int8Array(commits, epochOf),
    int8Array(commits, (commit) => commit.commitNo),
    int8Array(commits, (commit) => commit.cursor),
  ];
  let present = 0;
  PARTS.forEach((part, index) => {
    const buffers = part.values(commits);
    if (!buffers) return;
    present |= 1 << index;
    values.push(...buffers);
  });
  return { name: `commit_${present}`, text: textFor(present), values };
}

/** See `Store.commit`. */
export async function commit(
  lane: Lane,
  nodeId: string,
  commits: readonly ShardCommit[],
): Promise<CommitResult> {
  invariant(
    new Set(commits.map(shardOf)).size === commits.length,
    'a shard appears twice in one commit',
  );
  const statement = commitStatement(nodeId, commits);
  for (let attempt = 1; ; attempt++) {
    try {
      const [row] = await lane.send<{ shards: number[]; at: number }>(statement);
      invariant(row, 'a commit answers with one row');
      return { committed: new Set(row.shards), at: row.at };
    } catch (error) {
      if (error instanceof ConnectionLost) throw new StoreUnknown(error.message, { cause: error });
      // The server undid it and said so: the same statement again is safe.
      if (!isTransient(error)) throw error;
      await lane.pause(attempt, error);
    }
  }
}
