-- How often a node was told, when it would commit, that another one owns the shard: it had stood still, or was cut off.

ALTER TABLE node
  -- Since it began; told with the renewal of its lease.
  ADD COLUMN refused_commits bigint NOT NULL DEFAULT 0;

CREATE OR REPLACE VIEW nodes AS
  SELECT node_id, name, host, pid, version, started_at, expires_at,
         expires_at > now() AND EXISTS (
           SELECT FROM pg_locks l
            WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND l.classid = 'node'::regclass::oid AND l.objid = n.lock_id::oid) AS live,
         (SELECT count(*)::integer FROM shard s WHERE s.owner = n.node_id) AS shards,
         draining, nats_ok, refused_commits
    FROM node n;
