-- A machine's attempts by when they ended, the latest first. A streak's row has the fence of its first
-- failure and the end of its last, so the rows are sorted here, at most 5,000 of them; where there are
-- more, every row carries the fence below which to continue.
WITH looked AS MATERIALIZED (
    SELECT a.* FROM work_attempt a
    WHERE a.machine_id = $1 AND a.fence < $2::bigint
    ORDER BY a.fence DESC LIMIT 5000
), found AS (
    SELECT a.* FROM looked a
    WHERE ($3::text IS NULL OR a.process = $3)
      AND (a.ended_at, a.last_fence) < ($4::timestamptz, $5::bigint)
    ORDER BY a.ended_at DESC, a.last_fence DESC LIMIT $6
)
SELECT l.next_window, f.machine_id, f.process, f.session_id, f.fence, f.last_fence, f.started_at,
       f.ended_at, f.outcome, f.cause, f.repeats, f.interval_seconds
FROM (SELECT CASE WHEN count(*) = 5000 THEN min(fence) END AS next_window FROM looked) l
LEFT JOIN found f ON true
ORDER BY f.ended_at DESC, f.last_fence DESC
