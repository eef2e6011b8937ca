-- What is held, the longest first. No more than 10,000 items are looked at, in the order of the index of
-- held lanes; whether that were all comes with every row, and with the one that is there without any.
WITH looked AS MATERIALIZED (
    SELECT i.machine_id, i.process, i.session_id, i.fence, i.started_at, i.ready_at, i.failures, i.losses
    FROM work_item i
    WHERE i.session_id IS NOT NULL
    ORDER BY i.machine_id, i.lane LIMIT 10001
), found AS (
    SELECT i.*, s.session_component_name, s.session_deadline
    FROM (SELECT * FROM looked LIMIT 10000) i
    JOIN sessions s ON s.session_id = i.session_id
    WHERE ($1::text IS NULL OR i.process = $1)
      AND s.session_component_name = coalesce($2, s.session_component_name)
      AND ($3::uuid IS NULL OR i.session_id = $3)
      AND ($4::timestamptz IS NULL OR (i.started_at, i.fence) > ($4, $5))
    ORDER BY i.started_at, i.fence LIMIT $6
)
SELECT (SELECT count(*) FROM looked) <= 10000,
       f.machine_id, f.process, f.session_id, f.session_component_name,
       f.session_deadline > clock_timestamp(), f.fence, f.started_at,
       CASE WHEN isfinite(f.ready_at) THEN least(f.ready_at, f.started_at) END,
       f.failures, f.losses
FROM (SELECT 1) one LEFT JOIN found f ON true
ORDER BY f.started_at, f.fence
