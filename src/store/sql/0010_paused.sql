-- Actors that are paused: nothing is done for them, and what comes for them is parked, until they are resumed.

ALTER TABLE actor
  -- Of roots alone: their whole family is paused.
  ADD COLUMN paused_at timestamptz;

-- Whoever reads what is busy or due leaves out what is in here: nearly always nobody.
CREATE INDEX actor_paused ON actor (type, id) WHERE paused_at IS NOT NULL;

CREATE OR REPLACE VIEW actors AS
  SELECT type, id, status, state::json AS state, version, seq, shard, epoch,
         ARRAY(SELECT json_array_elements_text(tags::json)) AS tags,
         output::json AS output, error::json AS error, created_at, updated_at,
         CASE WHEN strpos(id, '.') > 0 THEN regexp_replace(id, '\.[^.]*$', '') END AS parent,
         path::json AS path, paused_at
    FROM actor;

-- What is paused waits for nobody but whoever resumes it.
CREATE OR REPLACE VIEW versions AS
  WITH live AS MATERIALIZED (
    SELECT v.node_id, n.opens IS NULL AS unsaid FROM nodes v JOIN node n USING (node_id) WHERE v.live),
  opened AS MATERIALIZED (
    SELECT o.node_id, o.type, o.version, o."as" FROM opens o JOIN live USING (node_id)),
  grouped AS MATERIALIZED (
    SELECT a.type, a.version, s.owner, count(*) AS actors,
           count(*) FILTER (WHERE a.busy AND a.quarantined_at IS NULL AND root.type IS NULL) AS busy
      FROM actor a JOIN shard s USING (shard)
      LEFT JOIN actor root ON root.paused_at IS NOT NULL
                          AND root.type = a.type AND root.id = split_part(a.id, '.', 1)
     WHERE a.status = 'active' GROUP BY a.type, a.version, s.owner)
  SELECT g.type, g.version, sum(g.actors)::int8 AS actors,
         coalesce(sum(g.busy) FILTER (WHERE EXISTS (
           SELECT FROM live l WHERE l.node_id = g.owner AND NOT l.unsaid
              AND NOT EXISTS (SELECT FROM opened o WHERE o.node_id = g.owner AND o.type = g.type
                                 AND o.version = g.version AND o."as" = g.version))), 0)::int8 AS waiting,
         (SELECT count(*) FROM live) AS nodes,
         (SELECT count(*) FROM live l WHERE l.unsaid OR EXISTS (
            SELECT FROM opened o WHERE o.node_id = l.node_id AND o.type = g.type
               AND o.version = g.version)) AS opened_by
    FROM grouped g GROUP BY g.type, g.version;

CREATE OR REPLACE VIEW parked AS
  WITH live AS MATERIALIZED (
    SELECT v.node_id, n.opens IS NULL AS unsaid FROM nodes v JOIN node n USING (node_id) WHERE v.live),
  kept AS MATERIALIZED (
    SELECT type, version, count(*) AS messages, min(parked_at) AS since FROM parked_messages m
     WHERE NOT EXISTS (SELECT FROM actor a WHERE a.paused_at IS NOT NULL AND a.type = m.type AND a.id = m.id)
     GROUP BY type, version),
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
