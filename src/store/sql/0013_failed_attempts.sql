-- Attempts of invokes that failed and were made again: how each went wrong, when, and how long it ran.

-- Written by the commit that records that there will be another one; nothing is written for what succeeds at once. An attempt
-- that was the last one has a transition of its own in the history, with its error.
CREATE TABLE failed_attempt (
  -- The transition that started the invoke.
  started_seq bigint      NOT NULL,
  at          timestamptz NOT NULL,
  ran_ms      bigint      NOT NULL,
  attempt     integer     NOT NULL,
  -- The attempt, but from the hundredth on, which are one row: the newest.
  slot        integer     NOT NULL,
  type        text        COLLATE "C" NOT NULL,
  id          text        COLLATE "C" NOT NULL,
  invoke_id   text        COLLATE "C" NOT NULL,
  node_id     text        COLLATE "C" NOT NULL,
  error       text        NOT NULL,
  PRIMARY KEY (type, id, started_seq, invoke_id, slot)
);

CREATE VIEW failed_attempts AS
  SELECT type, id, invoke_id, started_seq, attempt, at, ran_ms, error::json AS error, node_id
    FROM failed_attempt;
