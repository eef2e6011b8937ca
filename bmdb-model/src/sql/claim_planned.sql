-- Claims those that are due among machines that the caller has locked and planned. Concurrent claims from
-- the queue lock no machine, so here too the gates are columns of the locked row.
WITH due AS MATERIALIZED (
    SELECT i.machine_id, i.process FROM work_item i
    WHERE i.machine_id = ANY ($1) AND i.process = $2 AND ($3::text IS NULL OR i.provider = $3)
      AND i.eligible AND i.session_id IS NULL AND i.ready_at <= now()
      AND (SELECT bool_or(l.session_id IS NOT NULL) FROM work_item l
           WHERE l.machine_id = i.machine_id AND l.lane = i.lane) IS NOT TRUE
      AND ((SELECT pg_relation_size('machine_hold') > 0)
           AND (SELECT true FROM machine_hold h WHERE h.machine_id = i.machine_id)) IS NOT TRUE
    ORDER BY i.ready_at
    LIMIT $4
    FOR NO KEY UPDATE OF i SKIP LOCKED
)
UPDATE work_item i
SET session_id = $5, started_at = clock_timestamp(), fence = nextval('work_fence')
FROM (SELECT machine_id, process FROM due ORDER BY machine_id) d
WHERE i.machine_id = d.machine_id AND i.process = d.process
-- Not i.started_at, which was set before a possible wait for another attempt of the lane to end.
RETURNING i.machine_id, i.fence, clock_timestamp() AS started_at, i.failures,
    CASE WHEN i.failures > 0 THEN i.last_interval_seconds END AS previous_interval
