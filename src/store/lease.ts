import { invariant } from '../errors.ts';
import { boolArray, int4Array, int8Array } from './arrays.ts';
import type { Session } from './connection.ts';
import { type MachineName, NEEDS_LAST_MS } from './elsewhere.ts';
import type { Lane } from './lane.ts';
import { NOT_PAUSED } from './paused.ts';
import { ALIVE, HELD, steady } from './presence.ts';
import type { Reopened } from './refused.ts';
import type {
  NodeInfo,
  OpenedShard,
  OpenedVersion,
  OwnedShard,
  ShardEpoch,
  Standing,
} from './sharing.ts';
import { QUARANTINE_AFTER, SUSPECT_AFTER } from './store.ts';

/** Rows of dead incarnations are shown for this long before another node's registration removes them. */
const FORGET_AFTER = `interval '1 day'`;

interface StandingRow extends Omit<Standing, 'owned' | 'others' | 'needs'> {
  owned: [shard: OwnedShard['shard'], epoch: OwnedShard['epoch'], commitNo: number][];
  others: [opens: string, alive: boolean, sharing: number][];
  needs: [shard: number, needs: string, fresh: boolean][];
}

interface OpenedRow {
  shard: number;
  epoch: number;
  cursor: number;
  commit_no: number;
  previous_owner: string | null;
  crashes: number;
  suspect_seq: number | null;
}

const opened = (row: OpenedRow): OpenedShard => ({
  shard: row.shard,
  epoch: row.epoch,
  cursor: row.cursor,
  commitNo: row.commit_no,
  previousOwner: row.previous_owner,
  crashes: row.crashes,
  suspectSeq: row.suspect_seq,
});

/** Different answers to what nodes open that are kept as they were read. */
const OPENS_KEPT = 32;

const byShard = (a: OpenedShard, b: OpenedShard) => a.shard - b.shard;

/** Registration, leases, session locks and shards of the nodes that use this store: one in production. */
export class Leases {
  readonly #lease: Lane;
  readonly #ownership: Lane;
  readonly #leaseMs: number;
  /** Postgres was away when we came, so the owners of its shards may be on their way back. */
  readonly #waited: boolean;
  /** Lock id of each registered node, taken again on every new lease session. */
  readonly #locks = new Map<string, number>();
  /** Epochs the engine was told, by node. A shard that is ours at another epoch was claimed by a lost statement. */
  readonly #told = new Map<string, Map<number, number>>();
  /** What nodes open, by its text. */
  readonly #opens = new Map<string, readonly OpenedVersion[]>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(lease: Lane, ownership: Lane, leaseMs: number, waited: boolean) {
    this.#lease = lease;
    this.#ownership = ownership;
    this.#leaseMs = leaseMs;
    this.#waited = waited;
  }

  async register(node: NodeInfo, leaseMs: number): Promise<readonly MachineName[]> {
    let lockId = this.#locks.get(node.nodeId);
    if (lockId === undefined) {
      const [row] = await this.#lease.ask<{ lock_id: number }>({
        text: `SELECT nextval('node_lock')::int4 AS lock_id`,
      });
      lockId = row?.lock_id as number;
      this.#locks.set(node.nodeId, lockId);
    }
    // The lock comes before the row: a row without its lock would look dead.
    await this.#lease.ask({
      text: `SELECT pg_try_advisory_lock('node'::regclass::oid::int4, $1)`,
      values: [lockId],
    });
    return this.#lease.ask<MachineName>({
      text: `
        WITH forgotten AS (
          DELETE FROM node n WHERE expires_at < now() - ${FORGET_AFTER} AND node_id <> $1
             AND NOT EXISTS (SELECT FROM shard s WHERE s.owner = n.node_id)),
        recorded AS (
          INSERT INTO machine AS m (type, version, definition)
          SELECT * FROM json_to_recordset($9::json) AS r (type text, version text, definition text)
          ON CONFLICT (type, version) DO UPDATE SET definition = excluded.definition, recorded_at = now()
           WHERE m.definition <> excluded.definition
          RETURNING type, version, xmax <> 0 AS was_there),
        registered AS (
          INSERT INTO node (node_id, name, host, pid, version, lock_id, expires_at, opens, held_since)
          VALUES ($1, $2, $3, $4, $5, $6, now() + $7 * interval '1 ms', $8,
                  CASE WHEN $10 THEN now() ELSE now() - $11 * interval '1 ms' END)
          ON CONFLICT (node_id) DO UPDATE SET expires_at = excluded.expires_at, lock_id = excluded.lock_id)
        SELECT type, version FROM recorded WHERE was_there`,
      values: [
        node.nodeId,
        node.name,
        node.host,
        node.pid,
        node.version,
        lockId,
        leaseMs,
        node.opens ? JSON.stringify(node.opens) : null,
        JSON.stringify(node.machines ?? []),
        this.#waited,
        this.#leaseMs,
      ],
    });
  }

  /**
   * On every new lease session, before anything else uses it: takes the locks again and extends the leases, so
   * that after an outage owners are back before anybody looks for the dead. The row first: with the lock, its `held_since` counts.
   */
  async hold(session: Session, leaseMs: number): Promise<void> {
    for (const [nodeId, lockId] of this.#locks) {
      await session.client.query(
        `UPDATE node SET expires_at = now() + $2 * interval '1 ms', held_since = now() WHERE node_id = $1`,
        [nodeId, leaseMs],
      );
      await session.client.query(`SELECT pg_try_advisory_lock('node'::regclass::oid::int4, $1)`, [
        lockId,
      ]);
    }
  }

  async renew(
    nodeId: string,
    leaseMs: number,
    natsOk: boolean,
    refusedCommits = 0,
  ): Promise<boolean> {
    // The server may not have noticed yet that our last session died, and the lock was not free then: keep at it.
    const [row] = await this.#lease.ask<{ known: boolean }>({
      name: 'renew',
      text: `
        WITH renewed AS (
          UPDATE node SET expires_at = now() + $2 * interval '1 ms', nats_ok = $3, refused_commits = $4,
                 held_since = CASE WHEN expires_at > now() + $2 * interval '0.333 ms' THEN held_since ELSE now() END
           WHERE node_id = $1 RETURNING lock_id)
        SELECT EXISTS (SELECT FROM renewed) AS known,
               (SELECT pg_try_advisory_lock('node'::regclass::oid::int4, lock_id) FROM renewed
                 WHERE lock_id::oid NOT IN (${HELD} AND pid = pg_backend_pid())) AS locked`,
      values: [nodeId, leaseMs, natsOk, refusedCommits],
    });
    return row?.known ?? false;
  }

  async drain(nodeId: string): Promise<void> {
    await this.#lease.ask({
      text: 'UPDATE node SET draining = true WHERE node_id = $1',
      values: [nodeId],
    });
  }

  async unregister(nodeId: string): Promise<void> {
    await this.#inTurn(async () => {
      await this.#ownership.ask({
        text: `
          WITH mine AS MATERIALIZED (
            SELECT shard FROM shard WHERE owner = $1 ORDER BY shard FOR NO KEY UPDATE),
          freed AS (
            UPDATE shard s SET owner = NULL, previous_owner = NULL FROM mine WHERE s.shard = mine.shard)
          DELETE FROM node WHERE node_id = $1`,
        values: [nodeId],
      });
      this.#told.delete(nodeId);
    });
    const lockId = this.#locks.get(nodeId);
    this.#locks.delete(nodeId);
    // Only if held: unlocking what is not held raises a warning.
    await this.#lease.ask({
      text: `SELECT pg_advisory_unlock('node'::regclass::oid::int4, $1)
              WHERE $1::int4::oid IN (${HELD} AND pid = pg_backend_pid())`,
      values: [lockId ?? null],
    });
  }

  claim(nodeId: string, max: number, among?: readonly number[]): Promise<OpenedShard[]> {
    return this.#inTurn(async () => {
      const told = [...(this.#told.get(nodeId) ?? [])];
      // An attempt whose answer was lost may still land, even after the next one: whatever it took is ours at an
      // epoch the engine was never told, and is claimed once more here, now or by the next call.
      const rows = await this.#ownership.ask<OpenedRow>({
        name: 'claim',
        text: `
          WITH live AS MATERIALIZED (SELECT node_id FROM node WHERE node_id = $1 OR ${ALIVE}),
          told AS MATERIALIZED (SELECT * FROM unnest($3::int4[], $4::int8[]) AS t (shard, epoch)),
          candidate AS MATERIALIZED (
            SELECT s.shard, s.owner FROM shard s
             WHERE EXISTS (SELECT FROM node WHERE node_id = $1)
               AND ($6::int4[] IS NULL OR s.shard = ANY ($6))
               AND (s.owner IS NULL
                    OR (s.owner = $1 AND NOT EXISTS (
                          SELECT FROM told t WHERE t.shard = s.shard AND t.epoch = s.epoch))
                    OR (${steady('$1', '$5')} AND NOT s.owner = ANY (ARRAY(SELECT node_id FROM live))))
             ORDER BY s.shard LIMIT $2 FOR NO KEY UPDATE OF s),
          blamed AS (
            UPDATE actor a
               SET crashes = a.crashes + 1, on_trial = false,
                   quarantined_at = CASE WHEN a.crashes + 1 >= ${QUARANTINE_AFTER} THEN now() END
              FROM candidate c
             WHERE a.shard = c.shard AND c.owner <> $1 AND a.quarantined_at IS NULL
               AND (a.on_trial OR (a.busy AND a.crashes < ${SUSPECT_AFTER})) AND ${NOT_PAUSED('a')})
          UPDATE shard s
             SET epoch = s.epoch + 1, claimed_epoch = s.epoch + 1, owner = $1, opened_at = now(),
                 owned_since = CASE WHEN c.owner = $1 THEN s.owned_since ELSE now() END,
                 previous_owner = CASE WHEN c.owner = $1 THEN s.previous_owner ELSE c.owner END,
                 crashes = s.crashes + CASE WHEN c.owner <> $1 THEN 1 ELSE 0 END
            FROM candidate c WHERE s.shard = c.shard
          RETURNING s.shard, s.epoch, s.cursor, s.commit_no, s.previous_owner, s.crashes, s.suspect_seq`,
        values: [
          nodeId,
          max,
          int4Array(told, ([shard]) => shard),
          int8Array(told, ([, epoch]) => epoch),
          this.#leaseMs,
          among ? int4Array(among, (shard) => shard) : null,
        ],
      });
      return this.#tell(nodeId, rows.map(opened));
    });
  }

  /**
   * Retried until it is answered, and safe to be: an attempt whose answer was lost has only bumped the epoch. So
   * any epoch from the given one on will do, as long as the shard has been ours without a break since then
   * (`claimed_epoch`); otherwise a stranger's commit number could pass for that of the caller's lost commit.
   */
  reclaim(nodeId: string, shards: readonly Reopened[]): Promise<OpenedShard[]> {
    return this.#inTurn(async () => {
      const rows = await this.#ownership.ask<OpenedRow>({
        name: 'reclaim',
        text: `
          WITH mine AS MATERIALIZED (
            SELECT s.shard, w.refused FROM unnest($2::int4[], $3::int8[], $4::bool[]) AS w (shard, epoch, refused)
              JOIN shard s ON s.shard = w.shard
             WHERE s.owner = $1 AND w.epoch BETWEEN s.claimed_epoch AND s.epoch
             ORDER BY s.shard FOR NO KEY UPDATE OF s)
          UPDATE shard s SET epoch = s.epoch + 1, opened_at = now(),
                 crashes = s.crashes + CASE WHEN mine.refused THEN 1 ELSE 0 END
            FROM mine WHERE s.shard = mine.shard
          RETURNING s.shard, s.epoch, s.cursor, s.commit_no, NULL::text AS previous_owner,
                    s.crashes, s.suspect_seq`,
        values: [
          nodeId,
          int4Array(shards, (wanted) => wanted.shard),
          int8Array(shards, (wanted) => wanted.epoch),
          boolArray(shards, (wanted) => wanted.refused === true),
        ],
      });
      const told = this.#told.get(nodeId);
      for (const { shard } of shards) told?.delete(shard);
      return this.#tell(nodeId, rows.map(opened));
    });
  }

  /** Gives shards back that this node owns at the given epochs; others are left alone. */
  release(nodeId: string, shards: readonly ShardEpoch[]): Promise<void> {
    return this.#inTurn(async () => {
      await this.#ownership.ask({
        text: `
          WITH mine AS MATERIALIZED (
            SELECT s.shard FROM unnest($2::int4[], $3::int8[]) AS w (shard, epoch)
              JOIN shard s ON s.shard = w.shard
             WHERE s.owner = $1 AND s.epoch = w.epoch
             ORDER BY s.shard FOR NO KEY UPDATE OF s)
          UPDATE shard s SET owner = NULL, previous_owner = NULL FROM mine WHERE s.shard = mine.shard`,
        values: [
          nodeId,
          int4Array(shards, (wanted) => wanted.shard),
          int8Array(shards, (wanted) => wanted.epoch),
        ],
      });
      const told = this.#told.get(nodeId);
      for (const { shard, epoch } of shards) if (told?.get(shard) === epoch) told.delete(shard);
    });
  }

  /** See `Store.adoptLog`. Repeating it is harmless: the second time the log is the known one. */
  async adoptLog(logId: string): Promise<boolean> {
    const [row] = await this.#ownership.ask<{ is_new: boolean }>({
      text: `
        WITH known AS MATERIALIZED (SELECT log_id FROM namespace FOR UPDATE),
        adopted AS (
          UPDATE namespace SET log_id = $1 FROM known WHERE known.log_id IS DISTINCT FROM $1),
        other AS MATERIALIZED (SELECT FROM known WHERE known.log_id <> $1),
        locked AS MATERIALIZED (
          SELECT shard FROM shard WHERE EXISTS (SELECT FROM other) ORDER BY shard FOR NO KEY UPDATE),
        started_over AS (
          UPDATE shard s SET cursor = 0, passed = 0, epoch = s.epoch + 1 FROM locked WHERE s.shard = locked.shard),
        forgotten AS (
          DELETE FROM log_mark WHERE EXISTS (SELECT FROM other))
        SELECT EXISTS (SELECT FROM other) AS is_new`,
      values: [logId],
    });
    return row?.is_new ?? false;
  }

  async standing(nodeId: string): Promise<Standing> {
    const [row] = await this.#ownership.ask<StandingRow>({
      name: 'standing',
      text: `
        WITH live AS MATERIALIZED (
          SELECT node_id, nats_ok, draining FROM node WHERE node_id = $1 OR ${ALIVE}),
        sharing AS MATERIALIZED (
          SELECT node_id FROM live
           WHERE NOT draining
             AND (nats_ok OR NOT EXISTS (SELECT FROM live WHERE nats_ok AND NOT draining)))
        SELECT (SELECT count(*) FROM sharing)::int4 AS sharing,
               EXISTS (SELECT FROM sharing WHERE node_id = $1) AS shares,
               (SELECT count(*) FROM live WHERE NOT nats_ok AND node_id <> $1)::int4 AS "cutOff",
               (SELECT count(*) FROM shard WHERE owner IS NULL)::int4 AS free,
               ARRAY(SELECT DISTINCT owner FROM shard
                      WHERE owner IS NOT NULL AND NOT owner = ANY (ARRAY(SELECT node_id FROM live))) AS dead,
               ARRAY(SELECT json_build_array(shard, epoch, commit_no) FROM shard WHERE owner = $1) AS owned,
               ARRAY(SELECT json_build_array(n.opens, n.node_id = ANY (ARRAY(SELECT node_id FROM live)),
                                             count(*) FILTER (WHERE n.node_id = ANY (ARRAY(SELECT node_id FROM sharing))))
                       FROM node n
                      WHERE n.node_id <> $1 AND n.opens IS NOT NULL AND NOT n.draining AND n.expires_at > now()
                      GROUP BY n.opens, n.node_id = ANY (ARRAY(SELECT node_id FROM live))
                      ORDER BY n.opens) AS others,
               ARRAY(SELECT json_build_array(shard, needs, needs_at > now() - $2 * interval '0.5 ms') FROM shard
                      WHERE needs_at > now() - $2 * interval '1 ms' ORDER BY shard) AS needs`,
      values: [nodeId, NEEDS_LAST_MS],
    });
    invariant(row, 'the standing is one row');
    const owned = row.owned.map(([shard, epoch, commitNo]) => ({ shard, epoch, commitNo }));
    this.#forgetLost(nodeId, owned);
    return {
      ...row,
      owned,
      others: row.others.map(([opens, alive, sharing]) => ({
        opens: this.#read(opens),
        alive,
        sharing,
      })),
      needs: row.needs.map(([shard, needs, fresh]) => ({
        shard,
        needs: JSON.parse(needs) as string[],
        fresh,
      })),
    };
  }

  /** Asked four times a second, and nearly always the same. */
  #read(opens: string): readonly OpenedVersion[] {
    const known = this.#opens.get(opens);
    if (known) return known;
    if (this.#opens.size >= OPENS_KEPT) this.#opens.clear();
    const read = JSON.parse(opens) as OpenedVersion[];
    this.#opens.set(opens, read);
    return read;
  }

  /** Should a lost one be ours again, by a record that was put back to an earlier state, the engine must be told anew. */
  #forgetLost(nodeId: string, owned: readonly OwnedShard[]): void {
    const told = this.#told.get(nodeId);
    if (!told) return;
    const ours = new Set(owned.map(({ shard }) => shard));
    for (const shard of told.keys()) if (!ours.has(shard)) told.delete(shard);
  }

  #tell(nodeId: string, shards: OpenedShard[]): OpenedShard[] {
    const told = this.#told.get(nodeId) ?? new Map<number, number>();
    this.#told.set(nodeId, told);
    for (const { shard, epoch } of shards) told.set(shard, epoch);
    return shards.sort(byShard);
  }

  /** Claims and reclaims one after the other: each must see what the one before it told the engine. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }
}
