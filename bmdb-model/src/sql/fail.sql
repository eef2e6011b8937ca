-- Ends one attempt as failed: item, backoff and history in one statement, keyed on the fence.
-- A failure with the cause and interval of the one before it is folded into that one's row.
WITH alive AS MATERIALIZED (
    SELECT 1 FROM sessions
    WHERE session_id = $1 AND session_deadline > clock_timestamp()
    FOR KEY SHARE
), ended AS (
    UPDATE work_item
    SET session_id = NULL, started_at = NULL,
        backoff_until = clock_timestamp() + $2 * interval '1 second',
        last_interval_seconds = $3, failures = failures + 1, losses = 0, cause = $4
    WHERE machine_id = $5 AND process = $6 AND fence = $7 AND session_id = $1
      AND EXISTS (SELECT 1 FROM alive)
    RETURNING backoff_until, backoff_until - $2 * interval '1 second' AS ended_at
), streak AS (
    SELECT last.fence FROM (
        SELECT fence, outcome, cause, interval_seconds FROM work_attempt
        WHERE machine_id = $5 AND process = $6
        ORDER BY fence DESC LIMIT 1
    ) last
    WHERE $8 AND last.outcome = 'Failed' AND last.cause = $4 AND last.interval_seconds = $3
), folded AS (
    UPDATE work_attempt a
    SET repeats = a.repeats + 1, last_fence = $7, ended_at = e.ended_at, session_id = $1
    FROM ended e, streak s
    WHERE a.machine_id = $5 AND a.fence = s.fence
    RETURNING 1
), recorded AS (
    INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id,
                              started_at, ended_at, outcome, cause, interval_seconds)
    SELECT $5, $7, $7, $6, $1, $9, e.ended_at, 'Failed', $4, $3
    FROM ended e
    -- Not "where there is no streak": retention may delete the row that is being folded into.
    WHERE NOT EXISTS (SELECT 1 FROM folded)
    RETURNING 1
)
SELECT EXISTS (SELECT 1 FROM alive) AS lives, (SELECT backoff_until FROM ended) AS until
