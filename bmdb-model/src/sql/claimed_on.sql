-- Claimed work of one machine, the latest claim first.
SELECT i.machine_id, i.process, i.lane, i.session_id, s.session_component_name,
       s.session_deadline > clock_timestamp(), i.fence, i.started_at,
       CASE WHEN isfinite(i.started_at) THEN floor(extract(epoch FROM clock_timestamp() - i.started_at))::bigint ELSE 0 END,
       CASE WHEN isfinite(i.ready_at) THEN least(i.ready_at, i.started_at) END,
       i.failures, i.losses
FROM work_item i
JOIN sessions s ON s.session_id = i.session_id
WHERE i.machine_id = $1
ORDER BY i.started_at DESC, i.fence DESC
