-- Ends attempts of one session without a failure, each keyed on its fence, whether for one machine or
-- a hundred. Finished clears backoff and failures; Canceled is no verdict, so they survive. The item
-- of a process without a workflow goes as soon as it carries nothing any more. In a transaction whose
-- fence check has locked the session, the deadline is not judged again: a SERIALIZABLE one would see
-- it as it was at its beginning. Items are locked in the order in which everybody does, and found as
-- failures find them.
WITH release AS MATERIALIZED (
    SELECT r.*, r.outcome = 'Finished' AS clears,
           -- Scalar on purpose: of EXISTS the planner may make a hash of the whole table.
           coalesce((SELECT d.workflow IS NOT NULL FROM process_def d
                     WHERE d.process = r.process), false)
           OR r.outcome <> 'Finished'
              AND coalesce((SELECT i.backoff_until IS NOT NULL FROM work_item i
                            WHERE i.machine_id = r.machine_id AND i.process = r.process), false)
           AS kept
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[], $5::text[])
        AS r (machine_id, process, fence, started_at, outcome)
    ORDER BY machine_id, process
), alive AS MATERIALIZED (
    SELECT 1 FROM sessions
    WHERE session_id = $6 AND ($7 OR session_deadline > clock_timestamp())
    FOR KEY SHARE
), freed AS (
    UPDATE work_item i
    SET session_id = NULL, started_at = NULL, losses = 0,
        backoff_until = CASE WHEN NOT r.clears THEN i.backoff_until END,
        last_interval_seconds = CASE WHEN NOT r.clears THEN i.last_interval_seconds END,
        failures = CASE WHEN r.clears THEN 0 ELSE i.failures END,
        cause = CASE WHEN NOT r.clears THEN i.cause END
    FROM release r
    WHERE i.machine_id = r.machine_id AND i.process = r.process AND i.fence = r.fence
      AND i.session_id IS NOT DISTINCT FROM $6 AND r.kept AND EXISTS (SELECT 1 FROM alive)
    RETURNING r.*
), gone AS (
    DELETE FROM work_item i
    USING release r
    WHERE i.machine_id = r.machine_id AND i.process = r.process AND i.fence = r.fence
      AND i.session_id IS NOT DISTINCT FROM $6 AND NOT r.kept AND EXISTS (SELECT 1 FROM alive)
    RETURNING r.*
), ended AS (
    SELECT * FROM freed UNION ALL SELECT * FROM gone
), recorded AS (
    INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id,
                              started_at, ended_at, outcome)
    SELECT machine_id, fence, fence, process, $6, started_at, clock_timestamp(), outcome FROM ended
    RETURNING 1
)
SELECT s.lives, e.fence
FROM (SELECT EXISTS (SELECT 1 FROM alive) AS lives) s
LEFT JOIN ended e ON true
