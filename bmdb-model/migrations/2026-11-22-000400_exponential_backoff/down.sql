DROP VIEW work_backoff;
ALTER TABLE work_attempt DROP COLUMN interval_seconds;
ALTER TABLE work_item DROP COLUMN last_interval_seconds;
CREATE VIEW work_backoff AS
    SELECT machine_id, process, backoff_until AS until, cause
    FROM work_item WHERE backoff_until IS NOT NULL;
