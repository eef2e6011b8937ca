-- What is held, in the order of the index of held lanes. No more than 10,000 items are looked at, whatever
-- is asked for among them; where there are more, how far was looked comes with every row. Nothing has been
-- held for a hundred years, and the database's times do not go back much further than some thousands.
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
      AND ($4::uuid IS NULL OR i.session_id = $4)
      AND i.started_at <= clock_timestamp() - least($5::bigint, 3155760000) * interval '1 second'
    ORDER BY i.machine_id, i.lane LIMIT $6
)
SELECT l.machine_id, l.lane,
       f.machine_id, f.process, f.lane, f.session_id, s.session_component_name,
       s.session_deadline > clock_timestamp(), f.fence, f.started_at,
       floor(extract(epoch FROM clock_timestamp() - f.started_at))::bigint,
       CASE WHEN isfinite(f.ready_at) THEN least(f.ready_at, f.started_at) END,
       f.failures, f.losses
FROM (SELECT 1) one
LEFT JOIN last l ON true
LEFT JOIN found f ON true
LEFT JOIN sessions s ON s.session_id = f.session_id
ORDER BY f.machine_id, f.lane
