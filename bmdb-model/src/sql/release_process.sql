-- Releases one process on many machines, and returns those where it was on hold. The item of a process
-- without a workflow goes if it carries nothing else.
WITH item AS MATERIALIZED (
    SELECT i.machine_id, i.process,
           i.session_id IS NULL AND i.backoff_until IS NULL AND i.failures = 0 AND i.losses = 0
           AND NOT coalesce((SELECT d.workflow IS NOT NULL FROM process_def d
                             WHERE d.process = i.process), false) AS is_empty
    FROM work_item i
    WHERE i.machine_id = ANY ($1) AND i.process = $2 AND i.hold_reason IS NOT NULL
    ORDER BY i.machine_id
    FOR NO KEY UPDATE OF i
), released AS (
    UPDATE work_item i SET hold_reason = NULL, hold_since = NULL
    FROM item t
    WHERE i.machine_id = t.machine_id AND i.process = t.process AND NOT t.is_empty
    RETURNING i.machine_id
), gone AS (
    DELETE FROM work_item i USING item t
    WHERE i.machine_id = t.machine_id AND i.process = t.process AND t.is_empty
    RETURNING i.machine_id
)
SELECT machine_id FROM released UNION ALL SELECT machine_id FROM gone
