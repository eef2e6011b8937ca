-- Ends one attempt as finished: backoff and failures are cleared. The item of a process without a
-- workflow carries nothing any more and goes.
WITH alive AS MATERIALIZED (
    SELECT 1 FROM sessions
    WHERE session_id = $1 AND session_deadline > clock_timestamp()
    FOR KEY SHARE
), planned AS MATERIALIZED (
    SELECT EXISTS (SELECT 1 FROM process_def
                   WHERE process = $2 AND workflow IS NOT NULL) AS has_workflow
), freed AS (
    UPDATE work_item
    SET session_id = NULL, started_at = NULL, backoff_until = NULL,
        last_interval_seconds = NULL, failures = 0, losses = 0, cause = NULL
    WHERE machine_id = $3 AND process = $2 AND fence = $4 AND session_id = $1
      AND EXISTS (SELECT 1 FROM alive)
      AND (SELECT has_workflow FROM planned)
    RETURNING 1
), gone AS (
    DELETE FROM work_item
    WHERE machine_id = $3 AND process = $2 AND fence = $4 AND session_id = $1
      AND EXISTS (SELECT 1 FROM alive)
      AND NOT (SELECT has_workflow FROM planned)
    RETURNING 1
), ended AS (
    SELECT 1 FROM freed UNION ALL SELECT 1 FROM gone
), recorded AS (
    INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id,
                              started_at, ended_at, outcome)
    SELECT $3, $4, $4, $2, $1, $5, clock_timestamp(), 'Finished' FROM ended
    RETURNING 1
)
SELECT EXISTS (SELECT 1 FROM alive) AS lives, EXISTS (SELECT 1 FROM ended) AS ended
