-- Rows of the history are never changed and never die alone, so there is nothing in it to vacuum. A vacuum of its inserts tells of the
-- room that is left at the end of each of its pages, and from then on short rows are put there, one on a page of long ago each: every one
-- of them is a page to read and to write whole into the write-ahead log. It is vacuumed when transaction ids run out.
ALTER TABLE transition SET (autovacuum_vacuum_insert_threshold = -1);
