-- Claimed work, the longest claimed first. At most 10,000 items are read, in the order of the index of
-- claimed lanes. Every row says whether those were all; without any item, one row says only that.
WITH looked AS MATERIALIZED (
    SELECT i.machine_id, i.process, i.lane, i.session_id, i.fence, i.started_at, i.ready_at, i.failures,
           i.losses
    FROM work_item i
    WHERE i.session_id IS NOT NULL
    ORDER BY i.machine_id, i.lane LIMIT 10001
), found AS (
    SELECT i.* FROM (SELECT * FROM looked LIMIT 10000) i
    WHERE ($1::text IS NULL OR i.process = $1)
      -- The array is computed once, not for each item.
      AND (($2::text) IS NULL OR i.session_id = ANY (ARRAY(SELECT s.session_id FROM sessions s
                                                         WHERE s.session_component_name = $2)))
      AND ($3::uuid IS NULL OR i.session_id = $3)
      -- Without a minimum also items whose time of claim lies in the future, as after a fail-over.
      AND ($4::bigint = 0
           OR i.started_at <= clock_timestamp() - least($4, 3155760000) * interval '1 second')
      AND ($5::timestamptz IS NULL OR (i.started_at, i.fence) > ($5, $6))
    ORDER BY i.started_at, i.fence LIMIT $7
)
SELECT (SELECT count(*) FROM looked) <= 10000,
       f.machine_id, f.process, f.lane, f.session_id, s.session_component_name,
       s.session_deadline > clock_timestamp(), f.fence, f.started_at,
       CASE WHEN isfinite(f.started_at) THEN floor(extract(epoch FROM clock_timestamp() - f.started_at))::bigint ELSE 0 END,
       CASE WHEN isfinite(f.ready_at) THEN least(f.ready_at, f.started_at) END,
       f.failures, f.losses
FROM (SELECT 1) one
LEFT JOIN found f ON true
LEFT JOIN sessions s ON s.session_id = f.session_id
ORDER BY f.started_at, f.fence
