-- The period of a backoff, from which the next one is computed. Nullable, because components of
-- the previous version go on writing backoffs without it: a NULL period counts as no previous
-- backoff, so the sequence restarts. A later migration may tighten this once they are gone.
ALTER TABLE work_item ADD COLUMN last_interval_seconds bigint NULL
    CHECK (last_interval_seconds BETWEEN 1 AND 2147483647);

CREATE OR REPLACE VIEW work_backoff AS
    SELECT machine_id, process, backoff_until AS until, cause, last_interval_seconds
    FROM work_item WHERE backoff_until IS NOT NULL;

-- What the end of the attempt imposed: a failure's interval, or the delay after a loss.
ALTER TABLE work_attempt ADD COLUMN interval_seconds bigint NULL
    CHECK (interval_seconds BETWEEN 1 AND 2147483647);
