import { asError, invariant } from '../errors.ts';
import { int4Array, int8Array } from './arrays.ts';
import { AT, epochOf, MISTAKEN, MOVED, PARTS, type Part, shardOf } from './commitParts.ts';
import type { Lane, Statement } from './lane.ts';
import { ConnectionLost, isAboutData, isDuplicate, isTransient } from './pgErrors.ts';
import { StoreRefused } from './refused.ts';
import { type CommitResult, type ShardCommit, StoreUnknown } from './store.ts';

/**
 * The one statement (S2), READ COMMITTED. Parts with nothing to write are left out; each combination is prepared
 * once under a name of its own.
 *
 * `locked` takes the row locks in shard order, so that no two statements wait for each other in a circle, and
 * checks the epoch on the newest version of the row: a claim that came first is waited for and then seen. The commit
 * number must be the next one: in a database that was put back to an earlier state, what the owner has in memory does
 * not follow from what is recorded. Getting on clears the shard of earlier deaths, unless it was a parked message that
 * another node has died of and this one never tries; what waits for a paused actor nobody has tried.
 *
 * Who is taken for new and is there makes the whole statement fail. Then it is sent with `mistaken`, the shards in which there are
 * such: their parts stay out, those of others land (ADR 0018).
 */
const head = (mistaken: string) => `
WITH ${mistaken}locked AS MATERIALIZED (
  SELECT s.shard, w.commit_no, w.cursor
    FROM unnest($2::int4[], $3::int8[], $4::int8[], $5::int8[]) AS w (shard, epoch, commit_no, cursor)
    JOIN shard s ON s.shard = w.shard
   WHERE ${OURS}${mistaken && NOT_MISTAKEN}
   ORDER BY s.shard
     FOR NO KEY UPDATE OF s),
fence AS (
  UPDATE shard s
     SET cursor = greatest(s.cursor, locked.cursor), commit_no = locked.commit_no,
         crashes = CASE WHEN s.crashes > 0 AND locked.cursor > s.cursor AND s.suspect_seq IS NULL
                         AND NOT EXISTS (SELECT FROM parked_message p WHERE p.shard = s.shard AND NOT EXISTS (
                               SELECT FROM actor a WHERE a.type = p.type AND a.id = p.id AND a.paused_at IS NOT NULL))
                        THEN 0 ELSE s.crashes END
    FROM locked WHERE s.shard = locked.shard
  RETURNING s.shard)`;

/** `w`: what is to be committed. */
const OURS = 's.epoch = w.epoch AND s.owner = $1 AND s.commit_no = w.commit_no - 1';
const NOT_MISTAKEN = ' AND s.shard <> ALL (ARRAY(SELECT shard FROM mistaken))';
/** Of shards that are this owner's still: the others are fenced. */
const MISTAKEN_TOO = `,
       ARRAY(SELECT m.shard FROM mistaken m
               JOIN unnest($2::int4[], $3::int8[], $4::int8[]) AS w (shard, epoch, commit_no) ON w.shard = m.shard
               JOIN shard s ON s.shard = w.shard
              WHERE ${OURS}) AS mistaken`;

const TAIL = `
SELECT ARRAY(SELECT shard FROM fence) AS shards, (extract(epoch FROM ${AT}) * 1000)::int8 AS at`;

/** An error when the row of an actor whose shard has passed is gone: somebody else has deleted it. `shards`: the parameter with the shard of each row. */
const allMoved = (shards: string) => `,
       (CASE WHEN (SELECT count(*) FROM ${MOVED}) <
                  CASE WHEN (SELECT count(*) FROM fence) = cardinality($2) THEN cardinality(${shards})
                       ELSE (SELECT count(*) FROM unnest(${shards}) AS r (shard) WHERE r.shard IN (SELECT shard FROM fence)) END
             THEN 'the row of an actor is gone' ELSE '1' END)::int AS moved`;

/** At the end of a transaction that must not be committed without it: an error when the shard did not pass. */
const OR_FAIL = ', 1 / (SELECT count(*) FROM fence) AS passed';
/** Division by zero: what `OR_FAIL` says, and nothing else in the statement. */
export const NOT_PASSED = '22012';

const texts = new Map<string, string>();

/** The statement with only the parts named by the bits of `present`; `name` is its own. */
function textFor(name: string, present: number, asks: boolean): string {
  let text = texts.get(name);
  if (text !== undefined) return text;
  let parameter = 5;
  let tail = TAIL;
  const numbered = ({ sql }: Part) => sql.replaceAll('?', () => `$${++parameter}`);
  const parts = PARTS.filter((_, index) => present & (1 << index)).map((part) => {
    if (part.sql.startsWith(MOVED)) tail += allMoved(`$${parameter + 1}`);
    return numbered(part);
  });
  const mistaken = asks ? `${numbered(MISTAKEN)},\n` : '';
  if (asks) tail += MISTAKEN_TOO;
  text = [head(mistaken), ...parts].join(',\n') + tail;
  texts.set(name, text);
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

/** The commit as one prepared statement; `newcomers`: who is taken for new, see `MISTAKEN`. */
function commitStatement(
  nodeId: string,
  commits: readonly ShardCommit[],
  newcomers: readonly Buffer[] = [],
): Statement {
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
  values.push(...newcomers);
  const asks = newcomers.length > 0;
  const name = `commit_${present}${asks ? '_mistaken' : ''}`;
  return { name, text: textFor(name, present, asks), values };
}

interface Answer {
  shards: number[];
  mistaken?: number[];
  at: number;
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
  let statement = commitStatement(nodeId, commits);
  let asks = false;
  for (let attempt = 1; ; attempt++) {
    try {
      const [row] = await lane.send<Answer>(statement);
      invariant(row, 'a commit answers with one row');
      return { committed: new Set(row.shards), mistaken: new Set(row.mistaken), at: row.at };
    } catch (error) {
      if (error instanceof ConnectionLost) throw new StoreUnknown(error.message, { cause: error });
      // The server undid it and said so: the same statement again is safe.
      const newcomers = !asks && isDuplicate(error) ? MISTAKEN.values(commits) : undefined;
      if (newcomers) {
        asks = true;
        statement = commitStatement(nodeId, commits, newcomers);
        continue;
      }
      if (isAboutData(error)) throw new StoreRefused(asError(error).message, { cause: error });
      if (!isTransient(error)) throw error;
      await lane.pause(attempt, error);
    }
  }
}
