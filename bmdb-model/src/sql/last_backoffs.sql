-- What backs off or has backed off, of the process $1 or of all: of each process at most $2 items, those whose
-- backoff ends last. One step down the index of backoffs for each process that has any.
WITH RECURSIVE backing_off AS (
    (SELECT w.process FROM work_item w
     WHERE w.backoff_until IS NOT NULL AND w.session_id IS NULL
     ORDER BY w.process, w.backoff_until LIMIT 1)
    UNION ALL
    SELECT n.process
    FROM backing_off b
    CROSS JOIN LATERAL (
        SELECT w.process FROM work_item w
        WHERE w.process > b.process AND w.backoff_until IS NOT NULL AND w.session_id IS NULL
        ORDER BY w.process, w.backoff_until LIMIT 1
    ) n
), looked AS MATERIALIZED (
    SELECT l.*
    FROM backing_off b
    CROSS JOIN LATERAL (
        SELECT w.machine_id, w.process, w.provider, w.cause, w.fence, w.eligible, w.session_id, w.failures,
               w.ready_at, w.backoff_until
        FROM work_item w
        WHERE w.process = b.process AND w.backoff_until IS NOT NULL AND w.session_id IS NULL
        ORDER BY w.backoff_until DESC, w.machine_id DESC
        LIMIT $2
    ) l
    WHERE $1::text IS NULL OR b.process = $1
)
