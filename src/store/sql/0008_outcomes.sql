-- Outcomes of one commit share one outbox row.

ALTER TABLE outbox
  DROP CONSTRAINT outbox_kind_check,
  ADD CONSTRAINT outbox_kind_check CHECK (kind IN ('send', 'outcome', 'outcomes'));
