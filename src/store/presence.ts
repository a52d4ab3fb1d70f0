/** Session locks that are held, by their second half; the first is the oid of this namespace's node table. */
export const HELD = `
  SELECT objid FROM pg_locks
   WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = 'node'::regclass::oid
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;

/**
 * An incarnation not known to be dead: its lease runs and its session lock is held. The lock is what tells of
 * `kill -9` within moments, since the closed socket ends the session. Both are hints; the epoch is what is safe.
 */
export const ALIVE = `(expires_at > now() AND lock_id::oid IN (${HELD}))`;

/**
 * A node takes from the dead only when its own lease and lock have stood for one lease, by Postgres' clock and as the
 * statement runs: after an outage for all, or a stall of the network, the others' leases and locks are gone as well, and
 * they are on their way back (design §4). What a node knows of its connections does not do: a claim is sent again after an
 * outage by what was true before. The lease of another runs out after one lease without a word; two thirds of one without
 * a word of our own is therefore a break, as long as nodes renew three times in a lease.
 */
export const steady = (nodeId: string, leaseMs: string) => `
  EXISTS (SELECT FROM node
           WHERE node_id = ${nodeId} AND lock_id::oid IN (${HELD})
             AND expires_at > now() + ${leaseMs} * interval '0.333 ms'
             AND held_since <= now() - ${leaseMs} * interval '1 ms')`;
