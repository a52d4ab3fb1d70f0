-- Which versions of actor types a node can open, so that anybody can see what no node can.

ALTER TABLE node
  -- JSON array of {"type", "version", "as"}; null: a node of an earlier release, which does not say.
  ADD COLUMN opens text;

-- What each node can open; "as" is the version its actors have then.
CREATE VIEW opens AS
  SELECT n.node_id, n.name, o.type, o.version, o."as"
    FROM node n CROSS JOIN LATERAL json_to_recordset(n.opens::json) AS o (type text, version text, "as" text);

-- The versions active actors have. nodes: those that live; opened_by: those of them that can open it. waiting: actors
-- something should run for, and the owner of their shard has not opened them.
CREATE VIEW versions AS
  WITH live AS MATERIALIZED (
    SELECT v.node_id, n.opens IS NULL AS unsaid FROM nodes v JOIN node n USING (node_id) WHERE v.live),
  opened AS MATERIALIZED (
    SELECT o.node_id, o.type, o.version, o."as" FROM opens o JOIN live USING (node_id)),
  grouped AS MATERIALIZED (
    SELECT a.type, a.version, s.owner, count(*) AS actors,
           count(*) FILTER (WHERE a.busy AND a.quarantined_at IS NULL) AS busy
      FROM actor a JOIN shard s USING (shard)
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

-- Those that some live node cannot open, or has not.
CREATE VIEW parked AS
  SELECT type, version, actors, waiting, nodes, opened_by FROM versions
   WHERE opened_by < nodes OR waiting > 0;
