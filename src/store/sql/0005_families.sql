-- Machines that other machines have invoked or spawned are actors of their own, of the root's type.

ALTER TABLE actor
  -- Which machine of the type it runs: JSON array with one src for each level below the root; null for the root's own.
  ADD COLUMN path text;

-- parent: the id of the one it hangs below; null for an actor that was started from outside.
CREATE OR REPLACE VIEW actors AS
  SELECT type, id, status, state::json AS state, version, seq, shard, epoch,
         ARRAY(SELECT json_array_elements_text(tags::json)) AS tags,
         output::json AS output, error::json AS error, created_at, updated_at,
         CASE WHEN strpos(id, '.') > 0 THEN regexp_replace(id, '\.[^.]*$', '') END AS parent,
         path::json AS path
    FROM actor;
