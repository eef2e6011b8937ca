-- Claimed work, in the order of the index of claimed lanes. At most 10,000 items are read, whatever the
-- filters; where there are more, every row carries the last item that was read. The time filter is
-- limited to a hundred years, so that the subtraction stays within the range of PostgreSQL's times.
WITH looked AS MATERIALIZED (
    SELECT i.* FROM work_item i
    WHERE i.session_id IS NOT NULL
      AND (i.machine_id, i.lane) > (coalesce($1::uuid, '00000000-0000-0000-0000-000000000000'), $2::text)
    ORDER BY i.machine_id, i.lane LIMIT 10000
), last AS (
    SELECT machine_id, lane FROM looked
    WHERE (SELECT count(*) FROM looked) = 10000
    ORDER BY machine_id DESC, lane DESC LIMIT 1
), found AS (
    SELECT i.* FROM looked i
    WHERE ($3::text IS NULL OR i.process = $3)
      -- The array is computed once, not for each item.
      AND ($4::text IS NULL OR i.session_id = ANY (ARRAY(SELECT s.session_id FROM sessions s
                                                         WHERE s.session_component_name = $4)))
      AND ($5::uuid IS NULL OR i.session_id = $5)
      AND i.started_at <= clock_timestamp() - least($6::bigint, 3155760000) * interval '1 second'
    ORDER BY i.machine_id, i.lane LIMIT $7
)
SELECT l.machine_id, l.lane,
       f.machine_id, f.process, f.lane, f.session_id, s.session_component_name,
       s.session_deadline > clock_timestamp(), f.fence, f.started_at,
       CASE WHEN isfinite(f.started_at) THEN floor(extract(epoch FROM clock_timestamp() - f.started_at))::bigint ELSE 0 END,
       CASE WHEN isfinite(f.ready_at) THEN least(f.ready_at, f.started_at) END,
       f.failures, f.losses
FROM (SELECT 1) one
LEFT JOIN last l ON true
LEFT JOIN found f ON true
LEFT JOIN sessions s ON s.session_id = f.session_id
ORDER BY f.machine_id, f.lane
