-- Of an actor something runs for, a transition that changes only where it stands is written alone: its row follows later.

-- Each actor where it stands: whoever asks for seq, epoch, acted_seq, state or updated_at asks here. The history is looked at for busy
-- actors alone, and only for columns that are asked for.
CREATE VIEW current_actor AS
  SELECT type, id, path, version, shard, busy, status, tags, output, error, retries, created_at, crashes, on_trial,
         quarantined_at, paused_at,
         CASE WHEN busy THEN greatest(seq, (SELECT max(t.seq) FROM transition t WHERE t.type = a.type AND t.id = a.id))
              ELSE seq END AS seq,
         CASE WHEN busy THEN greatest(epoch, (SELECT t.epoch FROM transition t
                                               WHERE t.type = a.type AND t.id = a.id ORDER BY t.seq DESC LIMIT 1))
              ELSE epoch END AS epoch,
         CASE WHEN busy AND acted_seq = seq
              THEN greatest(seq, (SELECT max(t.seq) FROM transition t WHERE t.type = a.type AND t.id = a.id))
              ELSE acted_seq END AS acted_seq,
         CASE WHEN busy THEN coalesce((SELECT t.to_state FROM transition t
                                        WHERE t.type = a.type AND t.id = a.id AND t.seq >= a.seq
                                        ORDER BY t.seq DESC LIMIT 1), state)
              ELSE state END AS state,
         CASE WHEN busy THEN greatest(updated_at, (SELECT t.at FROM transition t
                                                    WHERE t.type = a.type AND t.id = a.id ORDER BY t.seq DESC LIMIT 1))
              ELSE updated_at END AS updated_at
    FROM actor a;

CREATE OR REPLACE VIEW actors AS
  SELECT type, id, status, state::json AS state, version, seq, shard, epoch,
         ARRAY(SELECT json_array_elements_text(tags::json)) AS tags,
         output::json AS output, error::json AS error, created_at, updated_at,
         CASE WHEN strpos(id, '.') > 0 THEN regexp_replace(id, '\.[^.]*$', '') END AS parent,
         path::json AS path, paused_at
    FROM current_actor;

CREATE OR REPLACE VIEW quarantined AS
  SELECT type, id, state::json AS state, version, seq, shard, crashes, quarantined_at
    FROM current_actor WHERE quarantined_at IS NOT NULL;

-- The outcomes of a commit are there for some milliseconds: to compress them costs more than the room they take.
ALTER TABLE outbox ALTER COLUMN body SET STORAGE EXTERNAL;
