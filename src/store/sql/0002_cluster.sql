-- Several nodes share the shards.

ALTER TABLE node
  -- Asked to end: it gives its shards back and is owed none.
  ADD COLUMN draining boolean NOT NULL DEFAULT false,
  -- Reaches NATS. One that does not gives its shards to those that do.
  ADD COLUMN nats_ok  boolean NOT NULL DEFAULT true;

ALTER TABLE shard
  -- Owners that died one after the other without getting the cursor on.
  ADD COLUMN crashes     integer NOT NULL DEFAULT 0,
  -- From the third owner on: the log message that is being tried alone.
  ADD COLUMN suspect_seq bigint,
  -- Since when the owner has not changed.
  ADD COLUMN owned_since timestamptz;

ALTER TABLE actor
  -- Nodes that died while something ran for the actor, one after the other without the actor getting on.
  ADD COLUMN crashes        integer NOT NULL DEFAULT 0,
  -- It is being tried alone.
  ADD COLUMN on_trial       boolean NOT NULL DEFAULT false,
  -- Nothing runs for it any more, and what comes for it becomes a dead letter, until somebody releases it.
  ADD COLUMN quarantined_at timestamptz;

CREATE INDEX actor_quarantined ON actor (type, id) WHERE quarantined_at IS NOT NULL;

CREATE VIEW quarantined AS
  SELECT type, id, state::json AS state, version, seq, shard, crashes, quarantined_at
    FROM actor WHERE quarantined_at IS NOT NULL;

CREATE OR REPLACE VIEW shards AS
  SELECT shard, owner, epoch, cursor, commit_no, opened_at, owned_since, crashes, suspect_seq
    FROM shard;

CREATE OR REPLACE VIEW nodes AS
  SELECT node_id, name, host, pid, version, started_at, expires_at,
         expires_at > now() AND EXISTS (
           SELECT FROM pg_locks l
            WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND l.classid = 'node'::regclass::oid AND l.objid = n.lock_id::oid) AS live,
         (SELECT count(*)::integer FROM shard s WHERE s.owner = n.node_id) AS shards,
         draining, nats_ok
    FROM node n;
