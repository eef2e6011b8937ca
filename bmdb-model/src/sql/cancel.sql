-- Gives the machine back without a verdict: an existing backoff and its interval survive. The item
-- of a process without a workflow and without a backoff carries nothing any more and goes.
WITH alive AS MATERIALIZED (
    SELECT 1 FROM sessions
    WHERE session_id = $1 AND session_deadline > clock_timestamp()
    FOR KEY SHARE
), kept AS MATERIALIZED (
    SELECT EXISTS (SELECT 1 FROM process_def
                   WHERE process = $2 AND workflow IS NOT NULL)
        OR EXISTS (SELECT 1 FROM work_item
                   WHERE machine_id = $3 AND process = $2 AND backoff_until IS NOT NULL) AS kept
), freed AS (
    UPDATE work_item
    SET session_id = NULL, started_at = NULL, losses = 0
    WHERE machine_id = $3 AND process = $2 AND fence = $4 AND session_id = $1
      AND EXISTS (SELECT 1 FROM alive)
      AND (SELECT kept FROM kept)
    RETURNING 1
), gone AS (
    DELETE FROM work_item
    WHERE machine_id = $3 AND process = $2 AND fence = $4 AND session_id = $1
      AND EXISTS (SELECT 1 FROM alive)
      AND NOT (SELECT kept FROM kept)
    RETURNING 1
), ended AS (
    SELECT 1 FROM freed UNION ALL SELECT 1 FROM gone
), recorded AS (
    INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id,
                              started_at, ended_at, outcome)
    SELECT $3, $4, $4, $2, $1, $5, clock_timestamp(), 'Canceled' FROM ended
    RETURNING 1
)
SELECT EXISTS (SELECT 1 FROM alive) AS lives, EXISTS (SELECT 1 FROM ended) AS ended
