-- Whoever takes shards from the dead must itself have been there all the while.

ALTER TABLE node
  -- Since when its lease and its session lock are held without a break, on the clock of Postgres.
  ADD COLUMN held_since timestamptz NOT NULL DEFAULT now();
