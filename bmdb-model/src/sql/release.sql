-- Ends attempts of one session without a failure, each keyed on its fence, whether for one machine or
-- a hundred. Finished clears backoff and failures, and counts how many finishes in a row came soon after
-- the one before; judge.sql judges it. Canceled is no verdict, so they survive; it may make the machine
-- rest, and is folded into the row of an equal one before it. The item of a process without a workflow
-- goes as soon as it carries nothing any more. In a transaction whose fence check has locked the session,
-- the deadline is not judged again: a SERIALIZABLE one would see it as it was at its beginning. Items are
-- locked in the order in which everybody does, and found as failures find them.
WITH release AS MATERIALIZED (
    SELECT r.*, r.outcome = 'Finished' AS clears,
           -- Scalar on purpose: of EXISTS the planner may make a hash of the whole table.
           coalesce((SELECT d.workflow IS NOT NULL FROM process_def d
                     WHERE d.process = r.process), false)
           OR r.outcome <> 'Finished'
              AND (r.rest_ms IS NOT NULL
                   OR coalesce((SELECT i.backoff_until IS NOT NULL FROM work_item i
                                WHERE i.machine_id = r.machine_id AND i.process = r.process), false))
           AS kept,
           coalesce((SELECT d.flapping_within_seconds FROM process_def d
                     WHERE d.process = r.process), 0) * interval '1 second' AS soon
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[], $5::text[], $6::bigint[],
                $7::text[], $8::boolean[])
        AS r (machine_id, process, fence, started_at, outcome, rest_ms, cause, folds)
    ORDER BY machine_id, process
), alive AS MATERIALIZED (
    SELECT 1 FROM sessions
    WHERE session_id = $9 AND ($10 OR session_deadline > clock_timestamp())
    FOR KEY SHARE
), freed AS (
    UPDATE work_item i
    SET session_id = NULL, started_at = NULL, losses = 0,
        backoff_until = CASE WHEN r.clears THEN NULL
                             WHEN r.rest_ms IS NULL THEN i.backoff_until
                             ELSE greatest(i.backoff_until, clock_timestamp() + r.rest_ms * interval '1 millisecond')
                        END,
        last_interval_seconds = CASE WHEN NOT r.clears THEN i.last_interval_seconds END,
        failures = CASE WHEN r.clears THEN 0 ELSE i.failures END,
        cause = CASE WHEN r.clears THEN NULL
                     WHEN r.rest_ms IS NULL OR i.failures > 0 THEN i.cause
                     ELSE r.cause END,
        -- now() is the mark by which the rest of this transaction finds what it has finished.
        finished_at = CASE WHEN r.clears THEN now() ELSE i.finished_at END,
        flapping = CASE WHEN r.clears THEN /* quick_finishes */ ELSE i.flapping END
    FROM release r
    WHERE i.machine_id = r.machine_id AND i.process = r.process AND i.fence = r.fence
      AND i.session_id IS NOT DISTINCT FROM $9 AND (r.kept OR i.hold_reason IS NOT NULL)
      AND EXISTS (SELECT 1 FROM alive)
    RETURNING r.*
), gone AS (
    DELETE FROM work_item i
    USING release r
    WHERE i.machine_id = r.machine_id AND i.process = r.process AND i.fence = r.fence
      AND i.session_id IS NOT DISTINCT FROM $9 AND NOT r.kept AND i.hold_reason IS NULL
      AND EXISTS (SELECT 1 FROM alive)
    RETURNING r.*
), ended AS (
    SELECT * FROM freed UNION ALL SELECT * FROM gone
), streak AS (
    SELECT last.ctid AS at, e.fence AS last_fence
    FROM ended e
    CROSS JOIN LATERAL (
        SELECT a.ctid, a.outcome, a.cause FROM work_attempt a
        WHERE a.machine_id = e.machine_id AND a.process = e.process
        ORDER BY a.fence DESC LIMIT 1
    ) last
    WHERE e.folds AND last.outcome = e.outcome AND last.cause IS NOT DISTINCT FROM e.cause
), folded AS (
    UPDATE work_attempt a
    SET repeats = least(a.repeats, 9223372036854775806) + 1, last_fence = s.last_fence, ended_at = clock_timestamp(), session_id = $9
    FROM streak s
    -- As in fail.sql.
    WHERE a.ctid = s.at
    RETURNING a.last_fence
), recorded AS (
    INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id,
                              started_at, ended_at, outcome, cause)
    SELECT machine_id, fence, fence, process, $9, started_at, clock_timestamp(), outcome, cause FROM ended
    WHERE fence NOT IN (SELECT d.last_fence FROM folded d)
    RETURNING 1
)
SELECT s.lives, e.fence
FROM (SELECT EXISTS (SELECT 1 FROM alive) AS lives) s
LEFT JOIN ended e ON true
