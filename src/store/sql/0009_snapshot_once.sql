-- An actor's snapshot is that of its last transition, and is there already.

ALTER TABLE actor DROP COLUMN snapshot;
