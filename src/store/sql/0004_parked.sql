-- Messages that wait for a node that can open their actor, and shards that go to nodes that can open what is in them.

-- Written by the commit that moves the cursor past the message, deleted by the one that applies it or makes it a dead
-- letter. Nearly always empty; what waits for its actor behind one of these is here, too.
CREATE TABLE parked_message (
  log_seq    bigint      NOT NULL,
  -- Of the shard when it was parked; (epoch, log_seq) is the order, also when the stream was recreated in between.
  epoch      bigint      NOT NULL,
  parked_at  timestamptz NOT NULL,
  shard      integer     NOT NULL,
  type       text        COLLATE "C" NOT NULL,
  id         text        COLLATE "C" NOT NULL,
  log_id     text        COLLATE "C" NOT NULL,
  subject    text        NOT NULL,
  headers    text        NOT NULL,
  message_id text        COLLATE "C",
  body       bytea       NOT NULL,
  PRIMARY KEY (log_id, log_seq)
) WITH (autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX parked_message_shard ON parked_message (shard, epoch, log_seq);
CREATE INDEX parked_message_actor ON parked_message (type, id);

ALTER TABLE shard
  -- JSON array of what its owner is asked to open: "type@version", or "type" for one no actor has yet.
  ADD COLUMN needs    text,
  ADD COLUMN needs_at timestamptz;

CREATE OR REPLACE VIEW shards AS
  SELECT shard, owner, epoch, cursor, commit_no, opened_at, owned_since, crashes, suspect_seq,
         needs::json AS needs, needs_at
    FROM shard;

-- version: the actor's; null when there is none yet.
CREATE VIEW parked_messages AS
  SELECT p.type, p.id, a.version, p.subject, p.headers::json AS headers, p.message_id,
         octet_length(p.body) AS bytes, p.body, p.log_id, p.log_seq, p.shard, p.parked_at
    FROM parked_message p LEFT JOIN actor a ON a.type = p.type AND a.id = p.id;

-- Besides versions that some live node cannot open, or has not: those that messages wait for, and since when.
CREATE OR REPLACE VIEW parked AS
  WITH live AS MATERIALIZED (
    SELECT v.node_id, n.opens IS NULL AS unsaid FROM nodes v JOIN node n USING (node_id) WHERE v.live),
  kept AS MATERIALIZED (
    SELECT type, version, count(*) AS messages, min(parked_at) AS since FROM parked_messages GROUP BY type, version),
  joined AS (
    SELECT coalesce(v.type, k.type) AS type, coalesce(v.version, k.version) AS version,
           coalesce(v.actors, 0) AS actors, coalesce(v.waiting, 0) AS waiting,
           (SELECT count(*) FROM live) AS nodes, v.opened_by,
           coalesce(k.messages, 0) AS messages, k.since
      FROM versions v FULL JOIN kept k ON k.type = v.type AND k.version = v.version),
  counted AS (
    SELECT j.type, j.version, j.actors, j.waiting, j.nodes,
           coalesce(j.opened_by, (
             SELECT count(*) FROM live l
              WHERE l.unsaid OR EXISTS (
                SELECT FROM opens o WHERE o.node_id = l.node_id AND o.type = j.type
                   AND o.version = coalesce(j.version, o.version)))) AS opened_by,
           j.messages, j.since
      FROM joined j)
  SELECT type, version, actors, waiting, nodes, opened_by, messages, since FROM counted
   WHERE opened_by < nodes OR waiting > 0 OR messages > 0;
