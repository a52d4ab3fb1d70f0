import { boolArray, byteaArray, int4Array, int8Array, textArray } from './arrays.ts';
import { FAILED_ATTEMPTS_MAX, type FailedAttemptWrite, type SearchableWrite } from './elsewhere.ts';
import type { ActorWrite, ShardCommit } from './store.ts';
import { eventToStore } from './timerEvents.ts';

/** The statement's time, rounded up to whole milliseconds so that a number holds it exactly and no timer is early. */
export const AT = `(date_trunc('milliseconds', now()) + interval '1 ms')`;

/**
 * The row's shard passed the fence (S1); every part of the statement is filtered by it. Nearly always all have passed, which is
 * found once: to look up the shard of each row is 1 % of all CPU.
 */
const PASSED =
  '((SELECT count(*) FROM fence) = cardinality($2) OR r.shard = ANY (ARRAY(SELECT shard FROM fence)))';

/** The part that changes rows of actors that are there: each of them must be, or it tells. */
export const MOVED = 'moved';

/** One part of a commit: its SQL, with `?` for each parameter, and what fills them. */
export interface Part {
  sql: string;
  /** Undefined when there is nothing to write. */
  values(commits: readonly ShardCommit[]): Buffer[] | undefined;
}

/**
 * A part that writes the rows `pick` finds, or those of them that `only` is true of: `arrays` has one for each `?`, of the rows
 * of all shards and of the shard each one belongs to.
 */
function part<Row>(
  sql: string,
  pick: (commit: ShardCommit) => readonly Row[],
  arrays: (rows: Row[], of: ShardCommit[]) => Buffer[],
  only?: (row: Row) => boolean,
): Part {
  return {
    sql,
    values(commits) {
      const rows: Row[] = [];
      const of: ShardCommit[] = [];
      for (const commit of commits)
        for (const row of pick(commit)) {
          if (only && !only(row)) continue;
          rows.push(row);
          of.push(commit);
        }
      return rows.length > 0 ? arrays(rows, of) : undefined;
    },
  };
}

/**
 * Rows given as an array for each column, as `r`. In the list of a SELECT they are read as they are needed; `FROM unnest(…)` would store
 * each array's values one by one first, which costs a commit a tenth of its time.
 */
const given = (columns: string): string =>
  `(SELECT ${columns
    .trim()
    .split(/,\s*/)
    .map((column) => column.replace(/^(\w+) (\w+)$/, 'unnest(?::$2[]) AS $1'))
    .join(', ')}) AS r`;

const NONE: readonly never[] = [];

export const shardOf = (commit: ShardCommit) => commit.shard;
export const epochOf = (commit: ShardCommit) => commit.epoch;

const ACTOR = `shard int4, epoch int8, seq int8, acted_seq int8, busy bool, status text, type text, id text,
  version text, path text, state text, tags text, output text, error text, retries text`;

const INSERT = `INSERT INTO actor (seq, acted_seq, epoch, created_at, updated_at, shard, busy, status, type, id, version, path,
                     state, tags, output, error, retries`;
const VALUES = `SELECT r.seq, r.acted_seq, r.epoch, ${AT}, ${AT}, r.shard, r.busy, r.status, r.type, r.id, r.version, r.path,
         r.state, r.tags, r.output, r.error, r.retries`;

/** What a row becomes of `to`, which is `r` or `excluded`. */
const changes = (to: string) => `
    seq = ${to}.seq, acted_seq = ${to}.acted_seq, epoch = ${to}.epoch, busy = ${to}.busy, status = ${to}.status,
    version = ${to}.version, state = ${to}.state, tags = ${to}.tags, output = ${to}.output, error = ${to}.error,
    retries = ${to}.retries, crashes = 0, on_trial = false, quarantined_at = NULL`;

function actorArrays(rows: ActorWrite[], of: ShardCommit[]): Buffer[] {
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
  ];
}

const actorsOf = ({ actors }: ShardCommit) => actors;
const isPaused = ({ paused }: ActorWrite) => paused === true;

/** The shards in which somebody who is taken for new is there. Stands before all others, and is asked only when a commit has failed. */
export const MISTAKEN = part(
  `mistaken AS MATERIALIZED (
  SELECT DISTINCT r.shard FROM ${given('shard int4, type text, id text')}
    JOIN actor a ON a.type = r.type AND a.id = r.id)`,
  actorsOf,
  (rows, of) => [
    int4Array(of, shardOf),
    textArray(rows, (row) => row.type),
    textArray(rows, (row) => row.id),
  ],
  ({ stored }) => stored === false,
);

/** In the order in which they stand in the statement. */
export const PARTS: Part[] = [
  // An actor that is new, one whose row is there, and one of which nobody knows: a plain INSERT costs two thirds of one that
  // looks for conflicts, an UPDATE four fifths.
  part(
    `added AS (
  ${INSERT})
  ${VALUES} FROM ${given(ACTOR)} WHERE ${PASSED})`,
    actorsOf,
    actorArrays,
    ({ stored, paused }) => stored === false && paused === undefined,
  ),
  part(
    `${MOVED} AS (
  UPDATE actor a SET updated_at = ${AT}, ${changes('r')}
    FROM ${given(ACTOR)} WHERE a.type = r.type AND a.id = r.id AND ${PASSED}
  RETURNING 1)`,
    actorsOf,
    actorArrays,
    ({ stored, paused }) => stored === true && paused === undefined,
  ),
  part(
    `actors AS (
  ${INSERT})
  ${VALUES} FROM ${given(ACTOR)} WHERE ${PASSED}
  ON CONFLICT (type, id) DO UPDATE SET updated_at = excluded.updated_at, ${changes('excluded')})`,
    actorsOf,
    actorArrays,
    ({ stored, paused }) => stored === undefined && paused === undefined,
  ),
  // Those that are paused or resumed, or written while they are paused: rows of their own, so that others carry nothing of it.
  // To be paused is no transition: who has not moved for a day still has not, also where its row did not follow.
  part(
    `pausing AS (
  ${INSERT}, paused_at)
  ${VALUES}, CASE WHEN r.paused THEN ${AT} END FROM ${given(`${ACTOR}, paused bool`)} WHERE ${PASSED}
  ON CONFLICT (type, id) DO UPDATE SET ${changes('excluded')},
    updated_at = CASE WHEN excluded.seq = actor.seq THEN actor.updated_at ELSE coalesce(
      (SELECT t.at FROM transition t WHERE t.type = excluded.type AND t.id = excluded.id AND t.seq = excluded.seq),
      excluded.updated_at) END,
    paused_at = CASE WHEN excluded.paused_at IS NOT NULL THEN coalesce(actor.paused_at, excluded.paused_at) END)`,
    actorsOf,
    (rows, of) => [...actorArrays(rows, of), boolArray(rows, isPaused)],
    ({ paused }) => paused !== undefined,
  ),
  // Behind the shards' locks nobody else writes these rows: blame and trials take the same ones first.
  part(
    `paused AS (
  UPDATE actor a SET paused_at = CASE WHEN r.paused THEN coalesce(a.paused_at, ${AT}) END
    FROM ${given('shard int4, type text, id text, paused bool')}
   WHERE a.type = r.type AND a.id = r.id AND ${PASSED})`,
    (commit) => commit.paused,
    (rows, of) => [
      int4Array(of, shardOf),
      textArray(rows, (row) => row.type),
      textArray(rows, (row) => row.id),
      boolArray(rows, (row) => row.paused),
    ],
  ),
  part(
    `transitions AS (
  INSERT INTO transition (seq, epoch, at, actions, type, id, node_id, event_type, event_id, origin,
                          from_state, to_state, edges, event, snapshot)
  SELECT r.seq, r.epoch, ${AT}, r.actions, r.type, r.id, $1, r.event_type, r.event_id, r.origin,
         r.from_state, r.to_state, r.edges, r.event, r.snapshot
    FROM ${given(`
      shard int4, epoch int8, seq int8, actions int4, type text, id text,
      event_type text, event_id text, origin text, from_state text, to_state text,
      edges text, event text, snapshot text`)}
   WHERE ${PASSED})`,
    (commit) => commit.transitions,
    (rows, of) => [
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
    ],
  ),
  part(
    `armed AS (
  INSERT INTO timer (fire_at, armed_seq, shard, position, type, id, timer_id, event)
  SELECT ${AT} + r.delay_ms * interval '1 ms', r.armed_seq, r.shard, r.position, r.type, r.id, r.timer_id, r.event
    FROM ${given(`
      shard int4, delay_ms int8, armed_seq int8, position int4, type text, id text,
      timer_id text, event text`)}
   WHERE ${PASSED}
  ON CONFLICT (type, id, timer_id) DO UPDATE SET
    fire_at = excluded.fire_at, armed_seq = excluded.armed_seq, position = excluded.position,
    event = excluded.event)`,
    (commit) => commit.timersArmed,
    (rows, of) => [
      int4Array(of, shardOf),
      int8Array(rows, (row) => wholeDelay(row.delayMs)),
      int8Array(rows, (row) => row.armedSeq),
      int4Array(rows, (row) => row.position),
      textArray(rows, (row) => row.type),
      textArray(rows, (row) => row.id),
      textArray(rows, (row) => row.timerId),
      textArray(rows, eventToStore),
    ],
  ),
  part(
    `dropped AS (
  DELETE FROM timer t
   USING ${given('shard int4, type text, id text, timer_id text')}
   WHERE t.type = r.type AND t.id = r.id AND t.timer_id = r.timer_id AND ${PASSED})`,
    (commit) => commit.timersDropped,
    (rows, of) => [
      int4Array(of, shardOf),
      textArray(rows, (row) => row.type),
      textArray(rows, (row) => row.id),
      textArray(rows, (row) => row.timerId),
    ],
  ),
  part(
    `sent AS (
  INSERT INTO outbox (created_at, shard, message_id, kind, type, id, body)
  SELECT ${AT}, r.shard, r.message_id, r.kind, r.type, r.id, r.body
    FROM ${given('shard int4, message_id text, kind text, type text, id text, body text')}
   WHERE ${PASSED}
  ON CONFLICT DO NOTHING)`,
    (commit) => commit.outboxAdded,
    (rows, of) => [
      int4Array(of, shardOf),
      textArray(rows, (row) => row.messageId),
      textArray(rows, (row) => row.kind),
      textArray(rows, (row) => row.type),
      textArray(rows, (row) => row.id),
      textArray(rows, (row) => row.body),
    ],
  ),
  // The shard is the one that applied the message, not the one that sent it: that one's fence counts.
  part(
    `applied AS (
  DELETE FROM outbox o USING ${given('shard int4, message_id text')}
   WHERE o.message_id = r.message_id AND ${PASSED})`,
    (commit) => commit.outboxDone,
    (rows, of) => [int4Array(of, shardOf), textArray(rows, (messageId) => messageId)],
  ),
  part(
    `dead AS (
  INSERT INTO dead_letter (at, log_seq, shard, log_id, reason, detail, subject, headers, message_id, body)
  SELECT ${AT}, r.log_seq, r.shard, r.log_id, r.reason, r.detail, r.subject, r.headers, r.message_id, r.body
    FROM ${given(`
      shard int4, log_seq int8, log_id text, reason text, detail text, subject text,
      headers text, message_id text, body bytea`)}
   WHERE ${PASSED}
  ON CONFLICT (log_id, log_seq) DO NOTHING)`,
    (commit) => commit.deadLetters,
    (rows, of) => [
      int4Array(of, shardOf),
      int8Array(rows, (row) => row.logSeq),
      textArray(rows, (row) => row.logId),
      textArray(rows, (row) => row.reason),
      textArray(rows, (row) => row.detail),
      textArray(rows, (row) => row.subject),
      textArray(rows, (row) => row.headers),
      textArray(rows, (row) => row.messageId),
      byteaArray(rows, (row) => row.body),
    ],
  ),
  part(
    `parked AS (
  INSERT INTO parked_message (parked_at, log_seq, shard, epoch, log_id, type, id, subject, headers, message_id, body)
  SELECT ${AT}, r.log_seq, r.shard, r.epoch, r.log_id, r.type, r.id, r.subject, r.headers, r.message_id, r.body
    FROM ${given(`
      shard int4, epoch int8, log_seq int8, log_id text, type text, id text,
      subject text, headers text, message_id text, body bytea`)}
   WHERE ${PASSED}
  ON CONFLICT (log_id, log_seq) DO NOTHING)`,
    (commit) => commit.parked,
    (rows, of) => [
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
    ],
  ),
  part(
    `unparked AS (
  DELETE FROM parked_message p USING ${given('shard int4, log_seq int8, log_id text')}
   WHERE p.log_id = r.log_id AND p.log_seq = r.log_seq AND ${PASSED})`,
    (commit) => commit.unparked,
    (rows, of) => [
      int4Array(of, shardOf),
      int8Array(rows, (row) => row.logSeq),
      textArray(rows, (row) => row.logId),
    ],
  ),
  // Only an actor whose first transition is in this commit has any, so that none of these is there already.
  part(
    `marked AS (
  INSERT INTO searchable (field, value, type, id)
  SELECT r.field, r.value, r.type, r.id
    FROM ${given('shard int4, field text, value text, type text, id text')}
   WHERE ${PASSED}
  ON CONFLICT DO NOTHING)`,
    ({ searchable = NONE }): readonly SearchableWrite[] => searchable,
    (rows, of) => [
      int4Array(of, shardOf),
      textArray(rows, (row) => row.field),
      textArray(rows, (row) => row.value),
      textArray(rows, (row) => row.type),
      textArray(rows, (row) => row.id),
    ],
  ),
  part(
    `failed AS (
  INSERT INTO failed_attempt (started_seq, at, ran_ms, attempt, slot, type, id, invoke_id, node_id, error)
  SELECT r.started_seq, ${AT}, r.ran_ms, r.attempt, least(r.attempt, ${FAILED_ATTEMPTS_MAX}), r.type, r.id, r.invoke_id, $1, r.error
    FROM ${given(`
      shard int4, started_seq int8, ran_ms int8, attempt int4, type text, id text, invoke_id text, error text`)}
   WHERE ${PASSED}
  ON CONFLICT (type, id, started_seq, invoke_id, slot) DO UPDATE SET
    at = excluded.at, ran_ms = excluded.ran_ms, attempt = excluded.attempt, node_id = excluded.node_id, error = excluded.error
    WHERE excluded.attempt > failed_attempt.attempt)`,
    ({ failedAttempts = NONE }): readonly FailedAttemptWrite[] => failedAttempts,
    (rows, of) => [
      int4Array(of, shardOf),
      int8Array(rows, (row) => row.startedSeq),
      int8Array(rows, (row) => row.ranMs),
      int4Array(rows, (row) => row.attempt),
      textArray(rows, (row) => row.type),
      textArray(rows, (row) => row.id),
      textArray(rows, (row) => row.invokeId),
      textArray(rows, (row) => row.error),
    ],
  ),
];

/** Delays end where timestamptz does (year 294276): 285,000 years from now is as good as never. */
const DELAY_MAX_MS = 2 ** 53 - 1;

/** A delay as it is stored: whole milliseconds, rounded up so that no timer is early. */
export const wholeDelay = (delayMs: number): number =>
  Math.min(Math.max(Math.ceil(delayMs), 0), DELAY_MAX_MS);
