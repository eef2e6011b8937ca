-- Ends attempts of one session as failed, each keyed on its fence: item, backoff and history in one
-- statement, whether for one machine or a hundred. A failure with the cause and interval of the one
-- before it is folded into that one's row. Items are locked in the order in which everybody does.
WITH failure AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[],
                         $5::bigint[], $6::bigint[], $7::text[], $8::boolean[])
        AS f (machine_id, process, fence, started_at, delay, interval_seconds, cause, folds)
    ORDER BY machine_id, process
), alive AS MATERIALIZED (
    SELECT 1 FROM sessions
    WHERE session_id = $9 AND session_deadline > clock_timestamp()
    FOR KEY SHARE
), ended AS (
    UPDATE work_item i
    SET session_id = NULL, started_at = NULL,
        backoff_until = clock_timestamp() + f.delay * interval '1 second',
        last_interval_seconds = f.interval_seconds, failures = least(i.failures, 9223372036854775806) + 1, losses = 0,
        cause = f.cause
    FROM failure f
    WHERE i.machine_id = f.machine_id AND i.process = f.process AND i.fence = f.fence
      -- Not "=", for which the partial index of what is held would do, and may be read whole for each.
      AND i.session_id IS NOT DISTINCT FROM $9 AND EXISTS (SELECT 1 FROM alive)
    RETURNING f.*, i.backoff_until, i.backoff_until - f.delay * interval '1 second' AS ended_at
), streak AS (
    SELECT last.ctid AS at, e.fence AS last_fence, e.ended_at
    FROM ended e
    CROSS JOIN LATERAL (
        SELECT a.ctid, a.outcome, a.cause, a.interval_seconds FROM work_attempt a
        WHERE a.machine_id = e.machine_id AND a.process = e.process
        ORDER BY a.fence DESC LIMIT 1
    ) last
    WHERE e.folds AND last.outcome = 'Failed' AND last.cause = e.cause
      AND last.interval_seconds = e.interval_seconds
), folded AS (
    UPDATE work_attempt a
    SET repeats = least(a.repeats, 9223372036854775806) + 1, last_fence = s.last_fence, ended_at = s.ended_at, session_id = $9
    FROM streak s
    -- Not by its key, of which a plan that was made while there was no history makes no use.
    WHERE a.ctid = s.at
    RETURNING a.last_fence
), recorded AS (
    INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id,
                              started_at, ended_at, outcome, cause, interval_seconds)
    SELECT e.machine_id, e.fence, e.fence, e.process, $9, e.started_at, e.ended_at, 'Failed',
           e.cause, e.interval_seconds
    FROM ended e
    -- Not "where there is no streak": retention may delete the row that is being folded into. And not
    -- EXISTS, which may compare each with each.
    WHERE e.fence NOT IN (SELECT d.last_fence FROM folded d)
    RETURNING 1
)
SELECT s.lives, e.fence, e.backoff_until
FROM (SELECT EXISTS (SELECT 1 FROM alive) AS lives) s
LEFT JOIN ended e ON true
