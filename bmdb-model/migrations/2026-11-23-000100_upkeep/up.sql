-- What janitors do slowly and over and over, one row each: how far it has come and when it goes on. A
-- janitor that finds a row due takes it (SKIP LOCKED), does one bounded chunk and moves the row on in
-- the same transaction. So the work is done once for the database, however many components run
-- janitors, and goes on where another one stopped. Components of the previous version leave it alone.
CREATE TABLE upkeep (
    task text PRIMARY KEY CHECK (task ~ '^[A-Za-z][A-Za-z0-9_-]{0,62}$'),
    due_at timestamptz NOT NULL DEFAULT now(),
    -- The last machine of the last chunk; NULL where the next chunk is the first of a pass.
    after_machine uuid NULL,
    -- How many chunks this pass has taken so far, and the last whole one in all: what the pause
    -- between chunks is computed from.
    chunks bigint NOT NULL DEFAULT 0 CHECK (chunks >= 0),
    last_chunks bigint NULL CHECK (last_chunks > 0),
    -- What went wrong with the last chunk, for people.
    failure text NULL
) WITH (fillfactor = 50);
INSERT INTO upkeep (task) VALUES ('Plan'), ('TrimHistory');

-- A failure that is folded into the one before it updates that one's row. With room on the page that is
-- a HOT update, which makes no entry in the index and whose old version goes without vacuum; on a full
-- page every one leaves a dead row and a dead entry behind. Pages that are full already stay so until
-- retention empties them.
-- Autovacuum counts in rows here as it does for work_item: retention deletes from a table of any size,
-- and 20 % of it are too many to wait for.
ALTER TABLE work_attempt SET (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 50000
);
